"""How TensorRT's engines are loaded, as far as that needs no device: ONNX Runtime's CPU stands in for it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from partstream_core.errors import EngineError
from partstream_core.manifest import sha256_of
from partstream_core.tensorrt import BuiltGraph, EngineKey, EngineSet, Profile, bundle_hash
from partstream_server.engine import DeviceOptions, Engine, create_engine
from partstream_server.engine.onnxruntime import OnnxRuntimeEngine
from partstream_server.engine.target import CPU, CUDA, Target
from partstream_server.engine.tensorrt import TENSORRT, target_of


def sides(shape: tuple[int | str, ...], size: int) -> tuple[int, ...]:
    return tuple(side if isinstance(side, int) else size for side in shape)


@pytest.fixture
def engines(engine: Engine, tmp_path: Path) -> EngineSet:
    """A record of the bundle's own graphs as if each were a context model."""
    graphs = {}
    for name, graph in engine.bundle.manifest.graphs.items():
        shutil.copy(engine.bundle.path(name), tmp_path / f"{name}_ctx.onnx")
        least, most = ({spec.name: sides(spec.shape, size) for spec in graph.inputs} for size in (1, 96))
        graphs[name] = BuiltGraph(
            file=f"{name}_ctx.onnx",
            sha256=sha256_of(tmp_path / f"{name}_ctx.onnx"),
            profile=Profile(least=least, best=most, most=most),
        )
    key = EngineKey(
        bundle=bundle_hash(engine.bundle.manifest),
        tensorrt="10.0.0",
        onnxruntime="1",
        compute_capability="9.0",
    )
    return EngineSet(key=key, precision="fp16", graphs=graphs)


def on_the_cpu(target: Target) -> Target:
    return replace(target, providers=((CPU, {}),), device="cpu")


def test_engines_become_a_target_that_keeps_tensors_on_its_device(
    engine: Engine, engines: EngineSet, tmp_path: Path
) -> None:
    target = target_of(engine.bundle, tmp_path, engines, DeviceOptions(index=1))
    assert [name for name, _ in target.providers] == [TENSORRT, CUDA, CPU]
    assert all(options["device_id"] == "1" for name, options in target.providers if name != CPU)
    assert (target.provider, target.precision, target.device_name) == ("tensorrt", "fp16", "cuda:1")
    assert target.stays
    assert set(target.files.values()) == set(tmp_path.glob("*_ctx.onnx"))


def test_the_engines_own_files_are_what_is_run(engine: Engine, engines: EngineSet, tmp_path: Path) -> None:
    target = on_the_cpu(target_of(engine.bundle, tmp_path, engines, DeviceOptions()))
    opened = OnnxRuntimeEngine(engine.bundle, target, num_threads=1)
    image = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)
    plain = create_engine(engine.bundle.directory, provider="onnxruntime", num_threads=1)
    assert np.allclose(
        opened.run("backbone", {"image": image})["feature"],
        plain.run("backbone", {"image": image})["feature"],
        atol=1e-4,
    )
    opened.close()
    plain.close()
    (tmp_path / "backbone_ctx.onnx").unlink()
    with pytest.raises(BaseException, match="backbone"):
        OnnxRuntimeEngine(engine.bundle, target, num_threads=1)


def test_a_frame_that_the_engines_were_not_built_for_is_refused_with_what_to_do(
    engine: Engine, engines: EngineSet, tmp_path: Path
) -> None:
    target = on_the_cpu(target_of(engine.bundle, tmp_path, engines, DeviceOptions()))
    opened = OnnxRuntimeEngine(engine.bundle, target, num_threads=1)
    with pytest.raises(EngineError, match=r"image is 1x3x64x128, but its TensorRT engine .*--sizes"):
        opened.run("backbone", {"image": np.zeros((1, 3, 64, 128), np.float32)})
    opened.close()


def test_a_graph_without_an_engine_is_named(engine: Engine, engines: EngineSet, tmp_path: Path) -> None:
    less = replace(engines, graphs={name: one for name, one in engines.graphs.items() if name != "heads"})
    with pytest.raises(EngineError, match="no engine for heads"):
        target_of(engine.bundle, tmp_path, less, DeviceOptions())


def test_tensorrt_that_is_not_there_is_refused_and_not_replaced(engine: Engine) -> None:
    if TENSORRT in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has TensorRT")
    with pytest.raises(EngineError, match=f"has no {TENSORRT}.*onnxruntime-gpu"):
        create_engine(engine.bundle.directory, provider="tensorrt")


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_tensorrt_refuses_a_precision_it_does_not_have(engine: Engine, precision: str) -> None:
    with pytest.raises(EngineError, match=f"fp16, f32, int8, not {precision}"):
        create_engine(engine.bundle.directory, provider="tensorrt", precision=precision)
