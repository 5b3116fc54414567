"""One map from all levels of a pyramid: BlendMask's bottom module, and CondInst's mask branch.

Shape suffixes: B batch, C channels, H and W size of the finest level.

Source: BlendMask (Chen et al., CVPR 2020), section 3.1; CondInst (Tian et al., ECCV 2020), section 3.2. Both
add the levels up at the finest one's size and go on with a few convolutions.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.layers import ConvNormAct


class PyramidFeatures(nn.Module):
    """A 3x3 convolution a level, their sum, a tower, and a 1x1 convolution to the features."""

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        out_channels: int,
        num_levels: int,
        num_convs: int,
        doubled: bool,
    ) -> None:
        super().__init__()
        self.refine = nn.ModuleList(
            ConvNormAct(in_channels, channels, kernel_size=3) for _ in range(num_levels)
        )
        self.tower = nn.Sequential(*(_conv(channels) for _ in range(num_convs)))
        self.doubled = _conv(channels) if doubled else None
        """Goes on at twice the size of the finest level."""
        self.out = nn.Conv2d(channels, out_channels, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """The features, [B, out_channels, H, W], or [B, out_channels, 2H, 2W] where doubled."""
        x = self.refine[0](levels[0])
        for number, level in enumerate(levels[1:], start=1):
            refined = self.refine[number](level)
            x = x + F.interpolate(refined, scale_factor=2.0**number, mode="bilinear", align_corners=False)
        x = self.tower(x)
        if self.doubled is not None:
            x = self.doubled(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
        out: Tensor = self.out(x)
        return out


def _conv(channels: int) -> ConvNormAct:
    return ConvNormAct(channels, channels, kernel_size=3)
