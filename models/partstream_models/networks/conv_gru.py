"""Convolutional GRU, and the encoding of key frames with it.

Shape suffixes: B batch, C input channels, D state channels, H height, W width.

Source: ATEN (Zhou et al., MM 2018), section 4.1, eqs. 4 and 5; Ballas et al., ICLR 2016. The authors' code
has Keras' hard sigmoid; here it is the sigmoid of the paper.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

OPEN = 2.0
"""Bias with which a gate starts that lets nearly nine tenths of a value pass."""


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
            self.start_as_input()

    def start_as_input(self) -> None:
        """Open the update gate, and let the candidate be the input: bounded, unless the cell is anchored."""
        channels, last = self.state_channels, _last(self.from_input)
        assert last.bias is not None
        with torch.no_grad():
            last.bias[:channels] = OPEN
            last.bias[2 * channels :] = 0.0
            candidate = last.weight[2 * channels :]
            if self.anchored:
                candidate.zero_()
            else:
                nn.init.dirac_(candidate)
                if isinstance(self.from_input, nn.Sequential):
                    depthwise = self.from_input[0]
                    assert isinstance(depthwise, nn.Conv2d)
                    nn.init.dirac_(depthwise.weight, groups=depthwise.groups)
            _last(self.candidate_from_state).weight.zero_()

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

    Before training the state is nearly the hyperbolic tangent of the current frame's feature, with a little
    of the others, so that nothing has to be unlearned where they do not lie on the current frame. The paper
    does not say how it starts.
    """

    def __init__(self, *, channels: int, separable: bool = False) -> None:
        super().__init__()
        self.cell = ConvGRUCell(in_channels=channels, state_channels=channels, separable=separable)
        self.cell.start_as_input()

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
