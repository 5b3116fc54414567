"""Per-pixel metrics of part maps: IoU by class, its mean, and person IoU.

Everything is counted from confusion matrices, one a photo, which add up: a set's metrics come from the sum.

Shape suffixes: N photos, C classes (rows truth, columns prediction), H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from partstream_core.labels import NUM_PARTS, VOID

LabelMap: TypeAlias = npt.NDArray[np.uint8]
Counts: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


def confusion_matrix(truth_HW: LabelMap, predicted_HW: LabelMap, *, num_classes: int = NUM_PARTS) -> Counts:
    """Pixels by true and predicted class, int64 [C, C]; pixels whose truth is void are left out.

    Raises:
        ValueError: The maps differ in size, or hold a class that is not there.
    """
    if truth_HW.shape != predicted_HW.shape:
        raise ValueError(f"truth is {truth_HW.shape}, prediction {predicted_HW.shape}")
    known = truth_HW != VOID
    truth, predicted = truth_HW[known].astype(np.int64), predicted_HW[known].astype(np.int64)
    for name, values in (("truth", truth), ("prediction", predicted)):
        if values.max(initial=0) >= num_classes:
            raise ValueError(f"{name} holds class {values.max()}; there are 0..{num_classes - 1}")
    counts = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def class_ious(confusion_CC: Counts) -> FloatArray:
    """IoU of each class, [C]; NaN for one that is neither in the truth nor predicted."""
    shared = np.diagonal(confusion_CC).astype(np.float64)
    union = confusion_CC.sum(axis=0) + confusion_CC.sum(axis=1) - shared
    ious: FloatArray = np.divide(shared, union, out=np.full_like(shared, np.nan), where=union > 0)
    return ious


def mean_iou(confusion_CC: Counts, classes: npt.NDArray[np.bool_] | None = None) -> float:
    """Mean IoU of the classes that are in the truth or predicted; NaN if there are none.

    Args:
        confusion_CC: Pixels by true and predicted class.
        classes: Which classes count, bool [C]; all if None.
    """
    ious = class_ious(confusion_CC)
    chosen = ~np.isnan(ious) if classes is None else ~np.isnan(ious) & classes
    return float(ious[chosen].mean()) if chosen.any() else float("nan")


def common_classes(confusions_NCC: Counts, *, min_photos: int = 20) -> npt.NDArray[np.bool_]:
    """The classes that are in the truth of at least so many photos, bool [C]."""
    return np.asarray((confusions_NCC.sum(axis=2) > 0).sum(axis=0) >= min_photos)


def person_iou(confusion_CC: Counts) -> float:
    """IoU of any part against background; NaN where there is neither."""
    shared = int(confusion_CC[1:, 1:].sum())
    union = int(confusion_CC.sum() - confusion_CC[0, 0])
    return shared / union if union else float("nan")


def bootstrap_interval(
    confusions_NCC: Counts,
    metric: Callable[[Counts], float],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 1000,
) -> Interval:
    """Percentile interval of a metric of summed confusion matrices, over photos drawn with replacement.

    Draws for which the metric does not exist (NaN) are left out; if none is left, the interval is NaN.

    Raises:
        ValueError: There is no photo, or the confidence is not between 0 and 1.
    """
    if not len(confusions_NCC):
        raise ValueError("a bootstrap needs at least one photo")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    size = len(confusions_NCC)
    weights = rng.multinomial(size, np.full(size, 1 / size), num_resamples)
    sums = np.tensordot(weights, confusions_NCC, axes=1)
    values = np.array([metric(confusion) for confusion in sums])
    known = values[~np.isnan(values)]
    if not known.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def class_intervals(
    confusions_NCC: Counts, *, rng: np.random.Generator, confidence: float = 0.95, num_resamples: int = 1000
) -> list[Interval]:
    """Percentile intervals of each class's IoU, over photos drawn with replacement.

    Raises:
        ValueError: There is no photo, or the confidence is not between 0 and 1.
    """
    if not len(confusions_NCC) or not 0 < confidence < 1:
        raise ValueError(f"needs a photo and a confidence in (0, 1), got {len(confusions_NCC)}, {confidence}")
    size = len(confusions_NCC)
    weights = rng.multinomial(size, np.full(size, 1 / size), num_resamples)
    values = np.stack([class_ious(confusion) for confusion in np.tensordot(weights, confusions_NCC, axes=1)])
    intervals = []
    for column in values.T:
        known = column[~np.isnan(column)]
        edges = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.quantile(known, edges) if known.size else (np.nan, np.nan)
        intervals.append(Interval(float(low), float(high)))
    return intervals
