"""ATEN: temporal encoding of key frames, and everything else propagated from them.

Shape suffixes: B batch, C channels, H and W image size, P parts.

Source: Zhou et al., MM 2018, section 4. The published forms are `ATEN_VIP` (ResNet-50, Parsing R-CNN) and
`ATEN_DAVIS` (ResNet-101, two classes, no instance branch); `ATEN_REDUCED` is the same code, narrower.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from torch import Tensor, nn

from partstream_models.networks.conv_gru import ConvGRU, MeanEncoder
from partstream_models.networks.conv_lstm import ConvLSTM
from partstream_models.networks.deeplab_v3_plus import DeepLabConfig, DeepLabV3Plus
from partstream_models.networks.flow_field import FlowField, propagate
from partstream_models.networks.flownet_s import FlowNetS
from partstream_models.networks.parsing_rcnn import GlobalParsing, ParsingRCNN, ParsingRCNNConfig, People
from partstream_models.networks.resnet import RESNET101, ResNetConfig
from partstream_models.networks.rpn import RPNConfig


class Encoder(StrEnum):
    """How features of key frames become one (section 5.4)."""

    GRU = "gru"
    LSTM = "lstm"
    MEAN = "mean"


@dataclass(frozen=True, kw_only=True, slots=True)
class ATENConfig:
    """The networks that ATEN is made of."""

    backbone: DeepLabConfig = field(default_factory=DeepLabConfig)
    heads: ParsingRCNNConfig = field(default_factory=ParsingRCNNConfig)
    encoder: Encoder = Encoder.GRU
    separable_gru: bool = False
    flow_width: float = 1.0
    """Channels of FlowNet-S against the published ones."""
    aligned: bool = True
    """Warp key frames before they are encoded; false is the ablation of section 5.4."""
    instances: bool = True
    """Whether there is an instance branch; the DAVIS variant has none."""

    def __post_init__(self) -> None:
        if self.heads.channels != self.backbone.channels:
            raise ValueError(
                f"the backbone gives {self.backbone.channels} channels, the heads take {self.heads.channels}"
            )


ATEN_VIP = ATENConfig()
ATEN_DAVIS = ATENConfig(
    backbone=DeepLabConfig(trunk=RESNET101), heads=ParsingRCNNConfig(num_classes=2), instances=False
)
ATEN_REDUCED = ATENConfig(
    backbone=DeepLabConfig(
        trunk=ResNetConfig(blocks=(1, 1, 1, 1), width=16), channels=32, low_channels=12, rates=(1, 2, 3)
    ),
    heads=ParsingRCNNConfig(
        channels=32,
        box_channels=64,
        rates=(1, 2, 4),
        num_regions=48,
        rpn=RPNConfig(scales=(24, 32, 48, 64, 96), channels=32, num_proposals=60, num_before_nms=300),
    ),
    flow_width=1 / 8,
)
"""For clips of about a hundred pixels on one thread."""


class FrameOutputs(NamedTuple):
    """Outputs of the heads for one feature map."""

    part_logits_BPHW: Tensor
    """At stride 4."""
    people: list[People] | None
    """Of each image; None without an instance branch."""


class ATEN(nn.Module):
    """The networks of ATEN; which frame runs which of them is decided outside."""

    def __init__(self, config: ATENConfig = ATEN_VIP) -> None:
        super().__init__()
        self.config = config
        channels = config.backbone.channels
        self.backbone = DeepLabV3Plus(config.backbone)
        self.flow = FlowNetS(scale_channels=channels, width=config.flow_width)
        self.encoder = _make_encoder(config)
        self.heads: ParsingRCNN | GlobalParsing
        if config.instances:
            self.heads = ParsingRCNN(config.heads)
        else:
            self.heads = GlobalParsing(
                in_channels=channels, num_classes=config.heads.num_classes, rates=config.heads.rates
            )

    def encode(
        self,
        image_B3HW: Tensor,
        feature_BCHW: Tensor,
        neighbours: Sequence[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """The encoded feature of a key frame (eqs. 3 and 4).

        Args:
            image_B3HW: The key frame.
            feature_BCHW: The backbone's feature of it.
            neighbours: Image and feature of other key frames, in time order.
        """
        warped = [
            self.propagate(image_B3HW, image, feature) if self.config.aligned else feature
            for image, feature in neighbours
        ]
        encoded: Tensor = self.encoder([*warped, feature_BCHW])
        return encoded

    def propagate(self, current_B3HW: Tensor, reference_B3HW: Tensor, feature_BCHW: Tensor) -> Tensor:
        """The reference's feature as the current frame would have it (eq. 6)."""
        field_: FlowField = self.flow(current_B3HW, reference_B3HW)
        return propagate(feature_BCHW, field_)

    def parse(self, feature_BCHW: Tensor) -> FrameOutputs:
        """Parts, and people if there is a branch for them."""
        if isinstance(self.heads, ParsingRCNN):
            return FrameOutputs(self.heads.parsing(feature_BCHW), self.heads.detect(feature_BCHW))
        return FrameOutputs(self.heads(feature_BCHW), None)

    def part_logits(self, feature_BCHW: Tensor) -> Tensor:
        """Parts alone, [B, P, H/4, W/4]."""
        parsing = self.heads.parsing if isinstance(self.heads, ParsingRCNN) else self.heads
        logits: Tensor = parsing(feature_BCHW)
        return logits


def _make_encoder(config: ATENConfig) -> nn.Module:
    channels = config.backbone.channels
    if config.encoder is Encoder.GRU:
        return ConvGRU(channels=channels, separable=config.separable_gru)
    if config.encoder is Encoder.LSTM:
        return ConvLSTM(channels=channels)
    return MeanEncoder()
