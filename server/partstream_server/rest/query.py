"""Options of a parse, as they stand in the query."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query
from pydantic import Field

from partstream_core.schedule import FlowSource, ScheduleMode
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.pipeline.parse_options import MAX_INTERVAL, ParseOptions


class ParseQuery(ParseOptions):
    """The options with what /docs says about them; a name that is not among them is refused."""

    score_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Leave out people below this score. [as the bundle says]",
    )
    every: int = Field(default=1, ge=1, description="Parse every n-th frame.")
    max_frames: int | None = Field(
        default=None, ge=1, description="Stop after this many frames of the source, parsed or not. [all]"
    )
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
    skeletons: bool = Field(default=False, description="Draw joints into the overlay video.")


Options = Annotated[ParseQuery, Query()]
OPTIONS: Final = tuple(ParseQuery.model_fields)
"""Names of the options."""
