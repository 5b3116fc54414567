"""A light flow network for the stride-8 feature map of small networks, with FlowNet-S's interface.

It looks at the images at half resolution; its raw flow is in pixels of the feature map.

Shape suffixes: B batch, C channels, H and W at stride 8, h and w image size.

Source: ours, after FlowNet-S and Light Flow (Zhu et al., 2018).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.flow_field import FlowField, ScaleMap
from partstream_models.networks.layers import ConvAct

FLOW_STRIDE = 8
FLOW_UNIT = 8.0
"""Image pixels of one unit of raw flow: a pixel of the feature map."""
_CHANNELS = (24, 48, 96, 128, 192)
_SLOPE = 0.1


class LightFlow(nn.Module):
    """Flow at stride 8 of two images, and a scale map if asked for."""

    def __init__(self, *, scale_channels: int | None = 96) -> None:
        super().__init__()
        inputs = (6, *_CHANNELS[:-1])
        self.encoder = nn.ModuleList(
            ConvAct(i, o, kernel_size=3, stride=2, slope=_SLOPE)
            for i, o in zip(inputs, _CHANNELS, strict=True)
        )
        self.decoder, self.predict = nn.ModuleList(), nn.ModuleList()
        channels = _CHANNELS[-1]
        self.predict.append(nn.Conv2d(channels, 2, 3, padding=1))
        for tap in _CHANNELS[-2:0:-1]:
            self.decoder.append(ConvAct(channels + tap + 2, tap, kernel_size=3, slope=_SLOPE))
            self.predict.append(nn.Conv2d(tap, 2, 3, padding=1))
            channels = tap
        self.scale = ScaleMap(channels, scale_channels) if scale_channels is not None else None
        for module in self.predict:
            assert isinstance(module, nn.Conv2d)
            nn.init.normal_(module.weight, std=0.01)

    def forward(self, current_B3hw: Tensor, reference_B3hw: Tensor) -> FlowField:
        """The field from current to reference; images are RGB in [-1, 1], sides multiples of 8."""
        x = F.avg_pool2d(torch.cat([current_B3hw, reference_B3hw], dim=1), 2)
        taps = []
        for layer in self.encoder:
            x = layer(x)
            taps.append(x)
        flows = [self.predict[0](x)]
        for index, tap in enumerate(taps[-2:0:-1]):
            size = tap.shape[-2:]
            # every level speaks of pixels at stride 8, so flows need no factor on their way up
            up = F.interpolate(flows[-1], size=size, mode="bilinear", align_corners=False)
            deep = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            x = self.decoder[index](torch.cat([tap, deep, up], dim=1))
            flows.append(up + self.predict[index + 1](x))
        scale = self.scale(x) if self.scale is not None else None
        return FlowField(flows[-1], scale, tuple(reversed(flows)))
