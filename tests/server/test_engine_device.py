"""What stays on the device: run for real on ONNX Runtime's CPU, whose memory plays the device's."""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from partstream_core.errors import EngineError
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode
from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.engine import DeviceOptions, Engine, Tensors, create_engine
from partstream_server.engine.device_tensor import DeviceTensor
from partstream_server.engine.onnxruntime import OnnxRuntimeEngine, staying
from partstream_server.engine.target import CUDA, cpu_target, cuda_options, require_device
from partstream_server.media import Frame
from partstream_server.pipeline.inference import instance_rows, shrink, to_tensor
from partstream_server.pipeline.session import ParsedFrame, Session, SessionConfig, drive
from partstream_server.streams.shared_runs import drive_together
from tests.server.engines import PassOn


@pytest.fixture(scope="module")
def keeping(engine: Engine) -> Iterator[OnnxRuntimeEngine]:
    """An engine on which tensors stay."""
    opened = OnnxRuntimeEngine(engine.bundle, replace(cpu_target("f32"), stays=True), num_threads=1)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def plain(engine: Engine) -> Iterator[Engine]:
    """The same arithmetic, with every output on the host."""
    opened = create_engine(engine.bundle.directory, provider="onnxruntime", num_threads=1)
    yield opened
    opened.close()


class Watching(PassOn):
    """Notes what goes into graphs."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.seen: list[tuple[str, str, bool]] = []

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        given: dict[str, Any] = dict(inputs)
        self.seen += [(graph, name, isinstance(one, DeviceTensor)) for name, one in given.items()]
        return super().run(graph, inputs)


def image(engine: Engine, frame: int = 0, copies: int = 1) -> npt.NDArray[np.float32]:
    small = shrink(scene(640, 384, frame), width=160, height=96)
    return np.repeat(to_tensor(small, engine.bundle.manifest.normalisation), copies, axis=0)


def parse(
    engine: Engine, mode: ScheduleMode, *, flow: FlowSource = FlowSource.NETWORK, num_frames: int = 5
) -> list[ParsedFrame]:
    interval = 1 if mode is ScheduleMode.EVERY_FRAME else 3
    schedule = ScheduleConfig(mode=mode, interval=interval, flow=flow)
    config = SessionConfig(score_threshold=0.2, schedule=schedule)
    session = Session(engine.bundle.manifest, config)
    parsed: list[ParsedFrame] = []
    for index in range(num_frames):
        frame = Frame(index=index, time_s=index / 25, image=scene(320, 192, index))
        parsed += drive(session.push(frame, index * 40.0), engine)
    return [*parsed, *drive(session.finish(), engine)]


@pytest.mark.parametrize("mode", [mode for mode in ScheduleMode if mode is not ScheduleMode.ADAPTIVE])
def test_a_stream_is_parsed_the_same_whether_tensors_stay_on_the_device_or_not(
    keeping: OnnxRuntimeEngine, plain: Engine, mode: ScheduleMode
) -> None:
    ours, theirs = parse(keeping, mode), parse(plain, mode)
    assert len(ours) == 5
    assert any(one.result.people for one in ours)
    assert [one.result for one in ours] == [one.result for one in theirs]


def test_features_that_the_host_warps_are_the_same_too(keeping: OnnxRuntimeEngine, plain: Engine) -> None:
    ours, theirs = (parse(one, ScheduleMode.CAUSAL, flow=FlowSource.DIS) for one in (keeping, plain))
    assert any(one.result.people for one in ours)
    assert [one.result for one in ours] == [one.result for one in theirs]


def test_features_go_from_graph_to_graph_without_the_host(keeping: OnnxRuntimeEngine) -> None:
    watching = Watching(keeping)
    parse(watching, ScheduleMode.CAUSAL)
    on_device = {(graph, name) for graph, name, there in watching.seen if there}
    on_host = {(graph, name) for graph, name, there in watching.seen if not there}
    assert {("heads", "feature"), ("propagate", "feature"), ("temporal", "state")} <= on_device
    assert {name for _, name in on_host} == {
        "image",
        "half_image",
        "reference_half_image",
        "guess",
        "batch_index",
        *keeping.bundle.manifest.instance_rows,
    }


def test_what_the_host_reads_is_an_array_and_what_graphs_read_is_not(keeping: OnnxRuntimeEngine) -> None:
    backbone: dict[str, Any] = keeping.run("backbone", {"image": image(keeping)})
    heads: dict[str, Any] = keeping.run("heads", {**backbone, "image": image(keeping)})
    assert isinstance(backbone["feature"], DeviceTensor)
    assert {name for name, one in heads.items() if isinstance(one, DeviceTensor)} == set(
        staying(keeping.bundle.manifest)["heads"]
    )
    assert all(isinstance(heads[name], np.ndarray) for name in ("boxes", "scores", "part_probabilities"))
    instances = keeping.run("instances", instance_rows(heads, np.arange(3), keeping.bundle.manifest))
    assert isinstance(instances["masks"], np.ndarray)


def feature_of(engine: Engine, copies: int = 1) -> Any:
    frames = np.concatenate([image(engine, 7 * number) for number in range(copies)])
    return engine.run("backbone", {"image": frames})["feature"]


def test_a_tensor_on_the_device_reads_like_an_array(keeping: OnnxRuntimeEngine, plain: Engine) -> None:
    ours, theirs = feature_of(keeping, 3), feature_of(plain, 3)
    assert (ours.shape, ours.dtype, ours.ndim, len(ours)) == (theirs.shape, theirs.dtype, 4, 3)
    assert np.array_equal(np.asarray(ours), theirs)
    assert np.array_equal(ours[1, 5], theirs[1, 5])
    assert np.array_equal(ours[1:][0], theirs[1])
    assert np.array_equal(ours[2:1], theirs[2:1])
    assert np.array_equal(np.abs(ours - 1).mean(), np.abs(theirs - 1).mean())
    assert np.array_equal(np.stack([ours, ours], axis=1), np.stack([theirs, theirs], axis=1))
    assert np.array_equal(np.concatenate([ours, theirs]), np.concatenate([theirs, theirs]))
    assert "3, 96" in repr(ours)


def test_a_tensor_on_the_device_cannot_be_written_through_its_copy(keeping: OnnxRuntimeEngine) -> None:
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(feature_of(keeping))[:] = 0


def test_rows_of_a_tensor_are_runs_of_their_own_without_a_copy(
    keeping: OnnxRuntimeEngine, plain: Engine
) -> None:
    both, alone = feature_of(keeping, 2), feature_of(plain, 2)
    for row in range(2):
        inputs = {"image": image(plain, 7 * row)}
        ours = keeping.run("heads", {**inputs, "feature": both[row : row + 1]})
        theirs = plain.run("heads", {**inputs, "feature": alone[row : row + 1]})
        assert np.array_equal(ours["scores"], theirs["scores"])


def test_rows_that_lie_side_by_side_are_joined_where_they_are(keeping: OnnxRuntimeEngine) -> None:
    feature = feature_of(keeping, 3)
    rows = [feature[row : row + 1] for row in range(3)]
    joined: Any = np.concatenate(rows)
    assert isinstance(joined, DeviceTensor)
    assert np.array_equal(np.asarray(joined), np.asarray(feature))
    for order in ([rows[1], rows[0]], [rows[0], rows[2]], [rows[0], feature_of(keeping)]):
        swapped: Any = np.concatenate(order)
        assert isinstance(swapped, np.ndarray), "elsewhere or in another order there is nothing to join"
        assert np.array_equal(swapped, np.concatenate([np.asarray(one) for one in order]))


def test_streams_that_share_runs_get_what_each_would_get_alone(
    keeping: OnnxRuntimeEngine, plain: Engine
) -> None:
    def steps(number: int) -> Any:
        session = Session(keeping.bundle.manifest, SessionConfig(score_threshold=0.2))
        return session.push(Frame(index=0, time_s=0.0, image=scene(320, 192, 30 * number)), 0.0)

    watching, runs = Watching(keeping), []
    together = drive_together([steps(n) for n in range(2)], watching, lambda *told: runs.append(told))
    assert ("backbone", 2) in runs
    assert {there for graph, name, there in watching.seen if (graph, name) == ("heads", "feature")} == {True}
    for number, driven in enumerate(together):
        (alone,) = drive(steps(number), plain)
        assert driven.error is None
        assert driven.result is not None
        (shared,) = driven.result
        ours, theirs = ([one.box for one in parsed.result.people] for parsed in (shared, alone))
        assert np.abs(np.subtract(ours, theirs)).max() <= 1


def test_a_tensor_outlives_the_engine_that_made_it(engine: Engine) -> None:
    shortlived = OnnxRuntimeEngine(engine.bundle, replace(cpu_target("f32"), stays=True), num_threads=1)
    feature = feature_of(shortlived)
    before = np.array(feature)
    shortlived.close()
    del shortlived
    gc.collect()
    assert np.array_equal(np.array(feature), before)


def test_a_key_frames_memory_goes_when_nobody_holds_it(keeping: OnnxRuntimeEngine) -> None:
    feature = feature_of(keeping)
    row = feature[:1]
    buffer = row._buffer
    del feature, row
    assert sys.getrefcount(buffer) == 2


@pytest.mark.parametrize("provider", ["openvino", "onnxruntime"])
def test_a_closed_engine_says_so(engine: Engine, provider: str) -> None:
    opened = create_engine(engine.bundle.directory, provider=provider, num_threads=1)
    opened.close()
    with pytest.raises(EngineError, match="engine is closed"):
        opened.run("backbone", {"image": image(engine)})
    opened.close()


def test_cuda_that_is_not_there_is_refused_with_what_to_install(engine: Engine) -> None:
    import onnxruntime

    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(EngineError, match="onnxruntime-gpu"):
        create_engine(engine.bundle.directory, provider="cuda")


def test_a_device_that_the_driver_does_not_know_is_refused_before_a_runtime_looks_for_it() -> None:
    with pytest.raises(EngineError, match=r"cuda was asked for, but there is no (NVIDIA driver|CUDA device)"):
        require_device(1_000)


def test_a_session_that_computes_elsewhere_than_asked_is_refused(engine: Engine) -> None:
    """ONNX Runtime falls back by itself: what it says of a session is compared with what was asked for."""
    asked = replace(cpu_target("f32"), provider="cuda", providers=((CUDA, {}), ("CPUExecutionProvider", {})))
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(EngineError, match=r"cuda was asked for, but .* offers CPUExecutionProvider"),
    ):
        OnnxRuntimeEngine(engine.bundle, asked)


@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
def test_cuda_refuses_a_precision_it_does_not_have(engine: Engine, precision: str) -> None:
    with pytest.raises(EngineError, match=f"f32 or tf32, not {precision}"):
        create_engine(engine.bundle.directory, provider="cuda", precision=precision)


@pytest.mark.parametrize("provider", ["openvino", "onnxruntime", "auto"])
@pytest.mark.parametrize("precision", ["tf32", "fp16", "int8"])
def test_the_cpu_refuses_a_precision_of_devices(engine: Engine, provider: str, precision: str) -> None:
    with pytest.raises(EngineError, match=f"not {precision}"):
        create_engine(engine.bundle.directory, provider=provider, precision=precision)


def test_a_device_below_zero_is_refused() -> None:
    with pytest.raises(EngineError, match="number must not be negative, got -1"):
        DeviceOptions(index=-1)
    with pytest.raises(EngineError, match="memory must not be negative, got -2"):
        DeviceOptions(memory_bytes=-2)


def test_the_cuda_providers_options_are_what_was_asked_for() -> None:
    free = cuda_options("tf32", DeviceOptions(index=1))
    assert (free["device_id"], free["use_tf32"]) == ("1", "1")
    assert "gpu_mem_limit" not in free
    limited = cuda_options("f32", DeviceOptions(memory_bytes=2**30))
    assert (limited["device_id"], limited["use_tf32"], limited["gpu_mem_limit"]) == ("0", "0", str(2**30))


SHORT_OF_MEMORY = """
import json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, onnxruntime as ort
from partstream_core.errors import EngineError
from partstream_server.engine.base import load_bundle
from partstream_server.engine.onnxruntime import OnnxRuntimeEngine
from partstream_server.engine.target import cpu_target
memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"max_mem": 40_000_000}))
target = replace(cpu_target("f32"), stays=True, entries={"session.use_env_allocators": "1"})
engine = OnnxRuntimeEngine(load_bundle(Path(sys.argv[1])), target, num_threads=1)
said = ""
try:
    engine.run("backbone", {"image": np.zeros((8, 3, 512, 512), np.float32)})
except EngineError as error:
    said = str(error)
later = engine.run("backbone", {"image": np.zeros((1, 3, 64, 64), np.float32)})
print(json.dumps({"said": said, "later": later["feature"].shape}))
"""


def test_a_device_that_is_out_of_memory_is_an_engine_error_and_smaller_runs_go_on(engine: Engine) -> None:
    """The limit is on memory of the CPU, which ONNX Runtime shares out with the same allocator as a GPU's."""
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(engine.bundle.directory)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "backbone failed" in told["said"]
    assert "memory is short" in told["said"]
    assert told["later"] == [1, 96, 8, 8]
