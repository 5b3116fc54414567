"""Parameters and multiply-adds of a network, counted without computing anything."""

from collections.abc import Callable

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
