"""Masks of pictures, of mirrored pictures and of flipped ones, and how far they lie apart.

A network or a resize whose grid is off by a fraction of a cell moves masks by a fixed distance d. In a
picture that was mirrored, and its masks mirrored back, the same error moves them the other way, so both
differ by 2 d, whatever the truth is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, people_masks, read_photo
from partstream_evaluation.metrics.davis import region_iou
from partstream_evaluation.offset.measure import BoolArray, translation

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".webp", ".bmp"})
BAR: Final = 0.15
"""Network pixels that masks may lie beside people."""
_SAME: Final = 0.7
"""IoU from which two masks are of one person."""
_MIRRORED, _FLIPPED = "mirrored", "flipped"


@dataclass(frozen=True, slots=True)
class AxisOffset:
    """How far masks lie beside people along one axis, in network pixels; NaN where nobody was found twice."""

    median: float
    """Positive to the right, or down."""
    mean: float
    standard_error: float
    """Of the mean."""
    num_people: int


@dataclass(frozen=True, slots=True)
class OffsetReport:
    """Offsets to the right and down, and what they were measured on."""

    x: AxisOffset
    """Told by mirrored pictures."""
    y: AxisOffset
    """Told by pictures turned top to bottom."""
    num_pictures: int
    network_side: int
    command: str

    @property
    def holds(self) -> bool:
        """Whether both offsets are known and within the bar."""
        return bool(abs(self.x.median) <= BAR and abs(self.y.median) <= BAR)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; figures that do not exist are null."""
        axes = {
            name: {key: None if np.isnan(value) else value for key, value in asdict(axis).items()}
            for name, axis in (("x", self.x), ("y", self.y))
        }
        return {
            **axes,
            "holds": self.holds,
            "bar": BAR,
            "num_pictures": self.num_pictures,
            "network_side": self.network_side,
            "command": self.command,
        }


def evaluate(
    pictures_dir: Path, command: PartstreamCommand, *, limit: int | None = None, network_side: int = 512
) -> OffsetReport:
    """Parse pictures three times, and measure how far the masks of one person lie apart.

    Args:
        pictures_dir: Pictures lie in it or below; PNG files, which may be masks, are not read.
        command: How to call `partstream`.
        limit: Only so many pictures, from the first.
        network_side: Pixels of the longer side of the network's input.

    Raises:
        EvaluationError: There is no picture, one cannot be read, or the command failed.
    """
    paths = sorted(path for path in pictures_dir.rglob("*") if path.suffix.lower() in SUFFIXES)[:limit]
    if not paths:
        raise EvaluationError(f"there is no picture in {pictures_dir} ({', '.join(sorted(SUFFIXES))})")
    with TemporaryDirectory(prefix="partstream-offset-") as folder:
        staged = [_stage(path, Path(folder), number) for number, path in enumerate(paths)]
        line = command.parse_photos([path for three in staged for path in three], Path(folder) / "found")
        across: list[float] = []
        down: list[float] = []
        for three in staged:
            upright, mirrored, flipped = (_masks(Path(folder) / "found", path) for path in three)
            across += _offsets(upright, [np.fliplr(mask) for mask in mirrored], 0, network_side)
            down += _offsets(upright, [np.flipud(mask) for mask in flipped], 1, network_side)
    return OffsetReport(_summary(across), _summary(down), len(paths), network_side, line)


def _stage(path: Path, folder: Path, number: int) -> tuple[Path, Path, Path]:
    """Write a picture as it is, mirrored, and flipped."""
    try:
        with Image.open(path) as picture:
            image = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise EvaluationError(f"cannot read the picture {path}: {error}") from error
    images: dict[str, npt.NDArray[np.uint8]] = {
        "upright": image,
        _MIRRORED: np.fliplr(image),
        _FLIPPED: np.flipud(image),
    }
    paths = [folder / f"{number:06d}-{name}.png" for name in images]
    for target, each in zip(paths, images.values(), strict=True):
        Image.fromarray(np.ascontiguousarray(each)).save(target, compress_level=1)
    return paths[0], paths[1], paths[2]


def _masks(output: Path, picture: Path) -> list[BoolArray]:
    return people_masks(read_photo(output, picture), picture.name)


def _offsets(
    first: Sequence[BoolArray], second: Sequence[BoolArray], axis: int, network_side: int
) -> Iterator[float]:
    """The offset of each person who is in both, in network pixels."""
    for mask_HW in first:
        ious = [region_iou(mask_HW, other_HW) for other_HW in second]
        best = int(np.argmax(ious)) if ious else -1
        if best < 0 or ious[best] < _SAME:
            continue
        apart = translation(mask_HW, second[best])
        if apart is not None:
            yield -apart[axis] / 2 * network_side / max(mask_HW.shape)


def _summary(offsets: Sequence[float]) -> AxisOffset:
    if not offsets:
        return AxisOffset(float("nan"), float("nan"), float("nan"), 0)
    error = np.std(offsets, ddof=1) / np.sqrt(len(offsets)) if len(offsets) > 1 else np.nan
    return AxisOffset(float(np.median(offsets)), float(np.mean(offsets)), float(error), len(offsets))
