"""What a report is made of, gathered picture by picture while results are compared with truth.

Shape suffixes: G groups, C classes; H height, W width of a picture.
"""

import heapq
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from partstream_core.labels import NUM_PARTS
from partstream_evaluation.metrics.semantic import Counts, LabelMap, confusion_matrix, mean_iou

NUM_WORST: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture, its truth, and what was found."""

    name: str
    miou: float
    image: bytes
    """The file."""
    truth_HW: LabelMap
    predicted_HW: LabelMap


@dataclass(slots=True)
class _Group:
    """Pictures that belong together: a clip's, or one photo."""

    confusion_CC: Counts = field(default_factory=lambda: np.zeros((NUM_PARTS, NUM_PARTS), np.int64))
    worst: list[tuple[float, int, Sample]] = field(default_factory=list)


class Collector:
    """Confusion matrices by group, and the worst pictures of each."""

    def __init__(self, *, per_group: int = 2) -> None:
        if per_group < 1:
            raise ValueError(f"at least one picture of a group must be kept, got {per_group}")
        self._per_group = per_group
        self._groups: dict[str, _Group] = {}
        self._numbers = count()

    def add(self, group: str, name: str, image: Path, truth_HW: LabelMap, predicted_HW: LabelMap) -> None:
        """Take a picture in.

        Raises:
            ValueError: The maps differ in size, or hold a class that is not there.
            OSError: The picture cannot be read.
        """
        confusion_CC = confusion_matrix(truth_HW, predicted_HW)
        kept = self._groups.setdefault(group, _Group())
        kept.confusion_CC += confusion_CC
        miou = mean_iou(confusion_CC)
        if np.isnan(miou) or (len(kept.worst) == self._per_group and -kept.worst[0][0] <= miou):
            return
        sample = Sample(name, miou, image.read_bytes(), truth_HW.copy(), predicted_HW.copy())
        heapq.heappush(kept.worst, (-miou, next(self._numbers), sample))
        if len(kept.worst) > self._per_group:
            heapq.heappop(kept.worst)

    def confusions(self) -> Counts:
        """A matrix a group, [G, C, C].

        Raises:
            ValueError: There was no picture.
        """
        if not self._groups:
            raise ValueError("there is no picture to report on")
        return np.stack([group.confusion_CC for group in self._groups.values()])

    def worst(self, limit: int = NUM_WORST) -> list[Sample]:
        """The worst pictures, the worst first; at most so many of a group as the collector keeps."""
        samples = [sample for group in self._groups.values() for _, _, sample in group.worst]
        return sorted(samples, key=lambda sample: sample.miou)[:limit]
