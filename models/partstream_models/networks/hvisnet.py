"""HVISNet: people, their masks and their looks from a one-stage detector.

FCOS on a pyramid of DLA-34 finds people, BlendMask (or CondInst) makes their masks, and a branch beside the
detection branch gives the embedding by which the match module (`partstream_core.tracker`) knows them again.
The text leaves the identity branch's width and kernels open; two 3x3 convolutions of the pyramid's width are
ours, after its "two convolution layers" and 256 numbers a location.

Shape suffixes: B batch, C channels, D embedding, L locations over all levels, P mask parameters, H and W
network size (multiples of 32).

Source: Yu et al., "Real-time Human-Centric Segmentation for Complex Video Scenes", section III.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from partstream_models.networks.blendmask import NUM_ATTENTION, NUM_BASES
from partstream_models.networks.condinst import MASK_CHANNELS, NUM_MASK_PARAMETERS
from partstream_models.networks.dla import DLA, DLA34, DLAConfig
from partstream_models.networks.fcos import Level
from partstream_models.networks.fcos_head import FCOSHead, flatten_levels
from partstream_models.networks.fpn import FPN
from partstream_models.networks.pyramid_features import PyramidFeatures

HVIS_LEVELS = (Level(8, 0, 64, 64), Level(16, 64, 128, 128), Level(32, 128, float("inf"), 256))
"""FCOS's sizes; the coarsest level takes all that is larger."""


class Masks(StrEnum):
    """How masks are made."""

    BLENDMASK = "blendmask"
    CONDINST = "condinst"


@dataclass(frozen=True, kw_only=True, slots=True)
class HVISNetConfig:
    """The networks that HVISNet is made of."""

    trunk: DLAConfig = field(default_factory=DLAConfig)
    channels: int = 256
    """Of the pyramid, the towers and the embeddings."""
    num_convs: int = 4
    """Convolutions of a tower."""
    num_groups: int = 32
    """Of the towers' group norms."""
    mask_channels: int = 128
    masks: Masks = Masks.BLENDMASK
    levels: tuple[Level, ...] = HVIS_LEVELS

    def __post_init__(self) -> None:
        if self.channels % self.num_groups:
            raise ValueError(f"{self.channels} channels cannot be split into {self.num_groups} groups")
        if [level.stride for level in self.levels] != [8, 16, 32]:
            raise ValueError(f"levels must have strides 8, 16 and 32, got {self.levels}")

    @property
    def num_mask_parameters(self) -> int:
        """Numbers that each person's mask is made from."""
        return NUM_ATTENTION if self.masks is Masks.BLENDMASK else NUM_MASK_PARAMETERS

    @property
    def num_mask_features(self) -> int:
        """Channels of the map that all people's masks are made from."""
        return NUM_BASES if self.masks is Masks.BLENDMASK else MASK_CHANNELS

    @property
    def mask_stride(self) -> int:
        """Network pixels between two mask features."""
        return 4 if self.masks is Masks.BLENDMASK else 8


HVISNET = HVISNetConfig(trunk=DLA34)
HVISNET_REDUCED = HVISNetConfig(
    trunk=DLAConfig(widths=(8, 8, 16, 32, 48, 64)), channels=48, num_convs=2, num_groups=8, mask_channels=24
)
"""For clips of about a hundred pixels on one thread."""


class HVISOutputs(NamedTuple):
    """Head outputs at every location and pixel, before any selection."""

    person_logits: Tensor
    """[B, L]."""
    distances: Tensor
    """To the box sides, network pixels, [B, L, 4]."""
    centerness_logits: Tensor
    """[B, L]."""
    mask_parameters: Tensor
    """BlendMask's attention or CondInst's weights, [B, L, P]."""
    embeddings: Tensor
    """Not normalised, [B, L, D]."""
    mask_features: Tensor
    """BlendMask's bases, [B, 4, H/4, W/4], or CondInst's, [B, 8, H/8, W/8]."""


class HVISBackbone(nn.Module):
    """Trunk and pyramid."""

    def __init__(self, config: HVISNetConfig) -> None:
        super().__init__()
        self.trunk = DLA(config.trunk)
        self.pyramid = FPN(config.trunk.widths[3:], config.channels)

    def forward(self, image_BCHW: Tensor) -> list[Tensor]:
        """P3, P4 and P5 of an RGB image in [-1, 1]."""
        levels: list[Tensor] = self.pyramid(self.trunk(image_BCHW))
        return levels


class HVISHeads(nn.Module):
    """All heads on the pyramid."""

    def __init__(self, config: HVISNetConfig) -> None:
        super().__init__()
        channels = config.channels
        self.detection = FCOSHead(
            channels=channels,
            num_convs=config.num_convs,
            num_groups=config.num_groups,
            levels=config.levels,
        )
        self.mask_parameters = nn.Conv2d(channels, config.num_mask_parameters, 3, padding=1)
        nn.init.normal_(self.mask_parameters.weight, std=0.01)
        blended = config.masks is Masks.BLENDMASK
        self.mask_features = PyramidFeatures(
            in_channels=channels,
            channels=config.mask_channels,
            out_channels=config.num_mask_features,
            num_levels=len(config.levels),
            num_convs=3 if blended else 4,
            doubled=blended,
        )
        self.identity = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, levels: Sequence[Tensor]) -> HVISOutputs:
        """Dense outputs of a pyramid."""
        person, distances, centerness, box_features = self.detection(levels)
        return HVISOutputs(
            person,
            distances,
            centerness,
            flatten_levels([self.mask_parameters(box) for box in box_features]),
            flatten_levels([self.identity(level) for level in levels]),
            self.mask_features(levels),
        )


class HVISNet(nn.Module):
    """Backbone and heads, as they are trained."""

    def __init__(self, config: HVISNetConfig = HVISNET) -> None:
        super().__init__()
        self.config = config
        self.backbone = HVISBackbone(config)
        self.heads = HVISHeads(config)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1  # DLA's and BlendMask's

    def forward(self, image_BCHW: Tensor) -> HVISOutputs:
        """Dense outputs of RGB images in [-1, 1], height and width multiples of 32."""
        outputs: HVISOutputs = self.heads(self.backbone(image_BCHW))
        return outputs


def scores_of(outputs: HVISOutputs) -> Tensor:
    """sqrt(person x centerness) of every location, [B, L]."""
    return torch.sqrt(outputs.person_logits.sigmoid() * outputs.centerness_logits.sigmoid())
