"""DLA-34: a trunk whose stages are trees of blocks, each tree gathered by a root.

Shape suffixes: B batch, C channels, H height, W width.

Source: Deep Layer Aggregation (Yu et al., CVPR 2018), section 4 and table 1. In public weights trees of depth
two carry a projection that nothing reads; here it is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from partstream_models.networks.layers import ConvNormAct
from partstream_models.networks.resnet import imagenet_normalised


@dataclass(frozen=True, kw_only=True, slots=True)
class DLAConfig:
    """Widths."""

    widths: tuple[int, int, int, int, int, int] = (16, 32, 64, 128, 256, 512)
    """Channels at strides 1, 2, 4, 8, 16 and 32."""

    def __post_init__(self) -> None:
        if min(self.widths) < 1:
            raise ValueError(f"widths must be positive, got {self.widths}")


DLA34 = DLAConfig()


class DLATaps(NamedTuple):
    """Features of an image [B, 3, H, W]."""

    stride8: Tensor
    stride16: Tensor
    stride32: Tensor


class Block(nn.Module):
    """Two 3x3 convolutions, added to a shortcut that the tree provides."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.first = ConvNormAct(in_channels, out_channels, kernel_size=3, stride=stride)
        self.second = ConvNormAct(out_channels, out_channels, kernel_size=3, activation=False)

    def forward(self, x_BCHW: Tensor, shortcut_BCHW: Tensor) -> Tensor:
        """The block's output, at the shortcut's size."""
        out: Tensor = (self.second(self.first(x_BCHW)) + shortcut_BCHW).relu()
        return out


class Tree(nn.Module):
    """Two blocks and the root that gathers both, and whatever else is handed in."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, gathered: int = 0) -> None:
        super().__init__()
        self.pool: nn.Module = nn.MaxPool2d(stride, stride) if stride > 1 else nn.Identity()
        self.project: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.project = ConvNormAct(in_channels, out_channels, activation=False)
        self.first = Block(in_channels, out_channels, stride=stride)
        self.second = Block(out_channels, out_channels, stride=1)
        self.root = ConvNormAct(2 * out_channels + gathered, out_channels)

    def forward(self, x_BCHW: Tensor, gathered: Sequence[Tensor] = ()) -> Tensor:
        """The root's output.

        Args:
            x_BCHW: Features.
            gathered: Further features for the root, at the size of its output.
        """
        first = self.first(x_BCHW, self.project(self.pool(x_BCHW)))
        second = self.second(first, first)
        out: Tensor = self.root(torch.cat([second, first, *gathered], dim=1))
        return out


class DeepTree(nn.Module):
    """Two trees; the second's root also gathers the first one's output and this stage's input."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(stride, stride)
        self.first = Tree(in_channels, out_channels, stride=stride)
        self.second = Tree(out_channels, out_channels, stride=1, gathered=in_channels + out_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The stage's output."""
        first = self.first(x_BCHW)
        out: Tensor = self.second(first, (self.pool(x_BCHW), first))
        return out


class LastTree(nn.Module):
    """A tree whose root also gathers the stage's input."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(stride, stride)
        self.tree = Tree(in_channels, out_channels, stride=stride, gathered=in_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The stage's output."""
        out: Tensor = self.tree(x_BCHW, (self.pool(x_BCHW),))
        return out


class DLA(nn.Module):
    """The trunk without classifier."""

    def __init__(self, config: DLAConfig = DLA34) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = nn.Sequential(
            ConvNormAct(3, widths[0], kernel_size=7),
            ConvNormAct(widths[0], widths[0], kernel_size=3),
            ConvNormAct(widths[0], widths[1], kernel_size=3, stride=2),
        )
        self.stage4 = Tree(widths[1], widths[2], stride=2)
        self.stage8 = DeepTree(widths[2], widths[3], stride=2)
        self.stage16 = DeepTree(widths[3], widths[4], stride=2)
        self.stage32 = LastTree(widths[4], widths[5], stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image_BCHW: Tensor) -> DLATaps:
        """Taps of an RGB image in [-1, 1], height and width multiples of 32."""
        stride8 = self.stage8(self.stage4(self.stem(imagenet_normalised(image_BCHW))))
        stride16 = self.stage16(stride8)
        return DLATaps(stride8, stride16, self.stage32(stride16))
