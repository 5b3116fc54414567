"""Targets of ONNX Runtime (CPU, CUDA, TensorRT), and a check that nodes run on the target.

ONNX Runtime itself goes on with the CPU where a provider's libraries cannot be loaded, with nothing but a
line in its log. Here that is an error.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from partstream_core.errors import EngineError
from partstream_core.nvidia import compute_capability
from partstream_core.tensorrt import Profile
from partstream_server.engine.base import DeviceOptions

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
INSTALL_CUDA: Final = (
    "install partstream-server[cuda] (onnxruntime-gpu, with CUDA 13 and cuDNN 9) in an environment without "
    "onnxruntime, and a driver for CUDA 13"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Device, providers and files of an ONNX Runtime session."""

    provider: str
    """As people name it."""
    precision: str
    providers: tuple[tuple[str, Mapping[str, str]], ...]
    """ONNX Runtime's own names and options; the first one is what was asked for."""
    device: str = "cpu"
    """ONNX Runtime's name of the memory in which graphs compute."""
    index: int = 0
    stays: bool = False
    """Whether what only graphs read stays in that memory."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files to load in place of the bundle's graphs, where a provider has its own."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """Shapes that those files take."""
    trouble: str = ""
    """Message of the loader about a missing library; empty if there was none."""
    entries: Mapping[str, str] = field(default_factory=dict)
    """Further entries of the sessions' configuration."""

    @property
    def device_name(self) -> str:
        """The device as people name it."""
        return self.device if self.device == "cpu" else f"{self.device}:{self.index}"

    def check(self, session: ort.InferenceSession) -> None:
        """Refuse a session that computes elsewhere.

        Raises:
            EngineError: It does.
        """
        wanted, found = self.providers[0][0], list(session.get_providers())
        if wanted not in found:
            trouble = f" ({self.trouble})" if self.trouble else ""
            raise EngineError(
                f"{self.provider} was asked for, but ONNX Runtime could not load its {wanted}{trouble} and "
                f"offers {', '.join(found)}; {INSTALL_CUDA}"
            )


def cpu_target(precision: str) -> Target:
    """The CPU, in f32.

    Raises:
        EngineError: Another precision is asked for.
    """
    if precision not in ("auto", "f32"):
        raise EngineError(f"ONNX Runtime on the CPU computes in f32, not {precision}")
    return Target(provider="onnxruntime", precision="f32", providers=((CPU, {}),))


def cuda_target(precision: str, device: DeviceOptions) -> Target:
    """A CUDA device: f32, or tf32 where auto is asked for, which a device older than Ampere ignores.

    Raises:
        EngineError: ONNX Runtime has no CUDA in it, there is no such device, or the precision is another one.
    """
    if precision not in ("auto", "f32", "tf32"):
        raise EngineError(
            f"the cuda provider computes in f32 or tf32, not {precision}; tensorrt has fp16 and int8"
        )
    trouble = require_provider(CUDA, "cuda")
    require_device(device.index)
    chosen = "tf32" if precision == "auto" else precision
    return Target(
        provider="cuda",
        precision=chosen,
        providers=((CUDA, cuda_options(chosen, device)), (CPU, {})),
        device="cuda",
        index=device.index,
        stays=True,
        trouble=trouble,
    )


def cuda_options(precision: str, device: DeviceOptions) -> dict[str, str]:
    """Options of the CUDA provider.

    Sizes of sources vary, so memory grows by what is asked for, and convolutions are chosen by heuristics: an
    exhaustive search would be made again for every new size.
    """
    options = {
        "device_id": str(device.index),
        "use_tf32": "1" if precision == "tf32" else "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    if device.memory_bytes:
        options["gpu_mem_limit"] = str(device.memory_bytes)
    return options


def require_device(index: int) -> None:
    """Refuse a device that the driver does not know, before a runtime stumbles over it.

    Raises:
        EngineError: There is no driver, or no such device.
    """
    try:
        compute_capability(index)
    except EngineError as error:
        raise EngineError(f"cuda was asked for, but {error}") from error


def require_provider(execution_provider: str, name: str) -> str:
    """Refuse an ONNX Runtime without a provider, and load the CUDA libraries that pip installed.

    Returns:
        What was said of a library that could not be loaded; empty where all were.

    Raises:
        EngineError: The provider is not in it.
    """
    there: list[Any] = ort.get_available_providers()
    if execution_provider not in there:
        raise EngineError(
            f"{name} was asked for, but this ONNX Runtime {ort.__version__} has no {execution_provider}; "
            f"{INSTALL_CUDA}"
        )
    said = io.StringIO()
    if hasattr(ort, "preload_dlls"):  # from 1.21 on
        with redirect_stdout(said):  # where it would get among results
            ort.preload_dlls()
    return next((line.strip() for line in said.getvalue().splitlines() if line.strip()), "")
