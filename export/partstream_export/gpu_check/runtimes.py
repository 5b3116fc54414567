"""The graphs of a bundle in ONNX Runtime on the device: parity with its CPU provider, and milliseconds."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partstream_export.gpu_check.device import Device
from partstream_export.gpu_check.networks import ROWS_PER_IMAGE, side


def measure_bundle(
    bundle: Path, device: Device, *, batches: Sequence[int], size: tuple[int, int], repeats: int
) -> list[dict[str, object]] | str:
    """Figures of each graph, or why there are none: ONNX Runtime or its CUDA provider is missing."""
    try:
        import onnxruntime as ort  # noqa: PLC0415 - a bare machine may be without it
    except ImportError as error:
        return f"onnxruntime is not installed ({error})"
    provider = "CUDAExecutionProvider" if device.is_gpu else "CPUExecutionProvider"
    if provider not in ort.get_available_providers():
        return f"this onnxruntime has no {provider}: it has {', '.join(ort.get_available_providers())}"
    found = []
    for path in sorted(bundle.glob("*.onnx")):
        there = ort.InferenceSession(str(path), providers=[provider])
        if there.get_providers()[0] != provider:
            return f"{provider} could not be loaded: onnxruntime took {there.get_providers()[0]}"
        here = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        inputs = _inputs(there, batch=1, size=size)
        expected, outputs = here.run(None, inputs), there.run(None, inputs)
        row: dict[str, object] = {
            "graph": path.stem,
            "provider": provider,
            "relative_error": max(map(_error, outputs, expected)),
            "milliseconds": {
                batch: _milliseconds(there, _inputs(there, batch=batch, size=size), repeats)
                for batch in batches
            },
        }
        found.append(row)
    return found


def _inputs(session: Any, *, batch: int, size: tuple[int, int]) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(1)
    inputs: dict[str, np.ndarray[Any, Any]] = {}
    for spec in session.get_inputs():
        shape = [
            length if isinstance(length, int) else side(length, batch=batch, height=size[0], width=size[1])
            for length in spec.shape
        ]
        if spec.type == "tensor(int64)":
            inputs[spec.name] = np.arange(shape[0], dtype=np.int64) // ROWS_PER_IMAGE
        else:
            values = random.random(shape, np.float32)
            inputs[spec.name] = values + 1 if spec.name == "locations" else values * 2 - 1
    return inputs


def _error(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    if not np.issubdtype(expected.dtype, np.floating) or not expected.size:
        return 0.0
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-6))


def _milliseconds(session: Any, inputs: dict[str, np.ndarray[Any, Any]], repeats: int) -> float:
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        session.run(None, inputs)
        times.append(time.perf_counter() - start)
    return float(np.median(times[2:])) * 1e3
