"""Small layers that several networks are built from.

Shape suffixes: B batch, C channels, H height, W width.
"""

from torch import Tensor, nn


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm, ReLU (or nothing); padded so that stride 1 keeps the size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        padding = dilation * (kernel_size - 1) // 2
        layers: list[nn.Module] = [
            nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, dilation, groups=groups, bias=False
            ),
            nn.BatchNorm2d(out_channels, momentum=0.03),
        ]
        if activation:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class ConvAct(nn.Sequential):
    """Convolution with bias, then ReLU: for layers whose batches are too small to normalise."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        slope: float = 0.0,
    ) -> None:
        padding = dilation * (kernel_size - 1) // 2
        act: nn.Module = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation)
        nn.init.kaiming_normal_(conv.weight, a=slope)
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        super().__init__(conv, act)


class SeparableConv(nn.Sequential):
    """Depthwise then pointwise convolution, each with batch norm and ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(
            ConvNormAct(
                in_channels,
                in_channels,
                kernel_size=kernel_size,
                stride=stride,
                dilation=dilation,
                groups=in_channels,
            ),
            ConvNormAct(in_channels, out_channels),
        )


class SharedSeparableConv(nn.Module):
    """A separable convolution shared by pyramid levels, with batch norms of each level's own.

    Levels have different statistics; sharing the norms too would blur them. At export the norms fold into one
    convolution a level.
    """

    def __init__(self, channels: int, *, num_levels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False
        )
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.inner_norms = nn.ModuleList(nn.BatchNorm2d(channels, momentum=0.03) for _ in range(num_levels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, momentum=0.03) for _ in range(num_levels))

    def forward(self, x_BCHW: Tensor, level: int) -> Tensor:
        """The level's features, [B, C, H, W]."""
        x = self.inner_norms[level](self.depthwise(x_BCHW)).relu()
        y: Tensor = self.norms[level](self.pointwise(x)).relu()
        return y
