"""Tracker events that the adaptive schedule reacts to: identities that appear or are lost.

Shape suffixes: N identities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from partstream_core.boxes import Box, iou_matrix

_CLOSE: Final = 0.6
"""IoU of boxes above which two identities may be mistaken for each other."""


@dataclass(frozen=True, slots=True)
class TrackEvents:
    """Births, losses and conflicts of identities at the last frame."""

    boxes: Mapping[int, Box] = field(default_factory=dict)
    """Of the identities that were seen."""
    highest: int = 0
    """Of all identities that were ever seen; they are numbered as they are born."""
    close: frozenset[tuple[int, int]] = frozenset()
    """Pairs whose boxes lie on each other so that either could be taken for the other."""
    births: int = 0
    losses: int = 0
    conflicts: int = 0
    """Pairs that have just come so close."""

    def then(self, boxes: Mapping[int, Box]) -> TrackEvents:
        """The events of the next frame, whose boxes these are."""
        names, boxes_N4 = list(boxes), np.array(list(boxes.values()), np.float64).reshape(-1, 4)
        overlap = iou_matrix(boxes_N4, boxes_N4)
        at = np.argwhere(np.triu(overlap > _CLOSE, k=1))
        close = frozenset((names[int(i)], names[int(j)]) for i, j in at)
        return TrackEvents(
            boxes=dict(boxes),
            highest=max(self.highest, *boxes, 0),
            close=close,
            births=sum(name > self.highest for name in boxes),
            losses=len(self.boxes.keys() - boxes.keys()),
            conflicts=len(close - self.close),
        )
