"""A light Seg Module and Pose2Seg Module over a pretrained MobileNetV2, for one thread.

Shape suffixes: B batch, C classes, S skeleton channels, H height, W width.

The paper's modules are DeepLabV3+ (`segmentation.SegNetwork`); this one is ours, for small data: a pretrained
trunk, and a sum of its taps. As in the paper the two modules differ by the input layer alone.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.mobilenet_v2 import TAP_CHANNELS, MobileNetV2, SameConv

_CHANNELS = 32


class LightSegNetwork(nn.Module):
    """MobileNetV2 with a lateral convolution a tap, summed at stride 4."""

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        self.trunk = MobileNetV2()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, _CHANNELS, 1) for channels in TAP_CHANNELS)
        self.smooth = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1)
        self.classifier = nn.Conv2d(_CHANNELS, num_classes, 1)

    @classmethod
    def from_file(cls, path: Path, *, num_classes: int, extra_channels: int = 0) -> "LightSegNetwork":
        """The network with a pretrained trunk; channels after RGB start without weight.

        Args:
            path: A checkpoint of MobileNetV2, ImageNet's or VOC DeepLab's.
            num_classes: Classes, background first.
            extra_channels: Channels of the input after RGB.

        Raises:
            ValueError: The file is missing or holds other weights.
        """
        network = cls(num_classes=num_classes)
        network.trunk.load_pretrained(path)
        if extra_channels:
            network.widen_input(extra_channels)
        return network

    def widen_input(self, extra_channels: int) -> None:
        """Let the input layer take channels after RGB, with weights of zero."""
        stem = self.trunk.stem
        wider = SameConv(stem.in_channels + extra_channels, stem.out_channels, stride=2)
        assert stem.bias is not None and wider.bias is not None
        added = torch.zeros(stem.out_channels, extra_channels, *stem.kernel_size)
        wider.weight.data.copy_(torch.cat([stem.weight.data, added], dim=1))
        wider.bias.data.copy_(stem.bias.data)
        self.trunk.stem = wider

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Activations before the softmax, [B, C, H, W]; RGB is in [-1, 1], sides are multiples of 32."""
        taps = self.trunk(image_BCHW)
        size = taps.stride4.shape[-2:]
        total = self.laterals[0](taps.stride4)
        for lateral, tap in zip(self.laterals[1:], taps[1:], strict=True):
            total = total + F.interpolate(lateral(tap), size=size, mode="bilinear", align_corners=False)
        logits = self.classifier(F.relu(self.smooth(F.relu(total))))
        return F.interpolate(logits, size=image_BCHW.shape[-2:], mode="bilinear", align_corners=False)
