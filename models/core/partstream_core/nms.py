"""Non-maximum suppression on the host.

Shape suffixes: N boxes.
"""

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import FloatArray, iou_matrix


def non_maximum_suppression(
    boxes_N4: FloatArray, scores_N: FloatArray, *, iou_threshold: float, max_kept: int
) -> npt.NDArray[np.int64]:
    """Indices of the boxes that stay, best score first, int64, at most `max_kept`.

    A box goes if it overlaps a better one that stayed by more than `iou_threshold`. Of two equal scores the
    first in the list is the better one.

    Raises:
        ValueError: Boxes and scores are not equally many, or a score is NaN.
    """
    if boxes_N4.shape != (len(scores_N), 4):
        raise ValueError(f"got boxes of shape {boxes_N4.shape} for {len(scores_N)} scores")
    if np.isnan(scores_N).any():
        raise ValueError("a score is NaN")
    order = np.argsort(-scores_N, kind="stable")
    overlaps = iou_matrix(boxes_N4[order], boxes_N4[order]) > iou_threshold
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    for rank in range(len(order)):
        if len(kept) == max_kept:
            break
        if alive[rank]:
            kept.append(rank)
            alive &= ~overlaps[rank]
    return np.asarray(order[kept], np.int64)
