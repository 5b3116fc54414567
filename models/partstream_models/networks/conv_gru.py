"""Convolutional GRU, and the encoding of key frames with it.

Shape suffixes: B batch, C input channels, D state channels, H height, W width.

Source: ATEN (Zhou et al., MM 2018), section 4.1, eqs. 4 and 5; Ballas et al., ICLR 2016. The authors' code
has Keras' hard sigmoid; here it is the sigmoid of the paper.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_SHUT = 3.0
"""Minus the bias with which an update gate starts: it lets a twentieth of the new state in."""


class ConvGRUCell(nn.Module):
    """One step of a convolutional GRU.

    The cell holds weights and no state: the caller keeps each stream's hidden state and passes it in.

    An anchored cell's candidate is its input plus the bounded candidate of eq. 5. State and input are then
    the same kind of feature, so heads that read the one read the other; the state never grows past the
    largest input plus one, however long a stream lasts; and before training it is nearly the input itself.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        state_channels: int,
        kernel_size: int = 3,
        separable: bool = False,
        anchored: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if anchored and in_channels != state_channels:
            raise ValueError(
                f"an anchored state of {state_channels} channels cannot take {in_channels} of input"
            )
        self.anchored = anchored
        conv = separable_map if separable else full_map
        self.state_channels = state_channels
        self.from_input = conv(in_channels, 3 * state_channels, kernel_size, bias=True)
        """Update gate, reset gate and candidate."""
        self.gates_from_state = conv(state_channels, 2 * state_channels, kernel_size, bias=False)
        self.candidate_from_state = conv(state_channels, state_channels, kernel_size, bias=False)
        if anchored:
            self._start_as_input()

    def _start_as_input(self) -> None:
        """Open the update gate, and correct nothing."""
        last_of_input, last_of_state = _last(self.from_input), _last(self.candidate_from_state)
        assert last_of_input.bias is not None
        with torch.no_grad():
            last_of_input.bias[: self.state_channels] = 2.0
            last_of_input.bias[2 * self.state_channels :] = 0.0
            last_of_input.weight[2 * self.state_channels :] = 0.0
            last_of_state.weight.zero_()

    def forward(self, x_BCHW: Tensor, state_BDHW: Tensor) -> Tensor:
        """Return the next state, [B, D, H, W]."""
        x_update, x_reset, x_candidate = self.from_input(x_BCHW).chunk(3, dim=1)
        h_update, h_reset = self.gates_from_state(state_BDHW).chunk(2, dim=1)
        update = (x_update + h_update).sigmoid()
        reset = (x_reset + h_reset).sigmoid()
        candidate = (x_candidate + self.candidate_from_state(reset * state_BDHW)).tanh()
        if self.anchored:
            candidate = x_BCHW + candidate
        state: Tensor = (1 - update) * state_BDHW + update * candidate
        return state


def _last(map_: nn.Module) -> nn.Conv2d:
    """The convolution that makes a map's output."""
    last = map_[-1] if isinstance(map_, nn.Sequential) else map_
    assert isinstance(last, nn.Conv2d)
    return last


class ConvGRU(nn.Module):
    """The last state over features of key frames (eq. 4).

    Update gates start nearly shut. Before training the state is then nearly the mean that it begins with,
    which heads that learned without an encoder can read; the paper does not say how gates start.
    """

    def __init__(self, *, channels: int, separable: bool = False) -> None:
        super().__init__()
        self.cell = ConvGRUCell(in_channels=channels, state_channels=channels, separable=separable)
        bias = _last(self.cell.from_input).bias
        assert bias is not None
        with torch.no_grad():
            bias[:channels] = -_SHUT

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoded feature, [B, C, H, W].

        Args:
            features: Warped features in time order, the current frame's last; the state starts as their mean.
        """
        state = mean_feature(features)
        for feature in features:
            state = self.cell(feature, state)
        return state


class MeanEncoder(nn.Module):
    """The mean over features of key frames: ATEN without its GRU (section 5.4)."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The mean, [B, C, H, W]."""
        return mean_feature(features)


def mean_feature(features: Sequence[Tensor]) -> Tensor:
    """The mean of at least one feature.

    Raises:
        ValueError: There is none.
    """
    if not features:
        raise ValueError("there is no feature to encode")
    return torch.stack(tuple(features)).mean(dim=0)


def full_map(in_channels: int, out_channels: int, kernel_size: int, *, bias: bool) -> nn.Module:
    """A full convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


def separable_map(in_channels: int, out_channels: int, kernel_size: int, *, bias: bool) -> nn.Module:
    """A depthwise and a pointwise convolution with nothing between."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels, in_channels, kernel_size, padding=kernel_size // 2, groups=in_channels, bias=False
        ),
        nn.Conv2d(in_channels, out_channels, 1, bias=bias),
    )
