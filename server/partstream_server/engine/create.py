"""Creation of the engine for a provider; a provider that does not work is an error, never replaced."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from partstream_core.errors import EngineError
from partstream_server.engine.base import (
    DeviceOptions,
    Engine,
    LoadedBundle,
    default_bundle_directory,
    load_bundle,
)

PROVIDERS = ("auto", "openvino", "onnxruntime", "cuda", "tensorrt", "triton")
PRECISIONS = ("auto", "f32", "tf32", "bf16", "fp16", "int8")

_log = logging.getLogger(__name__)
_ON_THE_CPU = ("openvino", "onnxruntime")
_DEFAULT_DEVICE = DeviceOptions()


def create_engine(
    bundle: Path | None = None,
    *,
    provider: str = "auto",
    precision: str = "auto",
    num_threads: int = 0,
    device: DeviceOptions = _DEFAULT_DEVICE,
    compiled_mb: int | None = None,
) -> Engine:
    """An engine for a bundle.

    Args:
        bundle: Directory of the bundle; None for the one that ships with the server.
        provider: auto takes CUDA where ONNX Runtime has it and it works, else OpenVINO where it is installed,
            else ONNX Runtime on the CPU.
        precision: auto takes what is fastest on this machine in that provider.
        num_threads: Threads of a run on the CPU; 0 leaves the number to the runtime.
        device: Which device computes, for providers that have a choice.
        compiled_mb: Memory of compiled shapes, for providers that compile them; 0: no limit; None: the usual.

    Raises:
        BundleError: The bundle is damaged, or its manifest and graphs disagree.
        EngineError: The provider is not installed, does not work, or lacks the precision.
    """
    if provider not in PROVIDERS:
        raise EngineError(f"provider must be one of {', '.join(PROVIDERS)}; got {provider}")
    if precision not in PRECISIONS:
        raise EngineError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision}")
    if num_threads < 0:
        raise EngineError(f"the number of threads must not be negative, got {num_threads}")
    if provider in _ON_THE_CPU and find_spec(provider) is None:
        raise EngineError(f"{provider} is not installed; install partstream-server[cpu]")
    if provider != "auto":
        loaded = load_bundle(bundle or default_bundle_directory())
        return _create(provider, loaded, precision, num_threads, device, compiled_mb)
    installed = [name for name in _ON_THE_CPU if find_spec(name) is not None]
    if not installed:
        raise EngineError(
            "neither openvino nor onnxruntime is installed; install partstream-server[cpu] or [cuda]"
        )
    loaded = load_bundle(bundle or default_bundle_directory())
    if _cuda_is_built():
        try:
            return _create("cuda", loaded, precision, num_threads, device, compiled_mb)
        except EngineError as error:
            _log.warning("provider auto takes %s, for CUDA does not work: %s", installed[0], error)
    return _create(installed[0], loaded, precision, num_threads, device, compiled_mb)


def _create(
    provider: str,
    loaded: LoadedBundle,
    precision: str,
    num_threads: int,
    device: DeviceOptions,
    compiled_mb: int | None,
) -> Engine:
    """An engine of that provider."""
    # Imported only where it is wanted: either runtime may be missing.
    if provider == "openvino":
        from partstream_server.engine.openvino import MAX_COMPILED_BYTES, OpenVinoEngine  # noqa: PLC0415

        room = MAX_COMPILED_BYTES if compiled_mb is None else compiled_mb << 20
        return OpenVinoEngine(loaded, precision=precision, num_threads=num_threads, max_compiled_bytes=room)
    if provider == "triton":
        return _create_triton(loaded, precision, device)
    if find_spec("onnxruntime") is None:
        raise EngineError(f"{provider} needs ONNX Runtime; install partstream-server[cuda] (onnxruntime-gpu)")
    from partstream_server.engine.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415
    from partstream_server.engine.target import cpu_target, cuda_target  # noqa: PLC0415

    if provider == "tensorrt":
        from partstream_server.engine.tensorrt import tensorrt_target  # noqa: PLC0415

        target = tensorrt_target(loaded, precision, device)
    else:
        target = cuda_target(precision, device) if provider == "cuda" else cpu_target(precision)
    return OnnxRuntimeEngine(loaded, target, num_threads=num_threads)


def _create_triton(loaded: LoadedBundle, precision: str, device: DeviceOptions) -> Engine:
    """An engine on a Triton server."""
    if find_spec("tritonclient") is None:
        raise EngineError("provider triton needs tritonclient; install partstream-server[triton]")
    from partstream_server.engine.triton import TritonEngine  # noqa: PLC0415

    return TritonEngine(loaded, device.triton, precision=precision, timeout_s=device.triton_timeout_s)


def _cuda_is_built() -> bool:
    """Whether ONNX Runtime has its CUDA provider; checks for the library's file, as an import takes time."""
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return False
    libraries = Path(spec.origin).parent / "capi"
    return any(libraries.glob("*onnxruntime_providers_cuda.*"))
