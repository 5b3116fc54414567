"""What a caller may ask of the parsing of one source, and what answers say of the model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from partstream_core.errors import OptionError
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


class ParseOptions(FrameOptions):
    """What a caller may ask of the parsing of one file."""

    max_frames: int | None = Field(
        default=None, ge=1, description="Stop after this many frames of the source, parsed or not. [all]"
    )

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
