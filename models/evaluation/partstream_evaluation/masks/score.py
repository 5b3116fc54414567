"""Person IoU of a picture, with three answers to which of the found people count.

A truth such as DAVIS' holds the annotated person only, and people behind them are neither right nor wrong.
Others, such as portraits, hold everybody. Figures:

- `person_iou`, the headline: people count who lie in the truth with more than half of their pixels, and
  always the one who overlaps it best. What counts is joined, so people whom the truth joins, and a person
  found in pieces, lose nothing.
- `single`: only the one person who overlaps the truth best.
- `everybody`: all people found, as is right where the truth holds everybody.

Where the truth is empty, everybody counts in each figure.

Shape suffixes: N people; H height, W width.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]

_INSIDE: Final = 0.5
_MISSED: Final = 0.5
_NUM_COLOURS: Final = 19


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixels that truth and prediction share, and pixels of either."""

    shared: int
    union: int

    @property
    def iou(self) -> float:
        """The IoU; 1 where both are empty."""
        return self.shared / self.union if self.union else 1.0


@dataclass(frozen=True, slots=True)
class MaskScore:
    """A picture's figures."""

    person: Pixels
    single: Pixels
    everybody: Pixels
    num_people: int
    """People found."""
    num_counted: int
    """Those of them who count for `person`."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "person_iou": self.person.iou,
            "single": self.single.iou,
            "everybody": self.everybody.iou,
            "num_people": self.num_people,
            "num_counted": self.num_counted,
        }


@dataclass(frozen=True, slots=True)
class FolderScores:
    """Figures of several pictures: means over pictures, as DAVIS' J has it."""

    num_pictures: int
    person_iou: float
    single: float
    everybody: float
    pooled: float
    """The pixels of `person_iou` summed over the pictures first."""
    num_missed: int
    """Pictures whose `person_iou` is below one half."""


def score_picture(truth_HW: BoolArray, masks: Sequence[BoolArray]) -> MaskScore:
    """The figures of a picture.

    Args:
        truth_HW: Where people are.
        masks: Of each person found, [H, W].

    Raises:
        ValueError: A mask differs in size from the truth.
    """
    for mask_HW in masks:
        if mask_HW.shape != truth_HW.shape:
            raise ValueError(f"the truth is {truth_HW.shape}, a mask {mask_HW.shape}")
    everybody = _pixels(truth_HW, masks)
    if not truth_HW.any():
        return MaskScore(everybody, everybody, everybody, len(masks), len(masks))
    each = [_pixels(truth_HW, [mask_HW]) for mask_HW in masks]
    best = max(range(len(masks)), key=lambda at: each[at].iou, default=-1)
    counted = [
        mask_HW
        for at, mask_HW in enumerate(masks)
        if each[at].shared > 0 and (at == best or each[at].shared > _INSIDE * np.count_nonzero(mask_HW))
    ]
    single = [masks[best]] if masks else []
    return MaskScore(
        person=_pixels(truth_HW, counted),
        single=_pixels(truth_HW, single),
        everybody=everybody,
        num_people=len(masks),
        num_counted=len(counted),
    )


def label_map(masks: Iterable[BoolArray], size: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The masks as a label map to draw: 1, 2, ... in their order, from 1 again after 19; 0 nobody."""
    labels_HW = np.zeros(size, np.uint8)
    for number, mask_HW in enumerate(masks):
        labels_HW[mask_HW] = 1 + number % _NUM_COLOURS
    return labels_HW


def summarise(pictures: Sequence[MaskScore]) -> FolderScores:
    """The figures of several pictures.

    Raises:
        ValueError: There is no picture.
    """
    if not pictures:
        raise ValueError("there is no picture to summarise")
    person = np.array([each.person.iou for each in pictures])
    pooled = Pixels(sum(each.person.shared for each in pictures), sum(each.person.union for each in pictures))
    return FolderScores(
        num_pictures=len(pictures),
        person_iou=float(person.mean()),
        single=float(np.mean([each.single.iou for each in pictures])),
        everybody=float(np.mean([each.everybody.iou for each in pictures])),
        pooled=pooled.iou,
        num_missed=int(np.count_nonzero(person < _MISSED)),
    )


def _pixels(truth_HW: BoolArray, masks: Sequence[BoolArray]) -> Pixels:
    found_HW = np.zeros_like(truth_HW)
    for mask_HW in masks:
        found_HW |= mask_HW
    return Pixels(int(np.count_nonzero(truth_HW & found_HW)), int(np.count_nonzero(truth_HW | found_HW)))
