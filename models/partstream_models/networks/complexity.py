"""Parameters and multiply-adds of a network, counted without computing anything."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def num_parameters(network: nn.Module) -> int:
    """Numbers that are or were trained; buffers (running statistics, frozen biases) are not among them."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(call: Callable[[], object]) -> int:
    """Multiply-adds of convolutions and matrix products in a call.

    Give it networks and images on the `meta` device: shapes are followed, nothing is computed.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        call()
    return int(counter.get_total_flops()) // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class StageCosts:
    """Multiply-adds of ATEN's stages for one frame (the paper's O)."""

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
