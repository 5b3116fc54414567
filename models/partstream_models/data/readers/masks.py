"""Masks as COCO writes them: polygons, run lengths, or compressed run lengths.

Shape suffixes: H height, W width.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from partstream_core.labels import VOID
from partstream_core.rle import Rle, decode
from partstream_models.data.readers.record import MAX_ROWS, UInt8Array

BoolArray = npt.NDArray[np.bool_]


def decode_mask(value: Any, height: int, width: int) -> BoolArray:
    """A mask, [H, W].

    Raises:
        ValueError: It is none, or of another size.
    """
    if isinstance(value, list):
        return decode_polygons(value, height, width)
    if not isinstance(value, dict) or not {"size", "counts"} <= set(value):
        raise ValueError(f"a mask must be polygons or run lengths, got {str(value)[:40]!r}")
    if list(value["size"]) != [height, width]:
        raise ValueError(f"its mask is {value['size']}, its image {[height, width]}")
    counts = value["counts"]
    if isinstance(counts, list):
        runs = np.asarray(counts, np.int64)
        if runs.min(initial=0) < 0 or runs.sum() != height * width:
            raise ValueError(f"its runs do not sum to {height}x{width} pixels")
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return np.ascontiguousarray(values.reshape(width, height).T)
    return decode(Rle(height, width, str(counts)))


def decode_polygons(rings: list[Any], height: int, width: int) -> BoolArray:
    """The pixels inside any of the rings, each x and y in turn, [H, W].

    Raises:
        ValueError: A ring has fewer than three points, or holds something else than finite numbers.
    """
    try:
        points = [np.asarray(ring, np.float64).ravel() for ring in rings]
    except (TypeError, ValueError) as error:
        raise ValueError(f"a polygon must be numbers: {error}") from error
    if not points or any(len(ring) < 6 or len(ring) % 2 for ring in points):
        raise ValueError("a polygon must have three points or more, as x and y in turn")
    if not all(np.isfinite(ring).all() for ring in points):
        raise ValueError("a polygon holds NaN or infinity")
    packed = coco.merge(coco.frPyObjects([ring.tolist() for ring in points], height, width))
    return decode(Rle(height, width, packed["counts"].decode("ascii")))


def stack_masks(masks: list[BoolArray], void_HW: BoolArray) -> UInt8Array:
    """An instance map: each person's row + 1; where two claim a pixel, the smaller of them has it.

    Args:
        masks: Of each person.
        void_HW: Where nothing is asked unless somebody is there, such as crowds.
    """
    instances_HW = np.where(void_HW, VOID, 0).astype(np.uint8)
    for row in sorted(range(len(masks)), key=lambda row: -int(np.count_nonzero(masks[row]))):
        instances_HW[masks[row]] = row + 1 if row < MAX_ROWS else VOID
    return instances_HW
