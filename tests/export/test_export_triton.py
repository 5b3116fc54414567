"""Triton model repositories: configurations that the published message reads, and the bundle's graphs."""

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from partstream_core.manifest import load_manifest
from partstream_export.cli import EXIT_BAD_INPUT, main
from partstream_export.triton import MARKER, RepositoryConfig

ONNX_TYPES = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.INT64: "TYPE_INT64"}
Side = dict[str, tuple[str, list[int]]]


@pytest.fixture(scope="module")
def live(repository: Path) -> Path:
    return repository / "server" / "partstream_server" / "bundles" / "live"


@pytest.fixture(scope="module")
def written(live: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("triton") / "models"
    run("--bundle", live, "--out", out, "--max-batch", 4, "--device", "gpu", status=0)
    return out


def run(*arguments: object, status: int) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["triton", *map(str, arguments)])
    assert stopped.value.code == status


def config(repository: Path, model: str) -> Any:
    text = (repository / model / "config.pbtxt").read_text("utf-8")
    return text_format.Parse(text, triton.ModelConfig())  # refuses unknown fields and values


def tensors(message: Any, side: str) -> Side:
    """Full shapes by name, with the batch that Triton puts before those of a model that it batches."""
    batch = [-1] if message.max_batch_size else []
    return {
        each.name: (triton.DataType.Name(each.data_type), batch + list(each.dims))
        for each in getattr(message, side)
    }


def graph_tensors(values: Any) -> Side:
    return {
        value.name: (
            ONNX_TYPES[value.type.tensor_type.elem_type],
            [
                side.dim_value if side.HasField("dim_value") else -1
                for side in value.type.tensor_type.shape.dim
            ],
        )
        for value in values
    }


def agree(told: Side, found: Side) -> bool:
    """Whether names, types and ranks are equal, and sides where the graph fixes them."""
    return told.keys() == found.keys() and all(
        told[name][0] == found[name][0]
        and len(told[name][1]) == len(found[name][1])
        and all(b in (a, -1) for a, b in zip(told[name][1], found[name][1], strict=True))
        for name in told
    )


def test_every_graph_is_a_model_whose_configuration_is_that_of_its_file(written: Path, live: Path) -> None:
    manifest = load_manifest(live)
    for name, spec in manifest.graphs.items():
        message = config(written, f"partstream-live-{name}")
        file = written / message.name / "1" / "model.onnx"
        assert message.name == file.parent.parent.name
        assert message.platform == "onnxruntime_onnx"
        assert hashlib.sha256(file.read_bytes()).hexdigest() == spec.sha256
        assert message.parameters["sha256"].string_value == spec.sha256
        graph = onnx.load(file).graph
        assert agree(tensors(message, "input"), graph_tensors(graph.input)), name
        assert agree(tensors(message, "output"), graph_tensors(graph.output)), name
        assert [each.kind for each in message.instance_group] == [triton.ModelInstanceGroup.KIND_GPU]


def test_only_graphs_with_the_batch_first_everywhere_are_batched(written: Path, live: Path) -> None:
    sizes = {
        name: config(written, f"partstream-live-{name}").max_batch_size for name in load_manifest(live).graphs
    }
    assert sizes == {"backbone": 4, "heads": 4, "temporal": 4, "instances": 0, "propagate": 0}
    assert config(written, "partstream-live-backbone").dynamic_batching.max_queue_delay_microseconds == 2000
    assert not config(written, "partstream-live-instances").HasField("dynamic_batching")


def test_the_ensemble_feeds_the_heads_from_image_and_backbone(written: Path) -> None:
    frame = config(written, "partstream-live-frame")
    assert (written / frame.name / "1").is_dir()
    assert list(tensors(frame, "input")) == ["image"]
    known = dict(tensors(frame, "input"))
    for step in frame.ensemble_scheduling.step:
        model = config(written, step.model_name)
        assert model.max_batch_size >= frame.max_batch_size
        assert {name: known[tensor] for name, tensor in step.input_map.items()} == tensors(model, "input")
        made = tensors(model, "output")
        known |= {tensor: made[name] for name, tensor in step.output_map.items()}
    assert {name: known[name] for name in tensors(frame, "output")} == tensors(frame, "output")
    assert {"feature", "boxes", "part_probabilities"} <= tensors(frame, "output").keys()


def test_a_folder_of_something_else_stays_and_a_repository_is_replaced_on_demand(
    written: Path, live: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter").write_text("mine")
    run("--bundle", live, "--out", other, "--force", status=EXIT_BAD_INPUT)
    assert f"has no {MARKER}" in capsys.readouterr().err
    assert (other / "letter").read_text() == "mine"
    run("--bundle", live, "--out", written, status=EXIT_BAD_INPUT)
    run("--bundle", live, "--out", written, "--max-batch", 4, "--device", "gpu", "--force", status=0)
    about = json.loads((written / MARKER).read_text("utf-8"))
    folders = sorted(each.name for each in written.iterdir() if each.is_dir())
    assert (about["bundle"], sorted(about["models"])) == ("partstream-live", folders)


@pytest.mark.parametrize(
    "wrong", [{"max_batch": 0}, {"instances": 0}, {"delay_us": -1}, {"device": "tpu"}], ids=str
)
def test_a_setting_that_cannot_be_is_named_with_its_value(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must .*{value}"):
        RepositoryConfig(**wrong)
