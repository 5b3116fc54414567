"""FlowNet-S, with the scale map of Deep Feature Flow.

The raw flow is in units of 20 image pixels. On the stride-4 feature map one raw unit is therefore 20 / 4 = 5
pixels; ATEN's public code multiplies by 20 there and warps four times too far.

Shape suffixes: B batch, C channels, H and W at stride 4, h and w image size.

Source: FlowNet (Dosovitskiy et al., ICCV 2015), section 3; ATEN (Zhou et al., MM 2018), section 4.5.
"""

import torch
from torch import Tensor, nn

from partstream_models.networks.flow_field import FlowField, ScaleMap
from partstream_models.networks.layers import ConvAct

FLOW_UNIT = 20.0
"""Image pixels of one unit of raw flow."""
FLOW_STRIDE = 4
LOSS_WEIGHTS = (0.005, 0.01, 0.02, 0.08, 0.32)
"""Of the levels' endpoint errors, finest first."""
_SLOPE = 0.1
_MEAN = (0.411, 0.432, 0.45)
_ENCODER = ((64, 7, 1), (128, 5, 1), (256, 5, 2), (512, 3, 2), (512, 3, 2), (1024, 3, 2))
"""Channels, first kernel and convolutions of each stage, one a stride from 2 to 64."""
_DECODER = (512, 256, 128, 64)


class FlowNetS(nn.Module):
    """Flow at stride 4 of two images, and the scale map if asked for.

    As first published, only the encoder's convolutions have biases; with a scale map all have, and the scale
    map's own are frozen at one.
    """

    def __init__(self, *, scale_channels: int | None = None, width: float = 1.0) -> None:
        """Build it.

        Args:
            scale_channels: Channels of the feature that is to be propagated; no scale map where None.
            width: Channels against the published ones.
        """
        super().__init__()
        biased = scale_channels is not None
        self.encoder = nn.ModuleList()
        channels, taps = 6, []
        for full, kernel, num_convs in _ENCODER:
            out = max(int(full * width), 4)
            convs = [ConvAct(channels, out, kernel_size=kernel, stride=2, slope=_SLOPE)]
            convs += [ConvAct(out, out, kernel_size=3, slope=_SLOPE) for _ in range(num_convs - 1)]
            self.encoder.append(nn.Sequential(*convs))
            channels = out
            taps.append(out)
        self.predict, self.upsample, self.deconvs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for tap, full in zip(taps[-2:0:-1], _DECODER, strict=True):
            out = max(int(full * width), 4)
            self.predict.append(nn.Conv2d(channels, 2, 3, padding=1, bias=biased))
            self.upsample.append(nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=biased))
            self.deconvs.append(nn.ConvTranspose2d(channels, out, 4, 2, 1, bias=biased))
            channels = tap + out + 2
        self.predict.append(nn.Conv2d(channels, 2, 3, padding=1, bias=biased))
        self.scale = ScaleMap(channels, scale_channels) if scale_channels is not None else None
        self._start()

    def _start(self) -> None:
        for module in self.predict:
            assert isinstance(module, nn.Conv2d)
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, current_B3hw: Tensor, reference_B3hw: Tensor) -> FlowField:
        """The field from current to reference at stride 4; RGB images in [-1, 1], sides multiples of 4."""
        mean = torch.tensor(_MEAN, device=current_B3hw.device, dtype=current_B3hw.dtype).reshape(1, 3, 1, 1)
        x = torch.cat([image * 0.5 + 0.5 - mean for image in (current_B3hw, reference_B3hw)], dim=1)
        taps = []
        for stage in self.encoder:
            x = stage(x)
            taps.append(x)
        flows = [self.predict[0](x)]
        for index, tap in enumerate(taps[-2:0:-1]):
            height, width = tap.shape[-2:]
            up = self.upsample[index](flows[-1])[..., :height, :width]
            deep = nn.functional.leaky_relu(self.deconvs[index](x), _SLOPE)[..., :height, :width]
            x = torch.cat([tap, deep, up], dim=1)
            flows.append(self.predict[index + 1](x))
        scale = self.scale(x) if self.scale is not None else None
        return FlowField(flows[-1] * (FLOW_UNIT / FLOW_STRIDE), scale, tuple(reversed(flows)))
