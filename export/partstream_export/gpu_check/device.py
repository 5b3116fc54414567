"""Name, clock and measured limits of the device that the figures are of.

Limits are measured and not taken from a datasheet: a copy on the device for memory, square matrix products
for arithmetic.
"""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch


class Precision(StrEnum):
    """Arithmetic of convolutions and matrix products."""

    F32 = "f32"
    TF32 = "tf32"
    BF16 = "bf16"
    FP16 = "fp16"

    @property
    def dtype(self) -> torch.dtype:
        """Type of weights and features."""
        return {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}.get(self, torch.float32)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the device reaches at best."""

    bytes_per_s: float
    """Read and written, of a copy on the device."""
    flops_per_s: dict[Precision, float]
    """Of a square matrix product; two operations a multiply-add."""

    def share(self, *, flops: float, num_bytes: float, seconds: float, precision: Precision) -> float:
        """The time that the slower limit alone would take against the measured time (roofline share)."""
        least = max(flops / self.flops_per_s[precision], num_bytes / self.bytes_per_s)
        return least / seconds


@dataclass(frozen=True, slots=True)
class Device:
    """One device."""

    torch_name: str
    """`cuda:0` or `cpu`."""

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.torch_name != "cpu"

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What is measured: on a CPU f32 and bf16 only."""
        return tuple(Precision) if self.is_gpu else (Precision.F32, Precision.BF16)

    def describe(self) -> dict[str, object]:
        """Names and versions, for the report."""
        if not self.is_gpu:
            return {"device": platform.processor() or platform.machine(), "torch": torch.__version__}
        found = torch.cuda.get_device_properties(self.torch_name)
        return {
            "device": found.name,
            "compute_capability": f"{found.major}.{found.minor}",
            "memory_gib": round(found.total_memory / 2**30, 1),
            "multiprocessors": found.multi_processor_count,
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
        }

    def set_precision(self, precision: Precision) -> None:
        """Let matrix products and convolutions in float32 use TF32, or not."""
        if self.is_gpu:
            torch.backends.cuda.matmul.allow_tf32 = precision is Precision.TF32
            torch.backends.cudnn.allow_tf32 = precision is Precision.TF32

    def wait(self) -> None:
        """Return when all work that was given to the device is done."""
        if self.is_gpu:
            torch.cuda.synchronize(self.torch_name)

    def seconds(self, call: Callable[[], object], *, repeats: int, warm_up: int = 3) -> float:
        """Median seconds of a call that leaves its work on the device.

        Each call is waited for: what is measured is latency, as a stream sees it, launches included.
        """
        for _ in range(warm_up):
            call()
        self.wait()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def measure_limits(self, *, quick: bool) -> Limits:
        """Copy and matrix products, large enough on a GPU to leave its caches."""
        num_bytes, side = (1 << 22, 256) if quick or not self.is_gpu else (1 << 31, 8192)
        source = torch.empty(num_bytes, dtype=torch.uint8, device=self.torch_name)
        target = torch.empty_like(source)
        copy_s = self.seconds(lambda: target.copy_(source), repeats=10)
        products: dict[Precision, float] = {}
        for precision in self.precisions:
            self.set_precision(precision)
            one = torch.randn(side, side, dtype=precision.dtype, device=self.torch_name)
            other = torch.randn_like(one)
            seconds = self.seconds(lambda one=one, other=other: one @ other, repeats=5)  # type: ignore[misc]
            products[precision] = 2 * side**3 / seconds
        return Limits(2 * num_bytes / copy_s, products)
