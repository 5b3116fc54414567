"""What a rendered video shows: the overlay, people made unrecognisable, or another background.

A `Renderer` draws the frames of one video in order: what it covers depends on the frames before.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from partstream_core.errors import OptionError
from partstream_core.results import FrameResult
from partstream_core.schedule import ScheduleMode
from partstream_server.media import MediaLimits
from partstream_server.offline.backdrop import filling, read_backdrop
from partstream_server.offline.overlay import LAYERS, Image, draw
from partstream_server.offline.privacy import Cover, Effect, Hidden
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.pipeline.values import LabelMaps

BoolArray = npt.NDArray[np.bool_]
MaskArray = npt.NDArray[np.uint8]
"""0 or 255, [H, W]."""

PRIVACY_SCORE: Final = 0.1
"""Least score of a person whom `privacy` covers, where none is asked for."""
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class RenderKind(StrEnum):
    """What is done to the pictures."""

    OVERLAY = "overlay"
    PRIVACY = "privacy"
    BACKGROUND = "background"


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
    background: str = Field(
        default="blur",
        description="Of `background`: blur, or a colour such as #00ff00; a file "
        "`backdrop` in the form takes its place.",
    )
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


def backdrop_of(path: Path, rendering: RenderOptions, limits: MediaLimits) -> Image | None:
    """The picture behind people that was sent with a video; None where there is no file.

    Raises:
        OptionError: It cannot be read, or is not what is rendered.
    """
    if path.is_file() and rendering.render is not RenderKind.BACKGROUND:
        raise OptionError(f"a backdrop goes with render=background, not with render={rendering.render}")
    return read_backdrop(path, limits)


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
        self._cover = Cover(options.hide, options.effect)

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
            return self._cover.cover(image, result, maps, time_s=time_s)
        if options.render is RenderKind.BACKGROUND:
            if self._backdrop is not None and self._backdrop.shape != image.shape:
                self._backdrop = filling(self._backdrop, width=image.shape[1], height=image.shape[0])
            return _with_background(image, maps, options.background, self._backdrop)
        if result is None or maps is None:
            return image
        return draw(image, result.people, maps, layers=options.drawn_layers, pixel_aspect=self._pixel_aspect)


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
