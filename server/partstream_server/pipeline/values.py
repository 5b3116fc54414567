"""Values that pass between the stages of a frame.

Shape suffixes: N candidates or people, P parts and background, D embedding; h, w the network's maps; H, W the
source frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import Box
from partstream_core.joints import JointMaps
from partstream_core.results import FrameResult

FloatArray = npt.NDArray[np.float32]
MapArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Inference:
    """Candidate people of one frame, best first, and the parsing of its pixels."""

    boxes_N4: FloatArray
    """In pixels of the source frame."""
    scores_N: FloatArray
    embeddings_ND: FloatArray | None
    masks_Nhw: FloatArray
    """Probability that a pixel belongs to the person; covers the whole frame."""
    part_probabilities_Phw: FloatArray
    """Covers the whole frame; background first."""


@dataclass(frozen=True, slots=True, eq=False)
class JointSource:
    """Inputs of decoding the joints of a frame."""

    maps: JointMaps
    """Of the frame, or of the key frame that it borrows from."""
    flow_2HW: npt.NDArray[Any] | None = None
    """From the frame to the key frame, in pixels of its own grid; None for a frame with maps of its own."""

    def within(self, content_of: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> JointSource:
        """The part that lies over the frame itself, where the maps cover a padded one.

        Args:
            content_of: Cuts a map, [..., H, W], to what lies over the frame.
        """
        maps = JointMaps(
            content_of(self.maps.centers_hw),
            content_of(self.maps.heatmaps_Jhw),
            content_of(self.maps.regression_2Jhw),
            content_of(self.maps.offsets_2Jhw),
        )
        return JointSource(maps, None if self.flow_2HW is None else content_of(self.flow_2HW))


@dataclass(frozen=True, slots=True)
class LabelMaps:
    """Label maps of a source frame: at most one person a pixel, and at most one of that person's parts.

    The arrays lie in memory column by column, as run-length encoding reads them.
    """

    person_HW: MapArray
    """0 for nobody, n for the n-th person of the frame."""
    part_HW: MapArray
    """Index into `partstream_core.labels.PARTS`; 0 outside people, and on them where no part is seen."""
    likely_hw: MapArray | None = None
    """`Likely` at each cell of the network's map, whether or not somebody was detected there; None where that
    is not known."""


class Crop(NamedTuple):
    """A rectangle of pixels: rows `top` up to `bottom`, columns `left` up to `right`."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, map_HW: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of a map inside, as a view."""
        return map_HW[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """One person of a frame before they have an identity."""

    score: float
    box_xyxy: Box
    """As the network regressed it, which is steadier from frame to frame than the box of a mask."""
    crop: Crop
    """Tight around the person's pixels."""
    embedding_D: FloatArray | None
    part_scores: dict[int, float]
    """Score of each part that may have pixels, by index."""
    own_hw: BoolArray
    """The person's cells in the network's map of masks, which covers the frame; there is one at least."""
    joints_J3: FloatArray | None = None
    """x and y in pixels of the source frame and score of each joint; None where none were decoded."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """The people of one frame; the n-th of them is n in the maps, and each has pixels."""

    people: tuple[FoundPerson, ...]
    maps: LabelMaps


@dataclass(frozen=True, slots=True)
class ParsedFrame:
    """One frame's result and the maps it was encoded from."""

    result: FrameResult
    maps: LabelMaps
    """The n-th person of `result.people` is n in them."""
    embeddings: tuple[FloatArray | None, ...] = ()
    """Of the people of `result`, in their order."""
