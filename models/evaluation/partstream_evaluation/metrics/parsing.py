"""AP^p and PCP: people judged by their parts, not by their outlines.

Shape suffixes: N true people of one picture, M predicted ones.
Source: MHP (Zhao et al., MM 2018), section 5: a person is right if the mean IoU of their parts is high.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from partstream_core.rle import Rle, iou_matrix
from partstream_evaluation.metrics.average_precision import PictureOverlaps, average_precision

FloatArray: TypeAlias = npt.NDArray[np.float64]
Parts: TypeAlias = Mapping[str, Rle]
"""Masks of one person's parts, by name."""

THRESHOLDS: Final = tuple(round(0.1 * step, 1) for step in range(1, 10))
"""AP^p_vol is the mean over these."""
_RIGHT_PART: Final = 0.5
"""A part is right above this IoU."""


@dataclass(frozen=True, slots=True, eq=False)
class PicturePeople:
    """One picture: how well the parts of each pair of people agree."""

    scores_M: FloatArray
    mean_iou_MN: FloatArray
    """Mean IoU over the parts that either of the two has."""
    right_parts_MN: npt.NDArray[np.int64]
    """Parts of the true person that are right."""
    parts_N: npt.NDArray[np.int64]
    """Parts that the true people have."""


def picture_people(
    truth: Sequence[Parts], predicted: Sequence[Parts], scores: Sequence[float]
) -> PicturePeople:
    """Compare the people of one picture, every pair.

    Raises:
        ValueError: A mask is damaged or of another size, or the numbers of people and scores differ.
    """
    if len(scores) != len(predicted):
        raise ValueError(f"got {len(predicted)} people and {len(scores)} scores")
    size = (len(predicted), len(truth))
    total, right, either = np.zeros(size), np.zeros(size, np.int64), np.zeros(size, np.int64)
    for part in sorted({name for person in (*truth, *predicted) for name in person}):
        rows = [row for row, person in enumerate(predicted) if part in person]
        columns = [column for column, person in enumerate(truth) if part in person]
        has = np.zeros(size, bool)
        has[rows, :] = True
        has[:, columns] = True
        either += has
        iou = iou_matrix([predicted[row][part] for row in rows], [truth[column][part] for column in columns])
        total[np.ix_(rows, columns)] += iou
        right[np.ix_(rows, columns)] += iou > _RIGHT_PART
    return PicturePeople(
        np.asarray(scores, np.float64),
        total / np.maximum(either, 1),
        right,
        np.array([len(person) for person in truth], np.int64),
    )


def ap_p(pictures: Sequence[PicturePeople], *, threshold: float = 0.5) -> float:
    """AP of people whose parts' mean IoU is above the threshold, one prediction each; NaN without truth."""
    overlaps = [PictureOverlaps(each.scores_M, each.mean_iou_MN) for each in pictures]
    return average_precision(overlaps, threshold=threshold)


def ap_p_vol(pictures: Sequence[PicturePeople]) -> float:
    """Mean of AP^p over IoU .1 to .9."""
    return float(np.mean([ap_p(pictures, threshold=value) for value in THRESHOLDS]))


def pcp(pictures: Sequence[PicturePeople], *, threshold: float = 0.5) -> float:
    """Percentage of correct parts, as a share: right parts over true parts; NaN where there is no true part.

    Parts count only of people who are found: of each true person, those of the best-scored prediction that is
    right about them. Parts of people who are missed are wrong.
    """
    num_right = num_parts = 0
    for picture in pictures:
        num_parts += int(picture.parts_N.sum())
        claimed: set[int] = set()
        for row in np.argsort(-picture.scores_M, kind="stable").tolist():
            if not picture.mean_iou_MN.shape[1]:
                break
            column = int(picture.mean_iou_MN[row].argmax())
            if picture.mean_iou_MN[row, column] > threshold and column not in claimed:
                claimed.add(column)
                num_right += int(picture.right_parts_MN[row, column])
    return num_right / num_parts if num_parts else float("nan")
