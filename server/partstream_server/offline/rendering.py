"""What a rendered video shows: the overlay, people made unrecognisable, or another background.

A `Renderer` draws the frames of one video in order: what it covers depends on the frames before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from partstream_core.labels import PARTS
from partstream_core.results import FrameResult, PersonResult
from partstream_core.schedule import ScheduleMode
from partstream_server.offline.overlay import LAYERS, Image, draw
from partstream_server.pipeline.likely_parts import Likely
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.pipeline.values import LabelMaps

BoolArray = npt.NDArray[np.bool_]
MaskArray = npt.NDArray[np.uint8]
"""0 or 255, [H, W]."""

PRIVACY_SCORE: Final = 0.1
"""Least score of a person whom `privacy` covers, where none is asked for."""
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
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_HIDDEN_PARTS: Final = {
    "faces": ("face", "sunglasses"),
    "heads": ("face", "sunglasses", "hair", "hat"),
}


class RenderKind(StrEnum):
    """What is done to the pictures."""

    OVERLAY = "overlay"
    PRIVACY = "privacy"
    BACKGROUND = "background"


class Hidden(StrEnum):
    """What `privacy` covers."""

    FACES = "faces"
    HEADS = "heads"
    PEOPLE = "people"


_LIKELY: Final = {
    Hidden.FACES: Likely.FACE,
    Hidden.HEADS: Likely.HEAD,
    Hidden.PEOPLE: Likely.PERSON,
}


class Effect(StrEnum):
    """How `privacy` covers it."""

    BLUR = "blur"
    PIXELATE = "pixelate"
    FILL = "fill"


class RenderOptions(BaseModel):
    """How videos are rendered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    render: RenderKind = Field(
        default=RenderKind.OVERLAY,
        description="What a rendered video shows: `overlay`, `privacy` (people made unrecognisable) or "
        "`background` (another one behind people).",
    )
    layers: str = Field(
        default="parts,outlines,labels",
        description="Of `overlay`: what is drawn, of parts, outlines, boxes, labels and joints.",
    )
    hide: Hidden = Field(default=Hidden.HEADS, description="Of `privacy`: faces, heads or people.")
    effect: Effect = Field(default=Effect.BLUR, description="Of `privacy`: blur, pixelate or fill.")
    background: str = Field(default="blur", description="Of `background`: blur, or a colour such as #00ff00.")
    skeletons: bool = Field(default=False, description="Draw joints into the overlay video.")

    @field_validator("layers")
    @classmethod
    def _be_layers(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",") if name.strip()]
        if strange := [name for name in names if name not in LAYERS]:
            raise ValueError(f"there is no layer {strange[0]!r}; there are {', '.join(LAYERS)}")
        return ",".join(names)

    @field_validator("background")
    @classmethod
    def _be_background(cls, value: str) -> str:
        if value != "blur" and not _COLOUR.fullmatch(value):
            raise ValueError("it must be blur or a colour such as #00ff00")
        return value

    @property
    def drawn_layers(self) -> frozenset[str]:
        """The layers of the overlay."""
        names = frozenset(filter(None, self.layers.split(",")))
        return names | {"joints"} if self.skeletons else names

    @property
    def draws_joints(self) -> bool:
        """Whether joints have to be there."""
        return self.render is RenderKind.OVERLAY and "joints" in self.drawn_layers


def options_for(options: ParseOptions, rendering: RenderOptions) -> ParseOptions:
    """The options of a parse whose results are rendered: `privacy` rather covers too much than too little.

    People are covered from a lower score on, and every frame is a key frame: those who are small and fast are
    lost where features are propagated. What is asked for stays.
    """
    if rendering.render is not RenderKind.PRIVACY:
        return options
    update: dict[str, object] = {}
    if options.score_threshold is None:
        update["score_threshold"] = PRIVACY_SCORE
    if options.schedule is None and options.interval is None and options.flow is None:
        update["schedule"] = ScheduleMode.EVERY_FRAME
    return options.model_copy(update=update)


def _numbers(names: tuple[str, ...]) -> list[int]:
    return [PARTS.index(name) for name in names]


@dataclass(slots=True)
class _Covered:
    """Where somebody was covered last."""

    mask: MaskArray
    """Of the crop."""
    left: int
    top: int
    time_s: float


class Renderer:
    """Renders the frames of one video, in order."""

    def __init__(
        self, options: RenderOptions, backdrop: Image | None = None, *, pixel_aspect: float = 1.0
    ) -> None:
        """Begin a video.

        Args:
            options: What it shows.
            backdrop: RGB picture behind people for `background`, in place of what the options say.
            pixel_aspect: Width of a pixel against its height.
        """
        self._options, self._backdrop = options, backdrop
        self._pixel_aspect = pixel_aspect
        self._covered: dict[int, _Covered] = {}
        self._likely: list[_Covered] = []
        """Where the parsing made somebody likely in the last frame that was parsed."""

    def render(
        self, image: Image, result: FrameResult | None, maps: LabelMaps | None, *, time_s: float
    ) -> Image:
        """A copy of an RGB frame as it is to be shown.

        Args:
            image: The frame.
            result: Of the frame, or of the last one that was parsed; None where none was so far.
            maps: The n-th person of the result is n in it; None without a result.
            time_s: Of the frame.
        """
        options = self._options
        if options.render is RenderKind.PRIVACY:
            return self._cover(image, result, maps, time_s)
        if options.render is RenderKind.BACKGROUND:
            if self._backdrop is not None and self._backdrop.shape != image.shape:
                self._backdrop = filling(self._backdrop, width=image.shape[1], height=image.shape[0])
            return _with_background(image, maps, options.background, self._backdrop)
        if result is None or maps is None:
            return image
        return draw(image, result.people, maps, layers=options.drawn_layers, pixel_aspect=self._pixel_aspect)

    def _cover(
        self, image: Image, result: FrameResult | None, maps: LabelMaps | None, time_s: float
    ) -> Image:
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
        if self._options.hide is not Hidden.PEOPLE:
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
        wanted_hw = (maps.likely_hw >= _LIKELY[self._options.hide]).view(np.uint8)
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
        if not (mine_hw & np.isin(part_hw, _numbers(_HIDDEN_PARTS["heads"]))).any():
            top = mine_hw.copy()
            top[max(1, round(_TOP * len(top))) :] = False
            return top
        found_hw: BoolArray = mine_hw & np.isin(part_hw, _numbers(_HIDDEN_PARTS[self._options.hide.value]))
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
        covered = _effect(np.ascontiguousarray(image[inside]), self._options.effect)
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


def filling(picture: Image, *, width: int, height: int) -> Image:
    """The middle of a picture at another size, so that it fills all of it."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(scaled[top : top + height, left : left + width], np.uint8)


def _with_background(
    image: Image, maps: LabelMaps | None, background: str, backdrop: Image | None = None
) -> Image:
    """People before another background; edges are a pixel soft."""
    if backdrop is not None:
        behind = backdrop
    elif background == "blur":
        sigma = max(4.0, max(image.shape[:2]) / 40)
        behind = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    else:
        colour = tuple(int(background[at : at + 2], 16) for at in (1, 3, 5))
        behind = np.full_like(image, colour)
    if maps is None:
        return behind
    alpha = alpha_of(maps)[..., None].astype(np.uint16)
    return np.asarray((image * alpha + behind * (255 - alpha) + 127) // 255, np.uint8)


def alpha_of(maps: LabelMaps) -> MaskArray:
    """Opacity of people, 0..255, with edges a pixel soft, [H, W]."""
    mask = (np.ascontiguousarray(maps.person_HW) > 0).view(np.uint8) * np.uint8(255)
    return np.asarray(cv2.blur(mask, (3, 3)), np.uint8)
