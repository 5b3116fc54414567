"""Covers faces, heads or whole people in the frames of one video: `render=privacy`.

What was detected is covered where it is, and for a while where it was; what the parsing alone makes likely is
covered as well. It rather covers too much than too little, and promises nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.results import FrameResult, PersonResult
from partstream_server.offline.overlay import Image
from partstream_server.pipeline.likely_parts import FACE_PARTS, HEAD_PARTS, Likely
from partstream_server.pipeline.values import LabelMaps

BoolArray = npt.NDArray[np.bool_]
MaskArray = npt.NDArray[np.uint8]
"""0 or 255, [H, W]."""

COVERED_S: Final = 1.0
"""How long somebody who is not found any more stays covered."""
_TOP: Final = 0.25
"""Of a person, where a head must be if no part of it was seen."""
_MARGIN: Final = 0.12
"""Of a region's size: masks are no safer than that."""
_SPREAD: Final = 0.5
"""Of a region's size in a second in which it is not seen."""
_BLOCKS: Final = 8
"""Blocks along the longer side of a pixelated region."""
_FILL: Final = (96, 96, 96)


class Hidden(StrEnum):
    """What `privacy` covers."""

    FACES = "faces"
    HEADS = "heads"
    PEOPLE = "people"


class Effect(StrEnum):
    """How `privacy` covers it."""

    BLUR = "blur"
    PIXELATE = "pixelate"
    FILL = "fill"


_PARTS: Final = {Hidden.FACES: sorted(FACE_PARTS), Hidden.HEADS: sorted(HEAD_PARTS)}
_LIKELY: Final = {
    Hidden.FACES: Likely.FACE,
    Hidden.HEADS: Likely.HEAD,
    Hidden.PEOPLE: Likely.PERSON,
}


@dataclass(slots=True)
class _Covered:
    """Where somebody was covered last."""

    mask: MaskArray
    """Of the crop."""
    left: int
    top: int
    time_s: float


class Cover:
    """Covers people in the frames of one video, in order."""

    def __init__(self, hide: Hidden, effect: Effect) -> None:
        self._hide, self._effect = hide, effect
        self._covered: dict[int, _Covered] = {}
        self._likely: list[_Covered] = []
        """Where the parsing made somebody likely in the last frame that was parsed."""

    def cover(
        self, image: Image, result: FrameResult | None, maps: LabelMaps | None, *, time_s: float
    ) -> Image:
        """A copy of an RGB frame with people covered; see `rendering.Renderer.render`."""
        if result is not None and maps is not None:
            for number, person in enumerate(result.people, start=1):
                if (region := self._region(person, number, maps, result.time_s)) is not None:
                    self._covered[person.identity] = region
            self._likely = self._likely_regions(maps, result.time_s)
        canvas = image.copy()
        for region in self._likely:
            if (age_s := time_s - region.time_s) <= COVERED_S:
                self._apply(canvas, image, region, age_s)
        for identity, region in list(self._covered.items()):
            age_s = time_s - region.time_s
            if age_s > COVERED_S:
                del self._covered[identity]
            else:
                self._apply(canvas, image, region, age_s)
        return canvas

    def _region(self, person: PersonResult, number: int, maps: LabelMaps, time_s: float) -> _Covered | None:
        """What is to be covered of a person, cut to its box; None where nothing of it is seen."""
        left, top, right, bottom = (int(edge) for edge in person.box)
        mine_hw = maps.person_HW[top:bottom, left:right] == number
        if self._hide is not Hidden.PEOPLE:
            mine_hw = self._head(mine_hw, maps.part_HW[top:bottom, left:right])
        rows, columns = np.flatnonzero(mine_hw.any(axis=1)), np.flatnonzero(mine_hw.any(axis=0))
        if not len(rows):
            return None
        crop = mine_hw[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        mask = np.ascontiguousarray(crop).view(np.uint8) * np.uint8(255)
        return _Covered(mask, left + int(columns[0]), top + int(rows[0]), time_s)

    def _likely_regions(self, maps: LabelMaps, time_s: float) -> list[_Covered]:
        """What is to be covered of anybody who is likely there, detected or not, by connected regions."""
        if maps.likely_hw is None:
            return []
        wanted_hw = (maps.likely_hw >= _LIKELY[self._hide]).view(np.uint8)
        num_regions, region_hw, boxes, _ = cv2.connectedComponentsWithStats(wanted_hw, connectivity=8)
        rows, columns = wanted_hw.shape
        height, width = maps.person_HW.shape
        regions = []
        for number, (left, top, box_width, box_height) in enumerate(boxes[1:num_regions, :4], start=1):
            cells_hw = region_hw[top : top + box_height, left : left + box_width] == number
            x, y = left * width // columns, top * height // rows
            size = (
                -(-(left + box_width) * width // columns) - x,
                -(-(top + box_height) * height // rows) - y,
            )
            mask = cells_hw.astype(np.uint8) * np.uint8(255)
            mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
            regions.append(_Covered(mask, int(x), int(y), time_s))
        return regions

    def _head(self, mine_hw: BoolArray, part_hw: npt.NDArray[np.uint8]) -> BoolArray:
        """Pixels of a person's face or head; the top of the person where no part of a head is seen at all."""
        if not (mine_hw & np.isin(part_hw, _PARTS[Hidden.HEADS])).any():
            top = mine_hw.copy()
            top[max(1, round(_TOP * len(top))) :] = False
            return top
        found_hw: BoolArray = mine_hw & np.isin(part_hw, _PARTS[self._hide])
        return found_hw

    def _apply(self, canvas: Image, image: Image, region: _Covered, age_s: float) -> None:
        """Cover a region and a margin around it, which grows while the region is not seen."""
        height, width = region.mask.shape
        size = max(height, width)
        margin = max(2, round(size * (_MARGIN + _SPREAD * age_s)))
        mask = cv2.copyMakeBorder(region.mask, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
        mask = cv2.dilate(mask, kernel)
        top, left = region.top - margin, region.left - margin
        inside = (
            slice(max(0, top), min(image.shape[0], top + mask.shape[0])),
            slice(max(0, left), min(image.shape[1], left + mask.shape[1])),
        )
        if inside[0].start >= inside[0].stop or inside[1].start >= inside[1].stop:
            return
        seen = mask[
            inside[0].start - top : inside[0].stop - top, inside[1].start - left : inside[1].stop - left
        ]
        covered = _effect(np.ascontiguousarray(image[inside]), self._effect)
        canvas[inside][seen > 0] = covered[seen > 0]


def _effect(crop: Image, effect: Effect) -> Image:
    """A crop of which nobody can be recognised."""
    height, width = crop.shape[:2]
    if effect is Effect.FILL:
        return np.full_like(crop, _FILL)
    if effect is Effect.BLUR:
        sigma = max(4.0, max(height, width) / _BLOCKS)
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma), np.uint8)
    scale = _BLOCKS / max(height, width)
    small = cv2.resize(
        crop, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
