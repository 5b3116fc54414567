"""Target for TensorRT through ONNX Runtime, with prebuilt engines.

The server builds no engines: `partstream-export tensorrt` builds them on the machine that runs them. Engines
of another bundle, another version of TensorRT or ONNX Runtime, or another device are refused.

Source: ONNX Runtime's documentation of the TensorRT execution provider and of EP context models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import onnxruntime as ort

from partstream_core.errors import EngineError
from partstream_core.nvidia import compute_capability, tensorrt_version
from partstream_core.tensorrt import (
    ENGINES_FOLDER,
    PRECISIONS,
    EngineKey,
    EngineSet,
    bundle_hash,
    find_engines,
)
from partstream_server.engine.base import DeviceOptions, LoadedBundle
from partstream_server.engine.target import CPU, CUDA, Target, cuda_options, require_provider

TENSORRT: Final = "TensorrtExecutionProvider"


def tensorrt_target(bundle: LoadedBundle, precision: str, device: DeviceOptions) -> Target:
    """A CUDA device with TensorRT engines for this bundle.

    Args:
        bundle: Bundle to run.
        precision: Precision of the engines; auto takes the first that was built of fp16, f32, int8.
        device: CUDA device and folder of its engines.

    Raises:
        EngineError: TensorRT, the device or matching engines are missing.
    """
    if precision not in ("auto", *PRECISIONS):
        raise EngineError(f"the tensorrt provider computes in {', '.join(PRECISIONS)}, not {precision}")
    trouble = require_provider(TENSORRT, "tensorrt")
    key = EngineKey(
        bundle=bundle_hash(bundle.manifest),
        tensorrt=tensorrt_version(),
        onnxruntime=ort.__version__,
        compute_capability=compute_capability(device.index),
    )
    directory = device.engines or bundle.directory / ENGINES_FOLDER
    folder, engines = find_engines(directory, key, precision, bundle=bundle.directory)
    return replace(target_of(bundle, folder, engines, device), trouble=trouble)


def target_of(bundle: LoadedBundle, folder: Path, engines: EngineSet, device: DeviceOptions) -> Target:
    """The target that loads these engines.

    Raises:
        EngineError: One of the bundle's graphs has no engine.
    """
    missing = sorted(set(bundle.manifest.graphs) - set(engines.graphs))
    if missing:
        raise EngineError(f"{folder} has no engine for {missing[0]}; build the engines again")
    return Target(
        provider="tensorrt",
        precision=engines.precision,
        providers=((TENSORRT, tensorrt_options(device)), (CUDA, cuda_options("f32", device)), (CPU, {})),
        device="cuda",
        index=device.index,
        stays=True,
        files={name: folder / graph.file for name, graph in engines.graphs.items()},
        profiles={name: graph.profile for name, graph in engines.graphs.items()},
    )


def tensorrt_options(device: DeviceOptions) -> Mapping[str, str]:
    """Options of the TensorRT provider; an EP context model already holds its build options."""
    return {"device_id": str(device.index)}
