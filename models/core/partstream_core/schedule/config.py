"""Settings of a schedule, and their form in JSON."""

import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from partstream_core.jsonread import Fields
from partstream_core.schedule.budget import Budget
from partstream_core.schedule.errors import ScheduleError

__all__ = [
    "Band",
    "Budget",
    "FlowSource",
    "ScheduleConfig",
    "ScheduleError",
    "ScheduleMode",
    "Triggers",
    "schedule_from_json",
    "schedule_to_json",
]


class ScheduleMode(StrEnum):
    """How key frames are chosen."""

    EVERY_FRAME = "every-frame"
    """Every frame is a key frame; nothing is propagated."""
    CAUSAL = "causal"
    """The first frame of each segment; no frame waits for a later one."""
    PAPER = "paper"
    """The median frame of each segment: frames before it wait for it."""
    ADAPTIVE = "adaptive"
    """A key frame when features of the last one fit badly; no frame waits for a later one."""


class FlowSource(StrEnum):
    """Source of the flow from a frame to its key frame."""

    NETWORK = "network"
    """The bundle's flow network."""
    DIS = "dis"
    """OpenCV's dense inverse search on the host; no scale map."""
    CODEC = "codec"
    """The video codec's motion vectors, or dense inverse search if the source has none."""
    NONE = "none"
    """Zero flow: features are copied unchanged."""


@dataclass(frozen=True, slots=True)
class Band:
    """Two thresholds of one measure: it asks for key frames from `high` on, until it is below `low`."""

    low: float
    high: float

    def asks(self, value: float, *, asked: bool) -> bool:
        """Whether a value asks for a key frame, given whether the one before did."""
        return value >= (self.low if asked else self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """Triggers of a key frame in adaptive mode before the interval ends; units as in `Observation`."""

    scene_change: float = 0.35
    """From here on the scene is another one."""
    warp_error: Band = Band(0.02, 0.025)
    """Slow scenes are below this for ten frames and longer, quick ones after two or three."""
    outside: Band = Band(0.1, 0.2)
    scale_deviation: Band = Band(0.3, 0.5)
    tracker: bool = True
    """Whether births, losses and conflicts of identities count."""
    min_interval: int = 1
    """Frames from a key frame to the next at least, scene cuts aside."""

    def __post_init__(self) -> None:
        if not 0 < self.scene_change <= 1:
            raise ScheduleError(
                "triggers.scene_change", f"must be above 0 and at most 1, got {self.scene_change}"
            )
        for name, band in self.bands().items():
            if not 0 < band.low <= band.high < math.inf:
                raise ScheduleError(
                    f"triggers.{name}", f"must be 0 < low <= high, got {band.low}, {band.high}"
                )
        if self.min_interval < 1:
            raise ScheduleError("triggers.min_interval", f"must be at least 1, got {self.min_interval}")

    def bands(self) -> dict[str, Band]:
        """The measures with two thresholds, in the order in which they are named as reasons."""
        return {
            "warp_error": self.warp_error,
            "outside": self.outside,
            "scale_deviation": self.scale_deviation,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """When a frame runs the backbone.

    Intervals count frames that are parsed. Where there is a budget it comes first: a key frame that is due
    waits until the budget has room.
    """

    mode: ScheduleMode = ScheduleMode.EVERY_FRAME
    interval: int = 1
    """A key frame at least every this many frames (the papers' l); 1 for every frame."""
    encoding_range: int = 0
    """Key frames that a key frame is encoded with (the papers' p), where the bundle encodes a window."""
    encodes: bool = True
    """Whether key frames are encoded with former ones at all; without, this is Deep Feature Flow."""
    flow: FlowSource = FlowSource.NETWORK
    """Codec motion leads to the frame before: it serves causal and adaptive mode and recurrent bundles."""
    triggers: Triggers = field(default_factory=Triggers)
    """Only adaptive mode looks at them."""
    budget: Budget | None = None
    """Only causal and adaptive mode can keep one."""

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ScheduleError("interval", f"must be at least 1, got {self.interval}")
        if self.mode is ScheduleMode.EVERY_FRAME and self.interval != 1:
            raise ScheduleError("interval", f"must be 1 in mode {self.mode}, got {self.interval}")
        if self.encoding_range < 0:
            raise ScheduleError("encoding_range", f"must be at least 0, got {self.encoding_range}")
        if self.flow is FlowSource.CODEC and self.mode is ScheduleMode.PAPER:
            raise ScheduleError(
                "flow", "cannot be codec in mode paper: its frames borrow from later ones too"
            )
        if self.budget is not None and self.mode in (ScheduleMode.EVERY_FRAME, ScheduleMode.PAPER):
            raise ScheduleError("budget", f"cannot be kept in mode {self.mode}")
        if self.mode is ScheduleMode.ADAPTIVE and self.triggers.min_interval > self.interval:
            raise ScheduleError(
                "triggers.min_interval",
                f"must be at most interval, got {self.triggers.min_interval} and {self.interval}",
            )


def schedule_to_json(config: ScheduleConfig) -> dict[str, Any]:
    """The settings as a manifest holds them: mode, interval, and what differs from the defaults."""
    written: dict[str, Any] = {"mode": str(config.mode), "interval": config.interval}
    if config.encoding_range:
        written["encoding_range"] = config.encoding_range
    if not config.encodes:
        written["encodes"] = False
    if config.flow is not FlowSource.NETWORK:
        written["flow"] = str(config.flow)
    if config.triggers != Triggers():
        written["triggers"] = asdict(config.triggers)
    if config.budget is not None:
        written["budget"] = asdict(config.budget)
    return written


def schedule_from_json(fields: Fields) -> ScheduleConfig:
    """The settings in a manifest; what is not there has its default.

    Raises:
        Exception: A field is missing, unknown or wrong; the error is the kind that `fields` makes.
    """
    _only(fields, "mode", "interval", "encoding_range", "encodes", "flow", "triggers", "budget")
    mode = fields.string("mode")
    if mode not in tuple(ScheduleMode):
        raise fields.error("mode", f"must be one of {', '.join(ScheduleMode)}, got {mode!r}")
    names = fields.names()
    flow = fields.string("flow") if "flow" in names else FlowSource.NETWORK
    if flow not in tuple(FlowSource):
        raise fields.error("flow", f"must be one of {', '.join(FlowSource)}, got {flow!r}")
    try:
        return ScheduleConfig(
            mode=ScheduleMode(mode),
            interval=fields.integer("interval", minimum=1),
            encoding_range=fields.integer("encoding_range", minimum=0) if "encoding_range" in names else 0,
            encodes=fields.boolean("encodes") if "encodes" in names else True,
            flow=FlowSource(flow),
            triggers=_triggers(fields.child("triggers")) if "triggers" in names else Triggers(),
            budget=_budget(fields.child("budget")) if "budget" in names else None,
        )
    except ScheduleError as error:
        raise fields.error(error.field, error.message) from error


def _triggers(fields: Fields) -> Triggers:
    given: dict[str, Any] = {}
    for name in fields.names():
        if name in Triggers().bands():
            band = fields.child(name)
            given[name] = Band(band.number("low"), band.number("high"))
        elif name == "scene_change":
            given[name] = fields.number(name)
        elif name == "tracker":
            given[name] = fields.boolean(name)
        elif name == "min_interval":
            given[name] = fields.integer(name)
        else:
            raise fields.error(name, "is not known")
    return Triggers(**given)


def _budget(fields: Fields) -> Budget:
    _only(fields, "keys_per_second", "burst", "borrow")
    fields.get("keys_per_second")
    return Budget(**{name: fields.number(name) for name in fields.names()})


def _only(fields: Fields, *known: str) -> None:
    for name in fields.names():
        if name not in known:
            raise fields.error(name, "is not known")
