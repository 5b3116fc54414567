"""Cost of a schedule relative to parsing every frame: measured, and predicted by ATEN's equations.

Source: ATEN (Zhou et al., MM 2018), eqs. 8 and 9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from partstream_core.schedule import ScheduleConfig, ScheduleMode
from partstream_evaluation.complexity import StageCosts, cost_ratio, short_cost_ratio
from partstream_server.benchmarks.compare.run import Cost
from partstream_server.benchmarks.compare.variants import Variant


def ratios(
    costs: Mapping[str, Cost], chosen: Sequence[Variant], *, every: str = "per frame"
) -> dict[str, dict[str, float]]:
    """Measured `r`, and what `eq_8` and `eq_9` make of the measured time of each stage, by name.

    Only schedules of fixed segments have one, and only where the variant `every` ran beside them.
    """
    if every not in costs:
        return {}
    return {
        variant.name: _ratios(costs[variant.name], costs[every], variant.schedule)
        for variant in chosen
        if variant.schedule.mode in (ScheduleMode.CAUSAL, ScheduleMode.PAPER)
    }


def with_ratios(
    rows: Mapping[str, tuple[dict[str, float], Cost]], chosen: Sequence[Variant]
) -> dict[str, dict[str, float]]:
    """Rows of figures with the ratios of their costs in them; NaN where there is none."""
    found = ratios({name: cost for name, (_, cost) in rows.items()}, chosen)
    nothing = {"r": math.nan, "eq_8": math.nan, "eq_9": math.nan}
    return {name: {**figures, **found.get(name, nothing)} for name, (figures, _) in rows.items()}


def _ratios(cost: Cost, every: Cost, schedule: ScheduleConfig) -> dict[str, float]:
    stages = stage_costs(cost, every)
    # a recurrent encoder takes the state of one former key: p is 1
    num_flows = schedule.interval + (1 if schedule.encodes else 0)
    return {
        "r": cost.ms / every.ms,
        "eq_8": cost_ratio(stages, length=schedule.interval, num_flows=num_flows),
        "eq_9": short_cost_ratio(stages, length=schedule.interval, num_flows=num_flows),
    }


def stage_costs(cost: Cost, every: Cost) -> StageCosts:
    """Milliseconds of each stage, for one frame that it runs on.

    Args:
        cost: Of a schedule that borrows.
        every: Of every frame by itself: what the host spends more than there is for flow.
    """
    host_s = cost.stages_s["infer"] - every.stages_s["infer"] / every.num_frames * cost.num_frames
    flow_s = cost.stages_s["flow"] + cost.stages_s["propagate"] + max(host_s, 0.0)
    num_keys, num_steps = cost.calls["backbone"], cost.calls["temporal"]
    num_flows = cost.num_frames - num_keys + num_steps
    parsing_s = (
        cost.stages_s["heads"]
        + cost.stages_s["instances"]
        + every.stages_s["infer"] * (cost.num_frames / every.num_frames)
    )
    return StageCosts(
        backbone=cost.stages_s["backbone"] / max(num_keys, 1) * 1000,
        flow=flow_s / max(num_flows, 1) * 1000,
        encoding=cost.stages_s["temporal"] / max(num_steps, 1) * 1000,
        parsing=parsing_s / cost.num_frames * 1000,
    )
