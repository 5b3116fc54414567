"""The engine that was asked for, or a clear error: never another one in silence."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from partstream_core.errors import EngineError
from partstream_server.engine.base import Engine, default_bundle_directory, load_bundle

PROVIDERS = ("auto", "openvino", "onnxruntime", "cuda")
PRECISIONS = ("auto", "f32", "bf16")


def create_engine(
    bundle: Path | None = None, *, provider: str = "auto", precision: str = "auto", num_threads: int = 0
) -> Engine:
    """An engine for a bundle.

    Args:
        bundle: Directory of the bundle; None for the one that ships with the server.
        provider: auto takes OpenVINO where it is installed, else ONNX Runtime.
        precision: auto takes what is fastest on this machine in that provider.
        num_threads: Threads of a run; 0 leaves the number to the runtime.

    Raises:
        BundleError: The bundle is damaged, or its manifest and graphs disagree.
        EngineError: The provider is not installed or does not exist yet, or lacks the precision.
    """
    if provider not in PROVIDERS:
        raise EngineError(f"provider must be one of {', '.join(PROVIDERS)}; got {provider}")
    if precision not in PRECISIONS:
        raise EngineError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision}")
    if num_threads < 0:
        raise EngineError(f"the number of threads must not be negative, got {num_threads}")
    chosen = _installed() if provider == "auto" else provider
    if chosen == "cuda":
        raise EngineError("the cuda provider does not exist yet; choose openvino, onnxruntime or auto")
    if find_spec(chosen) is None:
        raise EngineError(f"{chosen} is not installed; install partstream-server[cpu]")
    loaded = load_bundle(bundle or default_bundle_directory())
    if chosen == "openvino":
        # Imported only where it is wanted: either runtime may be missing.
        from partstream_server.engine.openvino import OpenVinoEngine  # noqa: PLC0415

        return OpenVinoEngine(loaded, precision=precision, num_threads=num_threads)
    from partstream_server.engine.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415

    return OnnxRuntimeEngine(loaded, precision=precision, num_threads=num_threads)


def _installed() -> str:
    for name in ("openvino", "onnxruntime"):
        if find_spec(name) is not None:
            return name
    raise EngineError("neither openvino nor onnxruntime is installed; install partstream-server[cpu]")
