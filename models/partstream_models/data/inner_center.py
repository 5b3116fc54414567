"""The inner center of a mask: the sampling center of HVISNet.

Source: HVISNet (Yu et al.), section III-B: of the mask's pixels, the one with the least sum of squared
distances to the mask's edge points. That sum is least at the edge points' mean and grows with the distance
from it, so the inner center is the mask pixel nearest to that mean: exact, and linear in the number of
pixels.
"""

import numpy as np
import numpy.typing as npt


def edge_points(mask_HW: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Rows and columns of the mask's pixels with one of 4 neighbours outside mask or frame, int64 [E, 2]."""
    padded = np.pad(mask_HW, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask_HW & ~inside)


def inner_center(mask_HW: npt.NDArray[np.bool_]) -> tuple[int, int] | None:
    """Row and column of the inner center, None for an empty mask; of equals the first in row order."""
    edges = edge_points(mask_HW)
    if len(edges) == 0:
        return None
    row, column = edges.mean(axis=0)
    pixels = np.argwhere(mask_HW)
    nearest = int(((pixels - (row, column)) ** 2).sum(axis=1).argmin())
    return int(pixels[nearest, 0]), int(pixels[nearest, 1])
