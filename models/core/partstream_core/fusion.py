"""Person-part fusion: masks of people and probabilities of parts become one map of each.

Everything happens at the network's resolution. A pixel belongs to at most one person, and to at most one of
their parts: the likeliest, which may be none (a bag in somebody's arms). A part's score is its mean
probability over its pixels, in the paper's rule times the person's score; in ours the mean counts a few
pixels more than there are, because a part of three pixels is rarely one, and who is hidden has no worse
parts.

Shape suffixes: N instances, P classes (parts and background), H height, W width.
Source: ATEN (Zhou et al., MM 2018), section 4: `assemble_paper`. `assemble` is ours.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

NOBODY = -1
_MORE_PIXELS = 10
"""Counted for nothing in our part score."""


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """The people of one frame as the network sees them."""

    masks_NHW: FloatArray
    """Probability that a pixel is the person's."""
    scores_N: FloatArray

    def __post_init__(self) -> None:
        if self.masks_NHW.ndim != 3 or self.scores_N.shape != self.masks_NHW.shape[:1]:
            raise ValueError(f"got masks {self.masks_NHW.shape} and scores {self.scores_N.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """Instance map and part map of one frame."""

    owner_HW: npt.NDArray[np.int16]
    """Row of the person that a pixel belongs to; `NOBODY` where there is none."""
    part_map_HW: npt.NDArray[np.uint8]
    """Part of a pixel's owner; 0 where there is no owner or no part."""
    kept: npt.NDArray[np.int64]
    """Rows of the people that own at least one pixel, best score first."""
    part_scores_NP: npt.NDArray[np.float32]
    """Score of each part of each row; 0 where there is no pixel of it."""


MIN_SHARE = 0.2
"""Of a mask that must lie outside the masks of better people: with less, it is a second sight of one."""


def without_doubles(
    instances: Instances, *, mask_threshold: float = 0.5, min_share: float = MIN_SHARE
) -> npt.NDArray[np.int64]:
    """Rows of the people that are not seen twice, best score first, as `assemble` takes them."""
    return _take_in_score_order(instances.scores_N, instances.masks_NHW > mask_threshold, min_share)[0]


def assemble(
    instances: Instances,
    part_probabilities_PHW: FloatArray,
    *,
    mask_threshold: float = 0.5,
    min_share: float = MIN_SHARE,
) -> Assembly:
    """Give each pixel to the person whose mask is likeliest there, and to the likeliest part.

    Two people who overlap share the pixels by their masks, not by their scores. An instance of whose mask no
    more than `min_share` is left outside the masks of better ones is a second sight of the same person, and
    is dropped before the sharing.

    Args:
        instances: The people, in any order.
        part_probabilities_PHW: Probability of each class, background first.
        mask_threshold: A pixel whose likeliest mask is not above this belongs to nobody.
        min_share: See above.

    Raises:
        ValueError: Masks and parts are of different sizes.
    """
    inside_NHW = instances.masks_NHW > mask_threshold
    rows, _ = _take_in_score_order(instances.scores_N, inside_NHW, min_share)
    owner_HW = np.full(inside_NHW.shape[1:], NOBODY, np.int16)
    if len(rows):
        masks = instances.masks_NHW[rows]
        likeliest = masks.argmax(axis=0)
        owner_HW = np.where(masks.max(axis=0) > mask_threshold, rows[likeliest], NOBODY).astype(np.int16)
    return _with_parts(owner_HW, rows, np.ones_like(instances.scores_N), part_probabilities_PHW, _MORE_PIXELS)


def assemble_paper(
    instances: Instances,
    part_probabilities_PHW: FloatArray,
    *,
    mask_threshold: float = 0.5,
    min_share: float = 0.7,
) -> Assembly:
    """Give pixels away in score order: what a better instance took is gone.

    An instance is dropped if no more than `min_share` of its mask is left; its pixels stay free.
    """
    inside_NHW = instances.masks_NHW > mask_threshold
    rows, owner_HW = _take_in_score_order(instances.scores_N, inside_NHW, min_share)
    return _with_parts(owner_HW, rows, instances.scores_N, part_probabilities_PHW)


def _take_in_score_order(
    scores_N: FloatArray, inside_NHW: npt.NDArray[np.bool_], min_share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]:
    """Rows that kept more than `min_share` of their mask, best first, and the map of who took which pixel."""
    owner_HW = np.full(inside_NHW.shape[1:], NOBODY, np.int16)
    kept: list[int] = []
    for row in np.argsort(-scores_N, kind="stable").tolist():
        left_HW = inside_NHW[row] & (owner_HW == NOBODY)
        if np.count_nonzero(left_HW) > min_share * np.count_nonzero(inside_NHW[row]):
            owner_HW[left_HW] = row
            kept.append(row)
    return np.array(kept, np.int64), owner_HW


def _with_parts(
    owner_HW: npt.NDArray[np.int16],
    rows: npt.NDArray[np.int64],
    scores_N: FloatArray,
    part_probabilities_PHW: FloatArray,
    more_pixels: int = 0,
) -> Assembly:
    num_parts = part_probabilities_PHW.shape[0]
    if part_probabilities_PHW.shape[1:] != owner_HW.shape:
        raise ValueError(f"masks are {owner_HW.shape}, part probabilities {part_probabilities_PHW.shape[1:]}")
    pixels = np.flatnonzero(owner_HW != NOBODY)
    probabilities = part_probabilities_PHW.reshape(num_parts, -1)[:, pixels]
    part = probabilities.argmax(axis=0)
    part_map_HW = np.zeros(owner_HW.shape, np.uint8)
    part_map_HW.flat[pixels] = part
    size = len(scores_N) * num_parts
    place = owner_HW.flat[pixels].astype(np.int64) * num_parts + part
    count = np.bincount(place, minlength=size)
    total = np.bincount(place, probabilities.max(axis=0), minlength=size)
    part_scores = (total / np.maximum(count + more_pixels, 1)).reshape(len(scores_N), num_parts) * scores_N[
        :, None
    ]
    part_scores[:, 0] = 0
    owns: npt.NDArray[np.bool_] = count.reshape(len(scores_N), num_parts).sum(axis=1) > 0
    return Assembly(owner_HW, part_map_HW, rows[owns[rows]], part_scores.astype(np.float32))
