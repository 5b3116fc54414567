"""Holistic: a part module and detections, and the Instance CRF that decides over both.

The part module reads a ResNet at output stride 8: its features by themselves and average-pooled to four
grids, each through a convolution and upsampled, side by side; a convolution and a classifier follow. Where
the paper's figure is not legible we take PSPNet's widths: a pooled branch has a quarter of the trunk's
channels.

The Instance CRF works at the picture's size, as published, or on a coarser grid (`crf_stride`), which a
reduced network needs to be trained on a CPU.

Shape suffixes: B batch, C classes with background, D detections, L = 1 + D * (C - 1) labels, H height,
W width; h, w the grid of the field.

Source: Li, Arnab, Torr, Holistic, Instance-Level Human Parsing (BMVC 2017), section 3 and appendix B.1; the
detections are given from outside, as there (R-FCN's).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.labels import NUM_PARTS
from partstream_models.networks.instance_crf import CrfConfig, InstanceCrf
from partstream_models.networks.layers import ConvAct
from partstream_models.networks.resnet import ResNet, ResNetConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PartModuleConfig:
    """Trunk, grids and widths."""

    trunk: ResNetConfig = field(
        default_factory=lambda: ResNetConfig(blocks=(3, 4, 23, 3), out_stride=8, stride_on_3x3=True)
    )
    """Strides where torchvision's weights have them, whether or not a run starts from these."""
    grids: tuple[int, ...] = (1, 2, 3, 6)
    """Cells across and down of the pooled features; the features themselves are the fifth scale."""
    channels: int = 512
    """Before the classifier."""
    num_classes: int = NUM_PARTS

    def __post_init__(self) -> None:
        if not self.grids or min(self.grids) < 1:
            raise ValueError(f"grids must be at least one number from 1, got {self.grids}")
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {self.num_classes}")


class PartModule(nn.Module):
    """Category-level segmentation: which part each pixel shows, of all people together."""

    def __init__(self, config: PartModuleConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PartModuleConfig()
        self.trunk = ResNet(config.trunk)
        wide = config.trunk.out_channels
        self.pooled = nn.ModuleList(ConvAct(wide, wide // 4) for _ in config.grids)
        self.fuse = ConvAct(wide + len(config.grids) * (wide // 4), config.channels, kernel_size=3)
        self.classify = nn.Conv2d(config.channels, config.num_classes, 1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits, [B, C, H, W], of an RGB image in [-1, 1]."""
        feature = self.trunk(image_BCHW).last
        size = feature.shape[-2:]
        scales = [feature]
        for grid, branch in zip(self.config.grids, self.pooled, strict=True):
            pooled = branch(F.adaptive_avg_pool2d(feature, grid))
            scales.append(F.interpolate(pooled, size=size, mode="bilinear", align_corners=False))
        logits = self.classify(self.fuse(torch.cat(scales, dim=1)))
        upsampled: Tensor = F.interpolate(
            logits, size=image_BCHW.shape[-2:], mode="bilinear", align_corners=False
        )
        return upsampled


@dataclass(frozen=True, kw_only=True, slots=True)
class HolisticConfig:
    """Both modules, and the grid of the field."""

    parts: PartModuleConfig = field(default_factory=PartModuleConfig)
    crf: CrfConfig = field(default_factory=CrfConfig)
    crf_stride: int = 1
    """Pixels of the picture to a cell of the field."""

    def __post_init__(self) -> None:
        if self.crf_stride < 1:
            raise ValueError(f"crf_stride must be at least 1, got {self.crf_stride}")


HOLISTIC = HolisticConfig()
"""As published, with the 19 parts of LIP."""
HOLISTIC_REDUCED = HolisticConfig(
    parts=PartModuleConfig(
        trunk=ResNetConfig(blocks=(1, 1, 1, 1), width=16, out_stride=8), channels=96, num_classes=7
    ),
    crf=CrfConfig(bilateral=0.8, spatial=0.2, radius=3, num_iterations=3),
    crf_stride=4,
)
"""Narrow and shallow, with six groups of parts and the field on a quarter of the grid: for one thread.

Kernels that reach two cells reach eight pixels there, so their weights are a tenth of the published ones.
"""


class HolisticOutput(NamedTuple):
    """What both modules say of one picture."""

    part_logits_CHW: Tensor
    log_q_Lhw: Tensor
    """Log probabilities of background and of each detection's parts."""


class Holistic(nn.Module):
    """Part module and Instance CRF, trained in pieces or end to end."""

    def __init__(self, config: HolisticConfig = HOLISTIC) -> None:
        super().__init__()
        self.config = config
        self.parts = PartModule(config.parts)
        self.crf = InstanceCrf(config.crf)

    def forward(self, image_1CHW: Tensor, boxes_D4: Tensor, scores_D: Tensor) -> HolisticOutput:
        """Parse one picture.

        Args:
            image_1CHW: RGB in [-1, 1].
            boxes_D4: Of the detections, xyxy in pixels.
            scores_D: Of the detections, in [0, 1].

        Raises:
            ValueError: There are several pictures, or the shapes do not go together.
        """
        if image_1CHW.ndim != 4 or image_1CHW.shape[0] != 1:
            raise ValueError(f"one picture at a time, got {tuple(image_1CHW.shape)}")
        logits_CHW = self.parts(image_1CHW)[0]
        return HolisticOutput(logits_CHW, self.instances(logits_CHW, image_1CHW, boxes_D4, scores_D))

    def instances(self, logits_CHW: Tensor, image_1CHW: Tensor, boxes_D4: Tensor, scores_D: Tensor) -> Tensor:
        """Log probabilities of the field's labels, [L, h, w], from the part module's logits."""
        parts_CHW = logits_CHW.float().softmax(dim=0)
        colours_3HW = (image_1CHW[0].float() + 1) * 127.5
        stride = self.config.crf_stride
        if stride > 1:
            parts_CHW, colours_3HW = (
                F.avg_pool2d(each[None], stride, ceil_mode=True)[0] for each in (parts_CHW, colours_3HW)
            )
        log_q: Tensor = self.crf(parts_CHW, boxes_D4 / stride, scores_D, colours_3HW)
        return log_q
