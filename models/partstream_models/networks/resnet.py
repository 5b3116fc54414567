"""ResNet-50 and -101 with frozen batch norm and a dilated last stage, or two.

The paper puts the stride of a block on its first 1x1 convolution; torchvision's published weights put it on
the 3x3. Both have the same tensors, so `ResNetConfig.stride_on_3x3` selects one.

Shape suffixes: B batch, C channels, H height, W width.

Source: He et al., CVPR 2016, table 1; dilation after DeepLabV3 (Chen et al., 2017), section 3.1.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

EXPANSION = 4
_STRIDES = {16: (1, 2, 2, 1), 8: (1, 2, 1, 1)}
"""Of the stages, by the stride of the last one's output."""
_RESIDUAL_SHARE = 0.25
"""Weight of a residual branch before pretrained norms are loaded: frozen norms cannot learn to damp it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetConfig:
    """Depth, width and position of the stride."""

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    """Channels of the stem; the last stage has 32 times as many."""
    stride_on_3x3: bool = False
    """Put a block's stride on its 3x3 convolution (torchvision's weights) or on its first 1x1 (the paper)."""
    out_stride: int = 16
    """Of the last stage: 16, or 8 with the last two stages dilated."""
    extra_channels: int = 0
    """Channels of the input after RGB; they are not normalised."""

    def __post_init__(self) -> None:
        if self.out_stride not in _STRIDES:
            raise ValueError(f"out_stride must be 16 or 8, got {self.out_stride}")
        if min(self.blocks) < 1 or self.width < 1 or self.extra_channels < 0:
            raise ValueError(f"cannot build a ResNet of {self.blocks} blocks and width {self.width}")

    @property
    def out_channels(self) -> int:
        """Channels of the last stage."""
        return self.width * 8 * EXPANSION


RESNET50 = ResNetConfig()
RESNET101 = ResNetConfig(blocks=(3, 4, 23, 3))


class ResNetTaps(NamedTuple):
    """The two features that decoders read, of an image [B, 3, H, W]."""

    stem: Tensor
    """After the max-pool, [B, width, H/4, W/4]."""
    last: Tensor
    """[B, 32 * width, H/16, W/16], or H/8, W/8."""


class FrozenBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics and affine parameters stay fixed in training."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> "FrozenBatchNorm":  # noqa: ARG002 - frozen either way
        """Stay in inference mode."""
        super().train(False)
        return self


class Bottleneck(nn.Module):
    """Residual block of a 1x1, a 3x3 and a 1x1 convolution (the paper's figure 5, right)."""

    def __init__(self, in_channels: int, channels: int, *, strides: tuple[int, int], dilation: int) -> None:
        super().__init__()
        stride = strides[0] * strides[1]
        out_channels = channels * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, channels, 1, strides[0], bias=False)
        self.norm1 = FrozenBatchNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, strides[1], dilation, dilation, bias=False)
        self.norm2 = FrozenBatchNorm(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.norm3 = FrozenBatchNorm(out_channels)
        nn.init.constant_(self.norm3.weight, _RESIDUAL_SHARE)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), FrozenBatchNorm(out_channels)
            )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The block's output, [B, 4 * channels, H/stride, W/stride]."""
        y = self.norm1(self.conv1(x_BCHW)).relu()
        y = self.norm2(self.conv2(y)).relu()
        out: Tensor = (self.norm3(self.conv3(y)) + self.shortcut(x_BCHW)).relu()
        return out


class ResNet(nn.Module):
    """The trunk at output stride 16 or 8: the last stages are dilated instead of strided."""

    def __init__(self, config: ResNetConfig = RESNET50) -> None:
        super().__init__()
        self.config = config
        self.stem_conv = nn.Conv2d(3 + config.extra_channels, config.width, 7, 2, 3, bias=False)
        self.stem_norm = FrozenBatchNorm(config.width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        in_channels, stages, dilation_before = config.width, [], 1
        for index, (num_blocks, stride) in enumerate(
            zip(config.blocks, _STRIDES[config.out_stride], strict=True)
        ):
            channels, rows = config.width * 2**index, []
            dilation_after = dilation_before * (2 if index > 0 and stride == 1 else 1)
            for number in range(num_blocks):
                # the first block reads the stage before it, which is less dilated
                dilation = dilation_after if number else dilation_before
                first = stride if number == 0 else 1
                strides = (1, first) if config.stride_on_3x3 else (first, 1)
                rows.append(Bottleneck(in_channels, channels, strides=strides, dilation=dilation))
                in_channels = channels * EXPANSION
            stages.append(nn.Sequential(*rows))
            dilation_before = dilation_after
        self.stages = nn.ModuleList(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image_BCHW: Tensor) -> ResNetTaps:
        """Taps of an RGB image in [-1, 1]; it is normalised here as ImageNet weights expect."""
        if self.config.extra_channels:
            x = torch.cat([imagenet_normalised(image_BCHW[:, :3]), image_BCHW[:, 3:]], dim=1)
        else:
            x = imagenet_normalised(image_BCHW)
        stem = self.pool(self.stem_norm(self.stem_conv(x)).relu())
        x = stem
        for stage in self.stages:
            x = stage(x)
        return ResNetTaps(stem, x)


def imagenet_normalised(image_BCHW: Tensor) -> Tensor:
    """Convert an RGB image from [-1, 1] to ImageNet's normalisation (mean 0, standard deviation 1)."""
    x = image_BCHW * 0.5 + 0.5
    return (x - _channels((0.485, 0.456, 0.406), x)) / _channels((0.229, 0.224, 0.225), x)


def _channels(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype).reshape(1, 3, 1, 1)
