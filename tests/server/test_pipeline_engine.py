"""Engines on the bundle that ships: equal numbers, outputs that stay, and no bundle that lies."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from partstream_core.errors import BundleError, EngineError
from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.engine import Engine, Tensors, create_engine
from partstream_server.engine.openvino import OpenVinoEngine
from partstream_server.pipeline.inference import instance_rows, shrink, to_tensor


@pytest.fixture(scope="module")
def bundle(engine: Engine) -> Path:
    return engine.bundle.directory


@pytest.fixture(scope="module")
def openvino(bundle: Path) -> Iterator[Engine]:
    opened = create_engine(bundle, provider="openvino", precision="f32", num_threads=1)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def onnxruntime(bundle: Path) -> Iterator[Engine]:
    opened = create_engine(bundle, provider="onnxruntime", precision="f32", num_threads=1)
    yield opened
    opened.close()


def tensor(engine: Engine, frame: int = 0, *, width: int = 256, height: int = 160) -> npt.NDArray[np.float32]:
    image = shrink(scene(1280, 720, frame), width=width, height=height)
    return to_tensor(image, engine.bundle.manifest.normalisation)


def run_all(engine: Engine, image: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> Tensors:
    backbone = engine.run("backbone", {"image": image})
    heads = engine.run("heads", {"feature": backbone["feature"], "image": image})
    manifest = engine.bundle.manifest
    instances = engine.run("instances", instance_rows(heads, rows, manifest))
    return {**backbone, **heads, **instances}


@pytest.mark.parametrize("size", [(256, 160), (128, 192)])
def test_openvino_and_onnx_runtime_agree_at_f32(
    openvino: Engine, onnxruntime: Engine, size: tuple[int, int]
) -> None:
    image = tensor(openvino, width=size[0], height=size[1])
    rows = np.arange(5)
    ours, theirs = run_all(openvino, image, rows), run_all(onnxruntime, image, rows)
    assert set(ours) == set(theirs)
    scores = theirs["scores"][0]
    # Candidates of nearly equal scores may swap places; those well apart may not.
    apart = np.flatnonzero(np.minimum(-np.diff(scores, append=-1), -np.diff(scores, prepend=2)) > 1e-4)
    assert len(apart) >= 5
    by_rank = {"boxes", "scores", "locations", "mask_parameters"}
    for name in set(ours) - {"masks", "embeddings"}:
        a, b = ours[name], theirs[name]
        if name in by_rank:
            a, b = a[:, apart], b[:, apart]
        assert a.dtype == b.dtype
        assert np.abs(a - b).max() <= 1e-3 * np.abs(b).max(), name
    same = [row for row in range(5) if row in apart]
    for name in ("masks", "embeddings"):
        assert np.abs(ours[name][same] - theirs[name][same]).max() <= 1e-3, name


@pytest.mark.parametrize("provider", ["openvino", "onnxruntime"])
def test_outputs_stay_as_they_are_across_later_runs(
    openvino: Engine, onnxruntime: Engine, provider: str
) -> None:
    engine = openvino if provider == "openvino" else onnxruntime
    rows = np.arange(3)
    held = run_all(engine, tensor(engine, 0), rows)
    copies = {name: value.copy() for name, value in held.items()}
    for frame in range(1, 4):
        other = run_all(engine, tensor(engine, 9 * frame), rows)
        assert not np.array_equal(other["feature"], held["feature"])
        assert not any(np.shares_memory(held[name], other[name]) for name in held)
    for name, value in held.items():
        assert np.array_equal(value, copies[name]), name
        assert value.flags.writeable, name


@pytest.mark.parametrize("provider", ["openvino", "onnxruntime"])
def test_threads_that_share_an_engine_get_their_own_results(
    openvino: Engine, onnxruntime: Engine, provider: str
) -> None:
    engine = openvino if provider == "openvino" else onnxruntime
    sizes = [(128, 96), (96, 128), (128, 96), (160, 96)]
    images = [tensor(engine, 20 * index, width=w, height=h) for index, (w, h) in enumerate(sizes)]
    alone = [run_all(engine, image, np.arange(2)) for image in images]
    problems: list[str] = []

    def work(index: int) -> None:
        for _ in range(4):
            again = run_all(engine, images[index], np.arange(2))
            problems.extend(
                f"{index}: {name}"
                for name in again
                if not np.allclose(again[name], alone[index][name], atol=1e-5)
            )

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(sizes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_openvino_keeps_compiled_shapes_within_a_number_of_bytes(engine: Engine) -> None:
    small = OpenVinoEngine(engine.bundle, precision="f32", num_threads=1, max_compiled_bytes=1)
    first = small.run("backbone", {"image": tensor(small, width=64, height=64)})
    for width in (64, 96, 128, 160):
        small.run("backbone", {"image": tensor(small, width=width, height=64)})
    assert small.num_compiled("backbone") == 1  # the one used last always stays
    assert small.compiled_shapes().num_compilations == 4
    again = small.run("backbone", {"image": tensor(small, width=64, height=64)})
    assert np.allclose(first["feature"], again["feature"], atol=1e-5)
    small.close()


def test_openvino_drops_what_was_used_least_recently_of_all_graphs(engine: Engine) -> None:
    roomy = OpenVinoEngine(engine.bundle, precision="f32", num_threads=1, max_compiled_bytes=0)
    for width in (64, 96, 128, 160, 192):
        image = tensor(roomy, width=width, height=64)
        roomy.run("heads", {"image": image, **roomy.run("backbone", {"image": image})})
    usage = roomy.compiled_shapes()
    assert (usage.count, usage.num_compilations) == (10, 10)
    assert usage.num_bytes >= 10 << 20
    roomy.close()


def test_the_engine_names_what_it_runs_on(openvino: Engine, onnxruntime: Engine, bundle: Path) -> None:
    assert (openvino.provider, openvino.precision, openvino.num_threads) == ("openvino", "f32", 1)
    assert (onnxruntime.provider, onnxruntime.precision) == ("onnxruntime", "f32")
    automatic = create_engine(bundle)
    assert automatic.provider == "openvino", "the fastest that is installed"
    assert automatic.precision in ("f32", "bf16")
    automatic.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"provider": "cuda"}, "onnxruntime-gpu"),
        ({"provider": "tensorflow"}, "one of auto, openvino"),
        ({"precision": "int4"}, "one of auto, f32"),
        ({"provider": "onnxruntime", "precision": "bf16"}, "computes in f32, not bf16"),
        ({"num_threads": -1}, "negative"),
    ],
)
def test_what_cannot_be_had_is_refused_and_not_replaced(
    bundle: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        create_engine(bundle, **options)


@pytest.mark.parametrize("provider", ["openvino", "onnxruntime"])
def test_a_wrong_call_is_an_engine_error_and_does_no_harm(
    openvino: Engine, onnxruntime: Engine, provider: str
) -> None:
    engine = openvino if provider == "openvino" else onnxruntime
    with pytest.raises(EngineError, match="no graph dreams"):
        engine.run("dreams", {})
    with pytest.raises(EngineError, match="heads takes"):
        engine.run("heads", {"image": tensor(engine)})
    with pytest.raises(EngineError, match="backbone failed"):
        engine.run("backbone", {"image": np.zeros((1, 4, 64, 64), np.float32)})
    assert np.isfinite(engine.run("backbone", {"image": tensor(engine)})["feature"]).all()


def set_in(*path: str | int) -> Callable[[dict[str, Any], Any], None]:
    def change(document: dict[str, Any], value: Any) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


BACKBONE, HEADS = ("graphs", "backbone"), ("graphs", "heads")
LIES: list[tuple[str, Callable[[dict[str, Any], Any], None], Any, str]] = [
    ("checksum", set_in(*BACKBONE, "sha256"), "0" * 64, "graphs.backbone.sha256"),
    ("file", set_in(*BACKBONE, "file"), "elsewhere.onnx", "graphs.backbone.file"),
    ("input's name", set_in(*BACKBONE, "inputs", 0, "name"), "picture", "graphs.backbone.inputs"),
    ("output's name", set_in(*BACKBONE, "outputs", 0, "name"), "features", "graphs.backbone.outputs"),
    ("type", set_in(*BACKBONE, "inputs", 0, "dtype"), "float16", "graphs.backbone.inputs[0].dtype"),
    (
        "dimensions",
        set_in(*BACKBONE, "inputs", 0, "shape"),
        ["batch", 3, "height"],
        "graphs.backbone.inputs[0].shape",
    ),
    ("channels", set_in(*BACKBONE, "inputs", 0, "shape", 1), 4, "graphs.backbone.inputs[0].shape"),
    ("fixed side", set_in(*BACKBONE, "inputs", 0, "shape", 2), 288, "graphs.backbone.inputs[0].shape"),
    (
        "open channels",
        set_in(*BACKBONE, "inputs", 0, "shape", 1),
        "channels",
        "graphs.backbone.inputs[0].shape",
    ),
    ("candidates", set_in(*HEADS, "outputs", 0, "shape", 1), 63, "graphs.heads.outputs[0].shape"),
    ("time", set_in("capabilities", "temporal"), "window", "graphs.temporal.inputs"),
]


@pytest.mark.parametrize("provider", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("change", "value", "field"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES]
)
def test_a_manifest_that_disagrees_with_its_graphs_is_refused_by_field(
    bundle: Path,
    tmp_path: Path,
    provider: str,
    change: Callable[[dict[str, Any], Any], None],
    value: Any,
    field: str,
) -> None:
    for path in bundle.glob("*.onnx"):
        shutil.copy(path, tmp_path)
    document = json.loads((bundle / "bundle.json").read_text())
    change(document, value)
    (tmp_path / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleError) as caught:
        create_engine(tmp_path, provider=provider)
    assert caught.value.field == field


@pytest.mark.parametrize("graph", ["backbone", "heads", "instances"])
def test_a_bundle_without_a_graph_is_refused(bundle: Path, tmp_path: Path, graph: str) -> None:
    for path in bundle.glob("*.onnx"):
        shutil.copy(path, tmp_path)
    document = json.loads((bundle / "bundle.json").read_text())
    del document["graphs"][graph]
    (tmp_path / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleError) as caught:
        create_engine(tmp_path)
    assert caught.value.field == f"graphs.{graph}"


@pytest.mark.parametrize("provider", ["openvino", "onnxruntime"])
def test_a_graph_that_is_no_onnx_is_refused(bundle: Path, tmp_path: Path, provider: str) -> None:
    import hashlib

    for path in bundle.glob("*.onnx"):
        shutil.copy(path, tmp_path)
    (tmp_path / "heads.onnx").write_bytes(b"not a graph")
    document = json.loads((bundle / "bundle.json").read_text())
    document["graphs"]["heads"]["sha256"] = hashlib.sha256(b"not a graph").hexdigest()
    (tmp_path / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleError) as caught:
        create_engine(tmp_path, provider=provider)
    assert caught.value.field == "graphs.heads.file"


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json"):
        create_engine(tmp_path)
