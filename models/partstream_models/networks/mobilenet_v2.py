"""MobileNetV2 as a trunk with taps at strides 4, 8, 16 and 32.

Batch norm is folded into the convolutions from the start, because the pretrained weights come so. Padding is
TensorFlow's SAME. The VOC DeepLab weights were trained with dilation 2 at stride 16 in the last stage; at
stride 32 without dilation the same weights compute the same values on every second row and column.

Shape suffixes: B batch, C channels, H height, W width.

Source: Sandler et al., CVPR 2018, table 2.
"""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.dequantised import load_convolutions


class Taps(NamedTuple):
    """Features of an image [B, 3, H, W] at four strides."""

    stride4: Tensor
    stride8: Tensor
    stride16: Tensor
    stride32: Tensor


class TapChannels(NamedTuple):
    """Channels of the taps."""

    stride4: int
    stride8: int
    stride16: int
    stride32: int


TAP_CHANNELS = TapChannels(24, 32, 96, 320)

_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, channels, blocks and stride of each stage."""
_LAST_BLOCK_AT_STRIDE = (2, 5, 12, 16)


class SameConv(nn.Conv2d):
    """A 3x3 convolution of stride 1 or 2 with TensorFlow's SAME padding for even sizes."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, groups: int = 1) -> None:
        padding = 1 if stride == 1 else 0
        super().__init__(in_channels, out_channels, 3, stride, padding, groups=groups)
        self._pad_after = stride == 2

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve; at stride 2 the zeros go on the right and below only.

        In training a strided depthwise convolution runs at stride 1 and drops every second value: the same
        numbers, and many times faster backwards on a CPU.
        """
        if self._pad_after and self.groups > 1 and self.training and self.weight.requires_grad:
            every = F.conv2d(x_BCHW, self.weight, self.bias, padding=1, groups=self.groups)
            return every[:, :, 1::2, 1::2]
        return super().forward(F.pad(x_BCHW, (0, 1, 0, 1)) if self._pad_after else x_BCHW)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; added to the input where the shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = nn.Conv2d(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, stride=stride, groups=hidden)
        self.project = nn.Conv2d(hidden, out_channels, 1)
        self._residual = stride == 1 and in_channels == out_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The block's output, [B, C', H/stride, W/stride]."""
        hidden = x_BCHW if self.expand is None else F.relu6(self.expand(x_BCHW))
        y: Tensor = self.project(F.relu6(self.depthwise(hidden)))
        return x_BCHW + y if self._residual else y


class MobileNetV2(nn.Module):
    """The trunk: everything up to the 320-channel feature at stride 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, stride=2)
        channels = 32
        blocks = []
        for expansion, out_channels, num_blocks, stride in _STAGES:
            for index in range(num_blocks):
                blocks.append(
                    InvertedResidual(
                        channels, out_channels, expansion=expansion, stride=stride if index == 0 else 1
                    )
                )
                channels = out_channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image_BCHW: Tensor) -> Taps:
        """Taps of an RGB image in [-1, 1]; height and width are multiples of 32."""
        x = F.relu6(self.stem(image_BCHW))
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _LAST_BLOCK_AT_STRIDE:
                taps.append(x)
        return Taps(*taps)

    def freeze_first(self, num_blocks: int) -> None:
        """Keep the stem and the first blocks as they are: edges and colours need no new learning."""
        frozen = [self.stem, *self.blocks[:num_blocks]] if num_blocks else []
        for module in frozen:
            module.requires_grad_(False)

    def load_pretrained(self, path: Path) -> None:
        """Take the trunk's weights from a checkpoint of the ImageNet or VOC DeepLab MobileNetV2.

        Raises:
            ValueError: The checkpoint's convolutions do not fit.
        """
        own = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        given = load_convolutions(path)
        if len(given) < len(own):
            raise ValueError(f"{path} has {len(given)} convolutions, MobileNetV2 needs {len(own)}")
        for module, convolution in zip(own, given, strict=False):
            if module.weight.shape != convolution.weight.shape:
                raise ValueError(
                    f"{path}: {convolution.name} is {tuple(convolution.weight.shape)}, "
                    f"expected {tuple(module.weight.shape)}"
                )
            module.weight.data.copy_(convolution.weight)
            assert module.bias is not None
            module.bias.data.copy_(convolution.bias)
