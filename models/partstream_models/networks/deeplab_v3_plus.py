"""DeepLabV3+ over a ResNet: the stride-4, 256-channel feature map that ATEN propagates.

Shape suffixes: B batch, C channels, H height, W width.

Source: Chen et al., ECCV 2018, section 3; ATEN (Zhou et al., MM 2018), section 4.5. The low-level feature is
the stem's after its max-pool, and context and decoder carry biases instead of batch norm.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.aspp import ASPP
from partstream_models.networks.layers import ConvAct
from partstream_models.networks.resnet import RESNET50, ResNet, ResNetConfig

FEATURE_STRIDE = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepLabConfig:
    """Trunk and widths."""

    trunk: ResNetConfig = RESNET50
    channels: int = 256
    low_channels: int = 48
    rates: tuple[int, ...] = (6, 12, 18)


class DeepLabV3Plus(nn.Module):
    """Trunk, atrous pyramid and decoder; without the classifier."""

    def __init__(self, config: DeepLabConfig | None = None) -> None:
        super().__init__()
        config = config or DeepLabConfig()
        self.trunk = ResNet(config.trunk)
        self.context = ASPP(config.trunk.out_channels, config.channels, rates=config.rates, norm=False)
        self.low = ConvAct(config.trunk.width, config.low_channels)
        self.decoder = nn.Sequential(
            ConvAct(config.channels + config.low_channels, config.channels, kernel_size=3),
            ConvAct(config.channels, config.channels, kernel_size=3),
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """The feature map, [B, 256, H/4, W/4], of an RGB image in [-1, 1]."""
        taps = self.trunk(image_BCHW)
        context = self.context(taps.last)
        context = F.interpolate(context, size=taps.stem.shape[-2:], mode="bilinear", align_corners=False)
        feature: Tensor = self.decoder(torch.cat([context, self.low(taps.stem)], dim=1))
        return feature
