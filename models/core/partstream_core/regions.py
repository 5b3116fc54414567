"""Where a mask lies: its pixels counted, its centre and box, and its pixels inside of the box.

Everything is computed from run lengths, so that a small mask in a large frame costs little.

Shape suffixes: h and w pixels inside the box, S runs of pixels of one column.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from partstream_core import rle
from partstream_core.outlines import BoolArray, fill, outlines
from partstream_core.results import Mask, Polygons
from partstream_core.rle import IntArray, Rle


class NoMaskError(ValueError):
    """The results were asked for without masks, so there is none to show."""

    def __init__(self) -> None:
        super().__init__("the results hold no masks; ask with masks='rle' or masks='polygons'")


def as_rle(mask: Mask) -> Rle:
    """The mask as run lengths.

    Raises:
        NoMaskError: There is none.
    """
    match mask:
        case None:
            raise NoMaskError
        case Rle():
            return mask
        case Polygons():
            return rle.encode(fill(mask))


@dataclass(frozen=True)
class Region:
    """The pixels of a mask that has some."""

    rle: Rle
    column_S: IntArray
    top_S: IntArray
    bottom_S: IntArray
    """Rows from the top one up to, not including, this one."""

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int((self.bottom_S - self.top_S).sum())

    @property
    def centroid(self) -> tuple[float, float]:
        """Mean x and y of the pixels' middles: the pixel in the frame's corner lies at 0.5, 0.5."""
        length_S = self.bottom_S - self.top_S
        x = (self.column_S + 0.5) @ length_S / self.area
        y = (self.top_S + self.bottom_S) / 2 @ length_S / self.area
        return float(x), float(y)

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1: the pixels from (x0, y0) up to, not including, (x1, y1)."""
        x0, y0 = int(self.column_S[0]), int(self.top_S.min())
        return x0, y0, int(self.column_S[-1]) + 1, int(self.bottom_S.max())

    @cached_property
    def crop_hw(self) -> BoolArray:
        """The pixels inside of the box."""
        x0, y0, x1, y1 = self.box
        change = np.zeros((x1 - x0, y1 - y0 + 1), np.int8)
        change[self.column_S - x0, self.top_S - y0] += 1
        change[self.column_S - x0, self.bottom_S - y0] -= 1
        return np.cumsum(change[:, :-1], axis=1, dtype=np.int8).T > 0

    def outlines(self) -> list[IntArray]:
        """Closed outlines [N, 2] in pixels of the frame; see `partstream_core.outlines`."""
        return [ring_N2 + self.box[:2] for ring_N2 in outlines(self.crop_hw)]

    def mean_colour(self, image_HW3: npt.NDArray[np.uint8]) -> tuple[float, float, float]:
        """Mean red, green and blue, 0 to 255, of the region in an RGB image of the frame.

        Raises:
            ValueError: The image has not the frame's size.
        """
        size = (self.rle.height, self.rle.width)
        if image_HW3.shape[:2] != size:
            raise ValueError(f"the picture has height and width {image_HW3.shape[:2]}, the masks {size}")
        x0, y0, x1, y1 = self.box
        red, green, blue = image_HW3[y0:y1, x0:x1][self.crop_hw].mean(axis=0).tolist()
        return red, green, blue


def region_of(mask: Mask) -> Region | None:
    """The pixels of a mask; None where it is empty.

    Raises:
        NoMaskError: There is no mask.
        ValueError: It is damaged.
    """
    runs = as_rle(mask)
    lengths = rle.run_lengths(runs)
    edges = np.cumsum(lengths)[: lengths.size // 2 * 2]
    starts, ends = edges[0::2], edges[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not starts.size:
        return None
    first, last = starts // runs.height, (ends - 1) // runs.height
    times = last - first + 1
    run_S = np.repeat(np.arange(starts.size), times)
    column_S = first[run_S] + np.arange(run_S.size) - np.repeat(np.cumsum(times) - times, times)
    top_S = np.maximum(starts[run_S] - column_S * runs.height, 0)
    bottom_S = np.minimum(ends[run_S] - column_S * runs.height, runs.height)
    return Region(runs, column_S, top_S, bottom_S)
