"""Label maps at the source's resolution from probabilities at the network's.

Who wins a pixel is decided among interpolated probabilities, so borders run between the cells of the
network's maps instead of along them. Each label is worked on in the crop where it can win, and the running
winner lies in one map: the label is packed into the low bits of a 16-bit probability, so a maximum keeps
both. Nothing of size N x H x W is made. There are many small crops a frame, so what is done for each is kept
short.

Maps are transposed here ([width, height]), so that what comes out lies in memory column by column, as
run-length encoding reads it. Shape suffixes: w, h the network's map; W, H the frame or a crop of it.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from partstream_server.pipeline.values import Crop, FloatArray, MapArray

LevelArray = npt.NDArray[np.uint16]
"""Probabilities as whole numbers: 65535 is certain."""

_LABEL_BITS = 6
MAX_LABEL = (1 << _LABEL_BITS) - 1
"""Labels are 1 to this; 0 is what a pixel is without one."""

_CERTAIN = 65535
_LEVEL_MASK = np.uint16(_CERTAIN - MAX_LABEL)
_REACH = 1
"""Cells beyond its own that an interpolated probability can win in."""


class Cells(NamedTuple):
    """A rectangle of the network's map: columns `left` up to `right`, rows `top` up to `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """What cuts the rectangle out of a transposed map."""
        return slice(self.left, self.right), slice(self.top, self.bottom)


def levels(probabilities: FloatArray) -> LevelArray:
    """Probabilities as whole numbers."""
    return np.asarray(probabilities * np.float32(_CERTAIN), np.uint16)


def around(own: tuple[slice, slice], within: Cells) -> Cells:
    """The cells that a label can win in, inside a rectangle.

    Args:
        own: The label's own cells, counted from the rectangle's corner.
        within: The rectangle.
    """
    columns, rows = own
    return Cells(
        left=max(within.left, within.left + columns.start - _REACH),
        top=max(within.top, within.top + rows.start - _REACH),
        right=min(within.right, within.left + columns.stop + _REACH),
        bottom=min(within.bottom, within.top + rows.stop + _REACH),
    )


class Grid:
    """A frame and the network's map that covers it."""

    def __init__(self, *, width: int, height: int, map_width: int, map_height: int) -> None:
        self.width, self.height = width, height
        self.whole = Cells(0, 0, map_width, map_height)
        self._columns = _edges(map_width, width)
        self._rows = _edges(map_height, height)

    def pixels(self, cells: Cells) -> Crop:
        """The pixels under a rectangle of cells; at least one."""
        left = min(self._columns[cells.left], self.width - 1)
        top = min(self._rows[cells.top], self.height - 1)
        return Crop(
            top=top,
            left=left,
            bottom=max(top + 1, self._rows[cells.bottom]),
            right=max(left + 1, self._columns[cells.right]),
        )


def _edges(cells: int, pixels: int) -> list[int]:
    return [round(edge * pixels / cells) for edge in range(cells + 1)]


class Contest:
    """Labels that contend for the pixels of a crop; the likeliest wins each."""

    def __init__(self, grid: Grid, crop: Crop, *, above: float = 0.0) -> None:
        """Open it.

        Args:
            grid: The frame.
            crop: What is given away.
            above: The probability that a label must be above, in steps of 1/1024; where none is, 0 wins.
        """
        self._grid, self._crop = grid, crop
        # One step above the floor, and label 0: whatever is not above the floor is less than this.
        floor = min((int(above * _CERTAIN) | MAX_LABEL) + 1, int(_LEVEL_MASK)) if above > 0 else 0
        self._best_WH = np.full((crop.right - crop.left, crop.bottom - crop.top), floor, np.uint16)

    def enter(self, label: int, level_wh: LevelArray, cells: Cells) -> None:
        """Let a label contend under a rectangle of cells.

        Probabilities are compared in steps of 1/1024; of two equal ones the greater label wins.

        Args:
            label: 0 to `MAX_LABEL`.
            level_wh: The label's probability over the whole map.
            cells: Where; the pixels under it lie inside the contest's crop.
        """
        assert 0 <= label <= MAX_LABEL, label
        inner, outer = self._grid.pixels(cells), self._crop
        size = (inner.bottom - inner.top, inner.right - inner.left)
        packed_WH = np.asarray(
            cv2.resize(level_wh[cells.slices], size, interpolation=cv2.INTER_LINEAR), np.uint16
        )
        packed_WH &= _LEVEL_MASK
        packed_WH |= np.uint16(label)
        best_WH = self._best_WH[
            inner.left - outer.left : inner.right - outer.left,
            inner.top - outer.top : inner.bottom - outer.top,
        ]
        cv2.max(best_WH, packed_WH, dst=best_WH)  # half of NumPy's time where rows are apart

    def labels(self) -> MapArray:
        """The winner of each pixel, [W, H] of the crop; 0 where none is above the floor."""
        label_WH = self._best_WH.astype(np.uint8)
        label_WH &= np.uint8(MAX_LABEL)
        return label_WH


def tight(mask_WH: npt.NDArray[np.bool_], crop: Crop) -> Crop | None:
    """The smallest crop around a mask that lies in a crop; None for an empty mask."""
    top, left, height, width = cv2.boundingRect(np.ascontiguousarray(mask_WH).view(np.uint8))
    if width == 0:
        return None
    left, top = crop.left + left, crop.top + top
    return Crop(top=top, left=left, bottom=top + height, right=left + width)
