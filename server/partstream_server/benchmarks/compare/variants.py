"""The ways to use key frames that are compared, named as ATEN's table 3 names them."""

from __future__ import annotations

from dataclasses import dataclass

from partstream_core.schedule import Budget, FlowSource, ScheduleConfig, ScheduleMode


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to parse a clip."""

    name: str
    schedule: ScheduleConfig


def variants(frame_rate: float) -> tuple[Variant, ...]:
    """What is compared.

    Args:
        frame_rate: Of the clips; the adaptive schedule gets as many key frames a second as l = 5 has.
    """
    budget = Budget(keys_per_second=frame_rate / 5)
    return (
        Variant("per frame", ScheduleConfig()),
        Variant("DFF, l=10", _paper(10, encodes=False)),
        Variant("ATEN, l=3", _paper(3)),
        Variant("ATEN, l=5", _paper(5)),
        Variant("ATEN, l=10", _paper(10)),
        Variant("no GRU, l=5", _paper(5, encodes=False)),
        Variant("no alignment, l=5", _paper(5, flow=FlowSource.NONE)),
        Variant("DIS flow, l=3", _paper(3, flow=FlowSource.DIS)),
        Variant("DIS flow, l=5", _paper(5, flow=FlowSource.DIS)),
        Variant("causal, l=3", _live(ScheduleMode.CAUSAL, 3)),
        Variant("causal, l=5", _live(ScheduleMode.CAUSAL, 5)),
        Variant("causal, DIS, l=3", _live(ScheduleMode.CAUSAL, 3, flow=FlowSource.DIS)),
        Variant("causal, codec, l=3", _live(ScheduleMode.CAUSAL, 3, flow=FlowSource.CODEC)),
        Variant("adaptive, keys of l=5", _live(ScheduleMode.ADAPTIVE, 15, budget=budget)),
    )


def _paper(
    interval: int, *, encodes: bool = True, flow: FlowSource = FlowSource.NETWORK
) -> ScheduleConfig:  # fmt: skip
    return ScheduleConfig(
        mode=ScheduleMode.PAPER, interval=interval, encoding_range=2, encodes=encodes, flow=flow
    )


def _live(
    mode: ScheduleMode,
    interval: int,
    *,
    flow: FlowSource = FlowSource.NETWORK,
    budget: Budget | None = None,
) -> ScheduleConfig:
    return ScheduleConfig(mode=mode, interval=interval, encoding_range=2, flow=flow, budget=budget)
