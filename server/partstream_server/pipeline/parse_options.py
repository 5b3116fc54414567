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


class ParseOptions(BaseModel):
    """What a caller may ask of the parsing of one source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_threshold: float | None = Field(default=None, ge=0, le=1)
    """Least score of a person; None takes the bundle's."""
    every: int = Field(default=1, ge=1)
    """Parse only every so many frames of the source."""
    max_frames: int | None = Field(default=None, ge=1)
    """Stop after so many frames of the source, parsed or passed over."""
    masks: MaskForm = MaskForm.RLE
    joints: bool = True
    """Whether results hold people's joints, where the bundle finds them."""
    schedule: ScheduleMode | None = None
    """Which frames are key frames; None leaves it to the bundle."""
    interval: int | None = Field(default=None, ge=1, le=MAX_INTERVAL)
    """A key frame at least every so many frames; None leaves it to the bundle."""
    flow: FlowSource | None = None
    """What tells how a frame moved against its key frame; None leaves it to the bundle."""
    encodes: bool | None = None
    """Whether key frames are encoded with former ones; None leaves it to the bundle."""

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
