"""Convolutional LSTM, ATEN's other temporal encoder.

Shape suffixes: B batch, C input channels, D state channels, H height, W width.

Source: Shi et al., NeurIPS 2015, eq. 3, without peepholes; ATEN (Zhou et al., MM 2018), section 5.4, which
does not say where the states start; here both start as the mean feature, as the GRU's does.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from partstream_models.networks.conv_gru import OPEN, mean_feature


class LSTMState(NamedTuple):
    """Hidden and cell state, each [B, D, H, W]."""

    hidden: Tensor
    cell: Tensor


class ConvLSTMCell(nn.Module):
    """One step of a convolutional LSTM; it holds weights and no state."""

    def __init__(self, *, in_channels: int, state_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        self.gates = nn.Conv2d(
            in_channels + state_channels, 4 * state_channels, kernel_size, padding=kernel_size // 2
        )

    def forward(self, x_BCHW: Tensor, state: LSTMState) -> LSTMState:
        """Return the next state."""
        gates = self.gates(torch.cat([x_BCHW, state.hidden], dim=1))
        taken, kept, shown, candidate = gates.chunk(4, dim=1)
        cell = kept.sigmoid() * state.cell + taken.sigmoid() * candidate.tanh()
        return LSTMState(shown.sigmoid() * cell.tanh(), cell)


class ConvLSTM(nn.Module):
    """The last hidden state over features of key frames.

    It starts as the GRU does: the gates that take and show a cell nearly open, the one that keeps it nearly
    shut, and the candidate the input, so that before training the hidden state follows the current frame.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.cell = ConvLSTMCell(in_channels=channels, state_channels=channels)
        gates = self.cell.gates
        assert gates.bias is not None
        with torch.no_grad():
            for gate, bias in enumerate((OPEN, -OPEN, OPEN, 0.0)):
                gates.bias[gate * channels : (gate + 1) * channels] = bias
            nn.init.dirac_(gates.weight[3 * channels :])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoded feature, [B, C, H, W], of features in time order, the current frame's last."""
        mean = mean_feature(features)
        state = LSTMState(mean, mean)
        for feature in features:
            state = self.cell(feature, state)
        return state.hidden
