"""A bundle's manifest: the round trip, and one named error for each way to be wrong."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from partstream_core.assembly_config import AssemblyConfig, AssemblyKind, CrfSettings, Unary
from partstream_core.errors import BundleError
from partstream_core.labels import PARTS
from partstream_core.manifest import Manifest, load_manifest


def tensor(name: str, *shape: float | str) -> dict[str, Any]:
    """A float32 tensor."""
    return {"name": name, "dtype": "float32", "shape": list(shape)}


def document() -> dict[str, Any]:
    """A manifest of one graph."""
    graph = {
        "file": "backbone.onnx",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "inputs": [tensor("image", "batch", 3, "height", "width")],
        "outputs": [tensor("feature", "batch", 96, "rows", "columns")],
    }
    return {
        "format": 1,
        "name": "partstream-live",
        "version": "0.1.0",
        "licence": "Apache-2.0",
        "training_data": ["CCP"],
        "opset": 18,
        "graphs": {"backbone": graph},
        "normalisation": {"mean": [127.5] * 3, "std": [127.5] * 3, "colour": "rgb"},
        "strides": {"feature": 8, "parts": 4, "masks": 4},
        "channels": {"feature": 96, "mask_features": 8, "mask_parameters": 169},
        "capabilities": {"parts": list(PARTS[1:]), "embedding": 64, "temporal": "none"},
        "input": {"longer_side": 512, "multiple": 32},
        "top_k": 64,
        "thresholds": {"score": 0.4, "nms": 0.6, "mask": 0.5, "candidate": 0.05},
        "schedule": {"mode": "every-frame", "interval": 1},
        "evaluation": {"ccp": {"miou": 0.31}},
    }


def bundle(folder: Path) -> Path:
    """A bundle on disk."""
    (folder / "backbone.onnx").write_bytes(b"weights")
    (folder / "bundle.json").write_text(json.dumps(document()))
    return folder


def test_a_manifest_survives_the_round_trip() -> None:
    manifest = Manifest.from_json(document())
    assert manifest.to_json() == document()
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_capabilities_may_be_missing() -> None:
    changed = document()
    changed["capabilities"] |= {"parts": [], "embedding": None}
    capabilities = Manifest.from_json(changed).capabilities
    assert (capabilities.parts, capabilities.embedding) == ((), None)


def test_joints_are_seventeen_or_none() -> None:
    changed = document()
    assert Manifest.from_json(changed).capabilities.joints == 0
    changed["capabilities"]["joints"] = 17
    manifest = Manifest.from_json(changed)
    assert manifest.capabilities.joints == 17
    assert manifest.to_json() == changed


def fields(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every object field that must be there."""
    found = []
    if isinstance(value, dict):
        for name, below in value.items():
            if path not in {("graphs",), ("evaluation",)} and path[:1] != ("evaluation",):
                found.append((*path, name))
            found += fields(below, (*path, name))
    return found


@pytest.mark.parametrize("path", fields(document()), ids=".".join)
def test_each_missing_field_is_named(path: tuple[str, ...]) -> None:
    changed = document()
    place = changed
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    with pytest.raises(BundleError, match="is missing") as caught:
        Manifest.from_json(changed)
    assert caught.value.field == ".".join(path)


@pytest.mark.parametrize(
    "path, value, field",
    [
        ("format", 2, "format"),
        ("name", "", "name"),
        ("opset", 0, "opset"),
        ("opset", "18", "opset"),
        ("training_data", ["CCP", 3], "training_data[1]"),
        ("graphs", {}, "graphs"),
        ("graphs.backbone.file", "../backbone.onnx", "graphs.backbone.file"),
        ("graphs.backbone.inputs", [tensor("image", "batch", 0)], "graphs.backbone.inputs[0].shape"),
        ("graphs.backbone.inputs", [tensor("image", "batch", 1.5)], "graphs.backbone.inputs[0].shape"),
        ("normalisation.mean", [1, 2], "normalisation.mean"),
        ("normalisation.std", [1, 2, 0], "normalisation.std"),
        ("normalisation.colour", "cmyk", "normalisation.colour"),
        ("strides.masks", -4, "strides.masks"),
        ("capabilities.parts", ["hair", "tail"], "capabilities.parts[1]"),
        ("capabilities.parts", ["hair", "hair"], "capabilities.parts[1]"),
        ("capabilities.parts", ["background"], "capabilities.parts[0]"),
        ("capabilities.embedding", 0, "capabilities.embedding"),
        ("capabilities.joints", 16, "capabilities.joints"),
        ("capabilities.joints", None, "capabilities.joints"),
        ("capabilities.temporal", "forever", "capabilities.temporal"),
        ("top_k", 0, "top_k"),
        ("thresholds.nms", 1.1, "thresholds.nms"),
        ("schedule.mode", "sometimes", "schedule.mode"),
        ("schedule.interval", 3, "schedule.interval"),
        ("evaluation", [], "evaluation"),
        ("assembly", {"kind": "fair"}, "assembly.kind"),
        ("assembly", {"kind": "crf", "rule": 1}, "assembly.rule"),
        ("assembly", {"crf": {"unary": "joints"}}, "assembly.crf.unary"),
        ("assembly", {"crf": {"sigma": 1}}, "assembly.crf.sigma"),
        ("assembly", {"crf": {"bilateral": -1}}, "assembly.crf.bilateral"),
        ("assembly", {"crf": {"radius": 17}}, "assembly.crf.radius"),
        ("assembly", {"crf": {"radius": 2.5}}, "assembly.crf.radius"),
        ("assembly", {"crf": {"num_iterations": 0}}, "assembly.crf.num_iterations"),
        ("assembly", {"crf": {"band": 0}}, "assembly.crf.band"),
        ("assembly", {"crf": {"joint": 1}}, "assembly.crf.joint"),
        ("assembly", {"crf": {"theta_beta": 0}}, "assembly.crf.theta_beta"),
        ("assembly", {"crf": {"evidence": 0}}, "assembly.crf.evidence"),
    ],
)
def test_each_wrong_field_is_named(path: str, value: object, field: str) -> None:
    changed = document()
    *steps, last = path.split(".")
    place = changed
    for step in steps:
        place = place[step]
    place[last] = value
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(changed)
    assert caught.value.field == field


def test_the_assembly_is_optional_and_holds_what_differs_from_the_defaults() -> None:
    plain = Manifest.from_json(document())
    assert plain.assembly == AssemblyConfig() and "assembly" not in plain.to_json()
    written = {"kind": "crf", "crf": {"unary": "boxes", "bilateral": 0.5, "band": None, "joint": True}}
    read = Manifest.from_json(document() | {"assembly": written})
    crf = CrfSettings(unary=Unary.BOXES, bilateral=0.5, band=None, joint=True)
    assert read.assembly == AssemblyConfig(kind=AssemblyKind.CRF, crf=crf)
    assert read.to_json()["assembly"] == written


def test_a_bundle_whose_files_are_right_loads(tmp_path: Path) -> None:
    assert load_manifest(bundle(tmp_path)).name == "partstream-live"


def test_a_graph_that_is_gone_or_changed_is_refused(tmp_path: Path) -> None:
    graph = bundle(tmp_path) / "backbone.onnx"
    graph.write_bytes(b"other weights")
    with pytest.raises(BundleError, match="sha256"):
        load_manifest(tmp_path)
    graph.unlink()
    with pytest.raises(BundleError, match=r"graphs\.backbone\.file"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("text", [None, "{", "[1, 2", "\xff"])
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"bundle\.json: cannot be read"):
        load_manifest(tmp_path)
