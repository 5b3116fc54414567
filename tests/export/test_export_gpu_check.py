"""The figures of a GPU, computed on a CPU: what runs, what is compared, and what a bare machine needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from partstream_export.gpu_check.__main__ import main
from partstream_export.gpu_check.device import Device, Limits, Precision
from partstream_export.gpu_check.graph_figures import RunnableGraph, largest_error
from partstream_export.gpu_check.networks import NETWORKS, inputs_for, side, without_probes
from partstream_export.gpu_check.streams import INTERVAL, StreamFigures, _arrivals, padded

CPU = Device("cpu")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    path = tmp_path_factory.mktemp("gpu") / "figures.json"
    arguments = ["--device", "cpu", "--quick", "--minutes", "5", "--networks", "live", "--json", str(path)]
    assert main(arguments) == 0
    found: dict[str, object] = json.loads(path.read_text())
    return found


def test_every_graph_of_the_live_network_is_measured_in_each_precision_of_the_device(
    report: dict[str, object],
) -> None:
    rows = report["graphs"]
    assert isinstance(rows, list)
    assert {(row["graph"], row["precision"]) for row in rows} == {
        (graph, precision)
        for graph in ("backbone", "heads", "instances", "propagate", "temporal")
        for precision in ("f32", "bf16")
    }
    for row in rows:
        assert "error" not in row
        assert row["relative_error"] < (1e-4 if row["precision"] == "f32" else 0.1), row["graph"]
        assert set(row["milliseconds"]) == {"1", "2"}


def test_the_report_has_limits_streams_and_the_bundle_in_onnx_runtime(report: dict[str, object]) -> None:
    limits, streams, runtime = report["limits"], report["streams"], report["onnxruntime"]
    assert isinstance(limits, dict)
    assert min(limits.values()) > 0
    assert isinstance(streams, dict)
    assert streams["f32"][0]["num_streams"] == 1
    assert streams["f32"][0]["num_frames"] > 0
    assert isinstance(runtime, list)
    assert {row["graph"] for row in runtime} >= {"backbone", "heads", "instances"}
    assert report["left_out"] == []


def test_what_does_not_fit_into_the_minutes_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--device", "cpu", "--quick", "--minutes", "0.00001", "--networks", "live", "hvisnet"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "left out for lack of time or device: live backbone f32" in said
    assert "left out for lack of time or device: hvisnet" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "cpu", "--minutes", "0"], "--minutes must be positive, got 0"),
        (["--device", "cpu", "--networks", "yolo"], "'yolo' is none of live, aten-r50, hvisnet"),
    ],
)
def test_options_that_cannot_be_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_check_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "no GPU that torch can use" in capsys.readouterr().err


def test_a_machine_with_torch_numpy_scipy_and_safetensors_alone_can_run_it(repository: Path) -> None:
    """All else that the distributions depend on is kept from being imported."""
    blocked = [
        "onnx",
        "onnxruntime",
        "typer",
        "rich",
        "cv2",
        "pycocotools",
        "orjson",
        "pydantic",
        "tqdm",
        "PIL",
    ]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "from partstream_export.gpu_check.__main__ import main\n"
        "from partstream_export.gpu_check.networks import NETWORKS\n"
        "[make() for make in NETWORKS.values()]\n"
        "sys.exit(main(['--device', 'cpu', '--quick', '--minutes', '0.00001']))"
    )
    folders = [repository / name for name in ("export", "models", "models/core")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NETWORKS)
def test_inputs_of_every_graph_fit_its_module(name: str) -> None:
    for graph in NETWORKS[name]().graphs:
        inputs = inputs_for(graph, batch=1, height=64, width=64)
        outputs = RunnableGraph(graph, CPU, Precision.F32)(inputs)
        with torch.inference_mode():
            expected = without_probes(graph, graph.module(*inputs))
        assert largest_error(graph, outputs, expected) < 1e-4, graph.name


def test_an_unknown_side_is_refused() -> None:
    assert side("height/8", batch=2, height=96, width=64) == 12
    assert side("rows", batch=2, height=96, width=64) == 10
    with pytest.raises(ValueError, match="'depth/2' is not known"):
        side("depth/2", batch=1, height=96, width=96)


def test_the_roofline_share_takes_the_slower_limit() -> None:
    limits = Limits(bytes_per_s=100.0, flops_per_s={Precision.F32: 1000.0})
    assert limits.share(flops=1000, num_bytes=50, seconds=2, precision=Precision.F32) == pytest.approx(0.5)
    assert limits.share(flops=100, num_bytes=100, seconds=2, precision=Precision.F32) == pytest.approx(0.5)


def test_frames_arrive_on_each_streams_own_clock_and_one_of_so_many_is_a_key_frame() -> None:
    arrivals = _arrivals(4, seconds=1.0)
    assert len(arrivals) == 4 * 30
    assert arrivals == sorted(arrivals)
    assert len({time for time, _ in arrivals}) == 4 * 30
    assert sum(is_key for _, is_key in arrivals) == 4 * 30 // INTERVAL


def test_batches_are_padded_to_powers_of_two() -> None:
    assert [padded(count, 8) for count in (1, 2, 3, 5, 8, 9)] == [1, 2, 4, 8, 8, 8]


def test_streams_keep_up_if_they_are_in_time_and_no_queue_grows() -> None:
    assert StreamFigures(2, 10, 50, 100, 4, 1.0).keeps_up
    assert not StreamFigures(2, 10, 51, 100, 0, 1.0).keeps_up
    assert not StreamFigures(2, 10, 20, 100, 5, 1.0).keeps_up
