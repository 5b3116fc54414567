"""Atrous spatial pyramid pooling.

Shape suffixes: B batch, C channels, H height, W width.

Source: DeepLabV3 (Chen et al., 2017), section 3.3; ATEN section 3.1 uses rates 6, 12 and 18.
"""

import torch
from torch import Tensor, nn

from partstream_models.networks.layers import ConvAct, ConvNormAct, SeparableConv


class ASPP(nn.Module):
    """One 1x1 branch, a 3x3 branch a rate, and the image's mean, concatenated and projected."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        rates: tuple[int, ...] = (6, 12, 18),
        separable: bool = False,
        norm: bool = True,
    ) -> None:
        """Branches with batch norm, or with biases in its place where `norm` is false.

        Raises:
            ValueError: Separable branches without norm are asked for.
        """
        super().__init__()
        if separable and not norm:
            raise ValueError("separable branches come with batch norm only")
        plain = ConvNormAct if norm else ConvAct
        atrous: list[nn.Module] = []
        for rate in rates:
            if separable:
                atrous.append(SeparableConv(in_channels, out_channels, dilation=rate))
            else:
                atrous.append(plain(in_channels, out_channels, kernel_size=3, dilation=rate))
        self.local = nn.ModuleList([plain(in_channels, out_channels), *atrous])
        # no batch norm on the pooled branch: one value an image is too few to normalise
        self.pooled = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.ReLU(inplace=True))
        self.project = plain(out_channels * (len(rates) + 2), out_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Features with context, [B, out_channels, H, W]."""
        branches = [branch(x_BCHW) for branch in self.local]
        mean = self.pooled(x_BCHW.mean(dim=(2, 3), keepdim=True))
        branches.append(mean.expand_as(branches[0]))
        projected: Tensor = self.project(torch.cat(branches, dim=1))
        return projected
