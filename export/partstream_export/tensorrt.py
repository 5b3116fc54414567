"""TensorRT build settings of a bundle's engines: shapes, precision, and output folder.

Engines are built by ONNX Runtime's TensorRT provider, which writes each into a context model: an ONNX file
with one node that holds the engine. One optimisation profile a graph spans all sizes that are asked for.

Source: ONNX Runtime's documentation of the TensorRT execution provider (options trt_*), its pull requests
15546 (profiles) and 19154 (context models), and its issue 22131 (their paths).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from partstream_core.manifest import ROWS, GraphSpec, InputSpec, Manifest
from partstream_core.tensorrt import Profile

PRECISIONS: Final = {"fp16": "fp16", "fp32": "f32", "int8": "int8"}
"""As the command and as the record name them."""
_USUAL_ROWS = 8
_SIDE = re.compile(r"([a-z_]+)(?:/([1-9][0-9]*))?")
_SIZE = re.compile(r"([1-9][0-9]*)x([1-9][0-9]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Values that the named sides of tensors may take."""

    sizes: tuple[tuple[int, int], ...]
    """Width and height of the network's input; the first is the usual one."""
    max_batch: int = 1
    most: Mapping[str, int] = field(default_factory=dict)
    """Largest values of sides that only some bundles have, such as the frames of a window."""

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError("engines need at least one size")
        if self.max_batch < 1:
            raise ValueError(f"the largest batch must be at least 1, got {self.max_batch}")


def usual_sizes(spec: InputSpec) -> tuple[tuple[int, int], ...]:
    """Lying 16:9, upright 9:16 and square: with them every source between the two."""
    longer = spec.longer_side
    shorter = max(spec.multiple, round(longer * 9 / 16 / spec.multiple) * spec.multiple)
    return ((longer, shorter), (shorter, longer), (longer, longer))


def parse_sizes(text: str, spec: InputSpec) -> tuple[tuple[int, int], ...]:
    """Sizes written as 512x288,288x512.

    Raises:
        ValueError: One is no size, or no multiple of what the bundle asks for.
    """
    sizes = []
    for part in text.split(","):
        found = _SIZE.fullmatch(part.strip())
        if not found:
            raise ValueError(f"--sizes takes WIDTHxHEIGHT, separated by commas, got {part.strip()!r}")
        width, height = int(found[1]), int(found[2])
        if width % spec.multiple or height % spec.multiple:
            raise ValueError(f"--sizes must hold multiples of {spec.multiple}, got {part.strip()}")
        sizes.append((width, height))
    return tuple(sizes)


def profile_of(graph: GraphSpec, ranges: Ranges, manifest: Manifest) -> Profile:
    """The shapes that a graph's engine takes.

    Raises:
        ValueError: A side has a name whose range is not known.
    """
    widths, heights = zip(*ranges.sizes, strict=True)
    known = {
        "batch": (1, 1, ranges.max_batch),
        ROWS: (1, min(_USUAL_ROWS, manifest.top_k), manifest.top_k),
        "width": (min(widths), widths[0], max(widths)),
        "height": (min(heights), heights[0], max(heights)),
        **{name: (1, most, most) for name, most in ranges.most.items()},
    }
    least, best, most = (
        {spec.name: tuple(_side(side, known, at) for side in spec.shape) for spec in graph.inputs}
        for at in range(3)
    )
    return Profile(least=least, best=best, most=most)


def _side(side: int | str, known: Mapping[str, tuple[int, int, int]], at: int) -> int:
    if isinstance(side, int):
        return side
    found = _SIDE.fullmatch(side)
    if not found or found[1] not in known:
        name = found[1] if found else side
        raise ValueError(f"the range of side {name} is not known; say its largest value with --most {name}=N")
    return known[found[1]][at] // int(found[2] or 1)


def shapes_text(shapes: Mapping[str, Sequence[int]]) -> str:
    """Shapes as the provider's options hold them: image:1x3x288x512,feature:1x96x36x64."""
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())


def build_options(
    *, precision: str, profile: Profile, context_model: Path, timing: Path, device: int
) -> dict[str, str]:
    """Options of the provider that builds an engine and writes its context model.

    The engine is embedded in that model: one file, which one hash covers, and no path to resolve.
    The cache of engines, which the documentation asks for beside it, lies where the context model does.

    Args:
        precision: fp16, f32 or int8; what int8 leaves out computes in fp16.
        profile: Shapes of the inputs.
        context_model: Where the context model is written.
        timing: Folder of the timing cache, which makes the next build of like layers faster.
        device: Number of the CUDA device.
    """
    return {
        "device_id": str(device),
        "trt_fp16_enable": "1" if precision in ("fp16", "int8") else "0",
        "trt_int8_enable": "1" if precision == "int8" else "0",
        "trt_profile_min_shapes": shapes_text(profile.least),
        "trt_profile_opt_shapes": shapes_text(profile.best),
        "trt_profile_max_shapes": shapes_text(profile.most),
        "trt_dump_ep_context_model": "1",
        "trt_ep_context_file_path": str(context_model),
        "trt_ep_context_embed_mode": "1",
        "trt_engine_cache_enable": "1",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(timing),
    }
