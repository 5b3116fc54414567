"""Chooses a stream's key-frame schedule from the caller's options and the bundle's capabilities."""

from __future__ import annotations

from dataclasses import replace

from partstream_core.errors import OptionError
from partstream_core.manifest import Manifest
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleError, ScheduleMode

INTERVAL = 3
"""Frames a segment where neither caller nor bundle says (the papers' l)."""


def choose_schedule(
    manifest: Manifest,
    *,
    mode: ScheduleMode | None,
    interval: int | None,
    live: bool,
    flow: FlowSource | None = None,
    device: str = "cpu",
    encodes: bool | None = None,
) -> ScheduleConfig:
    """The schedule of a stream: what its caller asks for, and else what suits the bundle.

    Args:
        manifest: Of the bundle.
        mode: Asked for; None takes the bundle's, or `paper` in its place where frames need not be live, and
            `causal` in place of `paper` where they must.
        interval: Asked for; None takes the bundle's.
        live: Frames must be answered as they come.
        flow: Asked for; None takes the bundle's, or the network's where features lie on another device.
        device: Where features lie.
        encodes: Whether key frames are encoded with former ones; None takes the bundle's.

    Raises:
        OptionError: The bundle, or a live stream, cannot follow it.
    """
    own = manifest.schedule
    if mode is None:
        mode = _own_mode(own.mode, live=live)
    if mode is ScheduleMode.PAPER and live:
        raise OptionError("schedule paper waits for later frames, which a live stream cannot; take causal")
    if mode is ScheduleMode.EVERY_FRAME:
        if interval not in (None, 1):
            raise OptionError(f"interval {interval} needs a schedule other than every-frame")
        if flow is not None:
            raise OptionError(f"flow {flow} needs a schedule other than every-frame")
        return ScheduleConfig()
    if manifest.capabilities.temporal == "none":
        raise OptionError(
            f"the bundle {manifest.name} has no schedule {mode}: it takes every frame by itself"
        )
    if flow is None:
        flow = own.flow if device == "cpu" else FlowSource.NETWORK
    if interval is None:
        interval = own.interval if own.mode is not ScheduleMode.EVERY_FRAME else INTERVAL
    budget = own.budget if mode in (ScheduleMode.CAUSAL, ScheduleMode.ADAPTIVE) else None
    try:
        return replace(
            own,
            mode=mode,
            interval=interval,
            budget=budget,
            flow=flow,
            encodes=own.encodes if encodes is None else encodes,
        )
    except ScheduleError as error:
        raise OptionError(str(error)) from error


def _own_mode(mode: ScheduleMode, *, live: bool) -> ScheduleMode:
    """The schedule mode of a request that names none, derived from the bundle's mode."""
    if not live:
        return mode if mode is ScheduleMode.EVERY_FRAME else ScheduleMode.PAPER
    return ScheduleMode.CAUSAL if mode is ScheduleMode.PAPER else mode
