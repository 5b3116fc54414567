"""What key frames save, after ATEN's account of it: costs of stages in, share of the cost of every frame out.

Costs are multiply-adds or times, as long as all are the same.

Source: ATEN (Zhou et al., MM 2018), eqs. 8 and 9.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StageCosts:
    """Costs of ATEN's stages for one frame (the paper's O)."""

    backbone: float
    flow: float
    encoding: float
    """All steps of the temporal encoder for one key frame."""
    parsing: float
    warp: float = 0.0


def cost_ratio(costs: StageCosts, *, length: int, num_flows: int) -> float:
    """Cost of ATEN over that of its backbone on every frame (ATEN, eq. 8).

    Args:
        costs: Of the stages.
        length: Frames of a segment (l).
        num_flows: Flows a segment: l + p as eq. 8 has it, l - 1 + p as algorithm 1 runs them.
    """
    once = costs.encoding + costs.backbone + num_flows * (costs.warp + costs.flow)
    return (once + length * costs.parsing) / (length * (costs.backbone + costs.parsing))


def short_cost_ratio(costs: StageCosts, *, length: int, num_flows: int) -> float:
    """The ratio with backbone and flow alone (ATEN, eq. 9), which takes encoder and heads for nothing."""
    return num_flows * costs.flow / (length * costs.backbone) + 1 / length
