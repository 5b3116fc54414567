import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partstream_core.errors import BundleError
from partstream_core.manifest import Thresholds, load_manifest
from partstream_export.bundle_writer import MODEL_CARD_NAME, TracedGraph, check_target, draft_of
from partstream_export.live import LiveBundle, write_live
from partstream_export.live_parity import Case
from partstream_export.parity import ParityError
from partstream_models.networks.live import LiveNetwork

SMALL = (Case(1, 64, 64, 3),)


def corrupted(traced: dict[str, TracedGraph], graph: str, weight: str) -> dict[str, TracedGraph]:
    """The same graphs but for one number, the largest of a weight, whose sign is turned."""
    model = onnx.ModelProto()
    model.CopyFrom(traced[graph].model)
    tensor = next(one for one in model.graph.initializer if one.name.endswith(weight))
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[np.abs(values).argmax()] *= -1
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return traced | {graph: TracedGraph(traced[graph].definition, model)}


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder and its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_manifest_is_what_the_server_will_read(bundle: Any) -> None:
    manifest = load_manifest(bundle.folder)
    assert sorted(manifest.graphs) == ["backbone", "heads", "instances"]
    assert (manifest.opset, manifest.top_k, manifest.input.longer_side) == (18, 64, 512)
    assert (manifest.strides.feature, manifest.strides.parts, manifest.strides.masks) == (8, 4, 4)
    assert len(manifest.capabilities.parts) == 19
    assert manifest.capabilities.embedding == 64
    assert sorted(path.name for path in bundle.folder.iterdir()) == sorted(
        ["bundle.json", *(graph.file for graph in manifest.graphs.values())]
    )


@pytest.mark.parametrize(
    ("graph", "weight", "output"),
    [
        ("backbone", "trunk.stem.weight", r"backbone\.feature"),
        ("heads", "detection.person.weight", r"heads, dense\.person_logits"),
        ("heads", "detection.centerness.bias", r"heads, dense\.centerness_logits"),
        ("heads", "parsing.classify.weight", r"heads, dense\.part_logits"),
        ("heads", "masks.1.weight", r"heads\.mask_features"),
        ("heads", "detection.score_tower.1.pointwise.0.weight", r"heads, dense\.person_logits"),
        ("heads", "identity.embedding.bias", r"heads\.identity_map"),
    ],
)
def test_one_wrong_weight_is_refused_and_nothing_is_written(
    graph: str, weight: str, output: str, network: LiveNetwork, traced: dict[str, TracedGraph], tmp_path: Path
) -> None:
    wrong = corrupted(traced, graph, weight)
    with pytest.raises(ParityError, match=output):
        write_live(tmp_path / "bundle", network, wrong, LiveBundle(), cases=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_chooses_other_rows_is_refused(
    network: LiveNetwork, traced: dict[str, TracedGraph], tmp_path: Path
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(traced["heads"].model)
    (top_k,) = (node for node in model.graph.node if node.op_type == "TopK")
    top_k.attribute.append(onnx.helper.make_attribute("largest", 0))
    for attribute in [one for one in top_k.attribute if one.name == "largest"][:-1]:
        top_k.attribute.remove(attribute)
    wrong = traced | {"heads": TracedGraph(traced["heads"].definition, model)}
    with pytest.raises(ParityError, match=r"heads\.scores in order") as caught:
        write_live(tmp_path / "bundle", network, wrong, LiveBundle(), cases=(Case(1, 128, 128, 3),))
    assert "dense" not in str(caught.value)


def test_a_bundle_is_replaced_only_when_asked(
    network: LiveNetwork, traced: dict[str, TracedGraph], tmp_path: Path
) -> None:
    out = tmp_path / "nested" / "bundle"
    write_live(out, network, traced, LiveBundle(model_card="# Card\n"), cases=SMALL)
    assert (out / MODEL_CARD_NAME).read_text() == "# Card\n"
    before = files(tmp_path)
    with pytest.raises(FileExistsError, match="--force"):
        write_live(out, network, traced, LiveBundle(version="2"), cases=SMALL)
    assert files(tmp_path) == before
    write_live(out, network, traced, LiveBundle(version="2"), force=True, cases=SMALL)
    assert load_manifest(out).version == "2"
    assert list(out.parent.iterdir()) == [out]
    assert not (out / MODEL_CARD_NAME).exists()


def test_a_refusal_leaves_the_bundle_that_was_there(
    network: LiveNetwork, traced: dict[str, TracedGraph], tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    write_live(out, network, traced, LiveBundle(), cases=SMALL)
    before = files(tmp_path)
    wrong = corrupted(traced, "backbone", "trunk.stem.weight")
    with pytest.raises(ParityError):
        write_live(out, network, wrong, LiveBundle(version="2"), force=True, cases=SMALL)
    assert files(tmp_path) == before


def test_a_manifest_that_the_server_would_refuse_is_not_written(
    network: LiveNetwork, traced: dict[str, TracedGraph], tmp_path: Path
) -> None:
    wrong = replace(LiveBundle(), thresholds=Thresholds(score=1.5, nms=0.6, mask=0.5, candidate=0.05))
    with pytest.raises(BundleError, match=r"thresholds\.score"):
        write_live(tmp_path / "bundle", network, traced, wrong, cases=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_evaluation_figures_reach_the_manifest(
    network: LiveNetwork, traced: dict[str, TracedGraph], tmp_path: Path
) -> None:
    figures = {"ccp": {"miou": 0.31}}
    write_live(tmp_path / "bundle", network, traced, LiveBundle(evaluation=figures), cases=SMALL)
    assert json.loads((tmp_path / "bundle" / "bundle.json").read_text())["evaluation"] == figures


def test_a_folder_that_holds_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="other things"):
        check_target(tmp_path, force=True)


def test_what_is_not_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(FileExistsError, match="not a folder"):
            check_target(tmp_path / name, force=True)
    with pytest.raises(NotADirectoryError, match="file is not a folder"):
        check_target(tmp_path / "file" / "bundle", force=False)


def test_a_draft_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with draft_of(tmp_path / "bundle", force=False) as draft:
            (draft / "backbone.onnx").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_appeared_meanwhile_is_kept(tmp_path: Path) -> None:
    def write() -> None:
        with draft_of(tmp_path / "bundle", force=False) as draft:
            (draft / "bundle.json").write_text("ours")
            (tmp_path / "bundle").mkdir()
            (tmp_path / "bundle" / "bundle.json").write_text("theirs")

    with pytest.raises(FileExistsError):
        write()
    assert (tmp_path / "bundle" / "bundle.json").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
