"""Options for parsing one source, and the description of the model in answers."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from partstream_core.assembly_config import AssemblyKind
from partstream_core.errors import OptionError
from partstream_core.labels import PARTS
from partstream_core.results import ModelInfo
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode
from partstream_server.engine import Engine
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.pipeline.schedule_choice import choose_schedule

MAX_INTERVAL = 100
"""Frames a segment at most: in paper mode they wait in memory for each other."""


class FrameOptions(BaseModel):
    """What a caller may ask of the frames of a file, a live stream or a pulled source.

    Every entry point has these options by these names: the query of REST, the configs of WebSockets, gRPC and
    pulled sources, the command line and the client.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Leave out people below this score. [as the bundle says]",
    )
    every: int = Field(default=1, ge=1, description="Parse every n-th frame.")
    masks: MaskForm = Field(
        default=MaskForm.RLE, description="Masks as COCO run lengths, as polygons, or none at all."
    )
    joints: bool = Field(default=True, description="Whether people have joints, where the bundle finds them.")
    schedule: ScheduleMode | None = Field(
        default=None,
        description="Which frames are key frames; the others borrow from them. [as the bundle says]",
    )
    interval: int | None = Field(
        default=None,
        ge=1,
        le=MAX_INTERVAL,
        description="A key frame at least every n frames. [as the bundle says]",
    )
    flow: FlowSource | None = Field(
        default=None,
        description="What tells how a frame moved against its key frame. [as the bundle says]",
    )
    encodes: bool | None = Field(
        default=None, description="Whether key frames are encoded with former ones. [as the bundle says]"
    )
    assembly: AssemblyKind | None = Field(
        default=None,
        description="Rule by which pixels get people: each by its likeliest mask, or all together. "
        "[as the bundle says]",
    )


class ParseOptions(FrameOptions):
    """What a caller may ask of the parsing of one file."""

    max_frames: int | None = Field(
        default=None, ge=1, description="Stop after this many frames of the source, parsed or not. [all]"
    )
    start_s: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="Begin so many seconds after the first frame."
    )
    end_s: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Stop so many seconds after the first frame. [the end]",
    )
    fps: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Parse about so many frames a second, in place of `every`. [all]",
    )
    stream: int | None = Field(
        default=None,
        ge=0,
        le=999,
        description="Number of the video stream, from 0, in files that have several. [the largest]",
    )
    deinterlace: bool = Field(default=True, description="Whether interlaced frames are made progressive.")
    parts: str = Field(default="", description="Leave out all parts but these, such as `face,hair`. [all]")
    people: str = Field(
        default="", description="Leave out all people but those with these identities, such as `1,3`. [all]"
    )

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s must be after start_s, got {self.end_s:g} and {self.start_s:g}")
        if self.fps is not None and self.every > 1:
            raise ValueError("every and fps do not go together: both say which frames are parsed")
        return self

    @field_validator("parts")
    @classmethod
    def _be_parts(cls, value: str) -> str:
        names = _names(value)
        if strange := [name for name in names if name not in PARTS[1:]]:
            raise ValueError(f"there is no part {strange[0]!r}; there are {', '.join(PARTS[1:])}")
        return ",".join(names)

    @field_validator("people")
    @classmethod
    def _be_people(cls, value: str) -> str:
        names = _names(value)
        if strange := [name for name in names if not (name.isascii() and name.isdecimal() and int(name))]:
            raise ValueError(f"identities are whole numbers from 1, not {strange[0]!r}")
        return ",".join(names)

    @property
    def wanted_parts(self) -> frozenset[str] | None:
        """The parts that are not left out; None: all."""
        return frozenset(self.parts.split(",")) if self.parts else None

    @property
    def wanted_people(self) -> frozenset[int] | None:
        """The identities that are not left out; None: all."""
        return frozenset(map(int, self.people.split(","))) if self.people else None

    def for_rate(self, frame_rate: float) -> Self:
        """The same with `every` in place of `fps`, for a source of so many frames a second."""
        if self.fps is None:
            return self
        every = max(1, round(frame_rate / self.fps))
        return self.model_copy(update={"fps": None, "every": every})

    def schedule_for(self, engine: Engine) -> ScheduleConfig:
        """Which frames of a file are key frames, of what an engine can do.

        Raises:
            OptionError: The bundle cannot follow it.
        """
        return choose_schedule(
            engine.bundle.manifest,
            mode=self.schedule,
            interval=self.interval,
            flow=self.flow,
            device=engine.device,
            encodes=self.encodes,
            live=False,
        )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def check_skeletons(options: ParseOptions, engine: Engine) -> None:
    """Refuse to draw skeletons where there are no joints to draw.

    Raises:
        OptionError: The bundle finds none, or they are left out.
    """
    manifest = engine.bundle.manifest
    if not manifest.capabilities.joints:
        raise OptionError(f"skeletons cannot be drawn: the bundle {manifest.name} finds no joints")
    if not options.joints:
        raise OptionError("skeletons cannot be drawn without joints")


def model_info(engine: Engine) -> ModelInfo:
    """The bundle and the provider that results come from."""
    manifest = engine.bundle.manifest
    return ModelInfo(manifest.name, manifest.version, engine.provider, manifest.capabilities.parts)
