"""The translation between two masks of one person, to a fraction of a pixel.

Both masks are blurred, so that contours become ramps; then the translation is found by iterated least
squares on the ramps (Lucas and Kanade, IJCAI 1981). Pixels that differ for another reason, such as an arm
that one mask lacks, are weighted down (Tukey's biweight).

Shape suffixes: P pixels on ramps; H height, W width.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

_BLUR: Final = 3.0
"""Standard deviation in pixels: translations up to about this are found."""
_MARGIN: Final = 12
"""Pixels kept around the masks: four standard deviations."""
_LEAST_SPREAD: Final = 0.02
_TUKEY: Final = 4.685
_NUM_STEPS: Final = 12
_CONVERGED: Final = 1e-3
_FEWEST_PIXELS: Final = 30
_LEAST_GRADIENT: Final = 0.02
"""Of full ramps, whose steepest pixel has 0.13."""


class Offset(NamedTuple):
    """A translation in pixels, to the right and down."""

    x: float
    y: float


def translation(first_HW: BoolArray, second_HW: BoolArray) -> Offset | None:
    """How far the second mask lies to the right of and below the first; None where contours do not tell.

    Raises:
        ValueError: The masks differ in size.
    """
    if first_HW.shape != second_HW.shape:
        raise ValueError(f"masks must have one size, got {first_HW.shape} and {second_HW.shape}")
    crop = _around(first_HW | second_HW)
    if crop is None:
        return None
    # Where a person is cut by the frame's edge there is no contour, so the edge's pixels are repeated.
    first, second = (
        ndimage.gaussian_filter(mask_HW[crop].astype(np.float64), _BLUR, mode="nearest")
        for mask_HW in (first_HW, second_HW)
    )
    offset_2: FloatArray = np.zeros(2)
    for _ in range(_NUM_STEPS):
        moved = ndimage.shift(first, offset_2[::-1], order=3, mode="nearest")
        step_2 = _step(moved, second)
        if step_2 is None:
            return None
        offset_2 = offset_2 + step_2
        if np.abs(step_2).max() < _CONVERGED:
            break
    return Offset(float(offset_2[0]), float(offset_2[1]))


def _around(mask_HW: BoolArray) -> tuple[slice, slice] | None:
    """What cuts a mask out, with a margin; None for an empty one."""
    found = ndimage.find_objects(mask_HW.astype(np.uint8))
    if not found:
        return None
    rows, columns = found[0]
    return (
        slice(max(0, rows.start - _MARGIN), rows.stop + _MARGIN),
        slice(max(0, columns.start - _MARGIN), columns.stop + _MARGIN),
    )


def _step(first_HW: FloatArray, second_HW: FloatArray) -> FloatArray | None:
    """The translation (x, y) that a linear look at the ramps tells."""
    slopes = np.gradient((first_HW + second_HW) / 2)
    down_HW, right_HW = (np.asarray(each, np.float64) for each in slopes)
    ramp_HW = np.hypot(down_HW, right_HW) > _LEAST_GRADIENT
    if np.count_nonzero(ramp_HW) < _FEWEST_PIXELS:
        return None
    slopes_P2 = -np.stack([right_HW[ramp_HW], down_HW[ramp_HW]], axis=1)
    differences_P = (second_HW - first_HW)[ramp_HW]
    weights_P: FloatArray = np.ones(len(differences_P))
    step_2: FloatArray = np.zeros(2)
    for _ in range(_NUM_STEPS):
        weighted_P2 = slopes_P2 * weights_P[:, None]
        system_22 = weighted_P2.T @ slopes_P2
        if np.linalg.cond(system_22) > 1e4:
            return None
        step_2 = np.asarray(np.linalg.solve(system_22, weighted_P2.T @ differences_P), np.float64)
        residuals_P = differences_P - slopes_P2 @ step_2
        spread = max(_LEAST_SPREAD, 1.4826 * float(np.median(np.abs(residuals_P))))
        weights_P = np.asarray(np.clip(1 - (residuals_P / (_TUKEY * spread)) ** 2, 0, None) ** 2)
    return step_2
