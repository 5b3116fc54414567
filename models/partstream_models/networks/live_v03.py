"""The live network of bundle 0.3: on a MobileNetV2 that started from the VOC DeepLab.

It has no joints, and its mask features are at stride 8. The weights that ship are of this network until a
training of the present one is better; it can be exported and compared, and is not trained any further.

Shape suffixes: B batch, C channels, H and W network size (multiples of 32).
"""

from pathlib import Path

from torch import Tensor, nn

from partstream_models.networks.aspp import ASPP
from partstream_models.networks.checkpoints import load_network, load_tensors
from partstream_models.networks.condinst import MASK_CHANNELS
from partstream_models.networks.layers import ConvNormAct, SeparableConv
from partstream_models.networks.live import (
    FEATURE_CHANNELS,
    FEATURE_STRIDE,
    Heads,
    LiveNetwork,
    double,
    has_temporal,
)
from partstream_models.networks.mobilenet_v2 import TAP_CHANNELS, MobileNetV2


class MobileNetBackbone(nn.Module):
    """Trunk and neck: an image to the feature map F."""

    def __init__(self) -> None:
        super().__init__()
        channels = FEATURE_CHANNELS
        self.trunk = MobileNetV2()
        self.context = ASPP(TAP_CHANNELS.stride32, channels, rates=(2, 4), separable=True)
        self.lateral16 = ConvNormAct(TAP_CHANNELS.stride16, channels, activation=False)
        self.lateral8 = ConvNormAct(TAP_CHANNELS.stride8, channels, activation=False)
        self.refine16 = SeparableConv(channels, channels)
        self.refine8 = nn.Sequential(SeparableConv(channels, channels), SeparableConv(channels, channels))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """F, [B, 96, H/8, W/8], of an RGB image in [-1, 1]."""
        taps = self.trunk(image_BCHW)
        x = self.context(taps.stride32)
        x = self.refine16(double(x) + self.lateral16(taps.stride16))
        feature: Tensor = self.refine8(double(x) + self.lateral8(taps.stride8))
        return feature


class HeadsV03(Heads):
    """Heads whose mask features are read from F."""

    def __init__(self) -> None:
        super().__init__()
        channels = FEATURE_CHANNELS
        self.masks = nn.Sequential(
            SeparableConv(channels, channels),
            SeparableConv(channels, channels),
            nn.Conv2d(channels, MASK_CHANNELS, 1),
        )

    def mask_features(self, feature_BCHW: Tensor, fused_BCHW: Tensor) -> Tensor:  # noqa: ARG002
        """Mask features, [B, 8, H/8, W/8]."""
        features: Tensor = self.masks(feature_BCHW)
        return features


class LiveNetworkV03(LiveNetwork):
    """Backbone, heads and, if asked for, the temporal path."""

    mask_stride = FEATURE_STRIDE

    def __init__(self, *, temporal: bool = False) -> None:
        super().__init__(temporal=temporal)
        self.backbone = MobileNetBackbone()  # type: ignore[assignment]
        self.heads = HeadsV03()
        self.joints = None


def load_live(checkpoint: Path) -> LiveNetwork:
    """The live network of a checkpoint, of either kind.

    Raises:
        ValueError: The file is missing, is no checkpoint, or is of another network.
    """
    tensors, _ = load_tensors(checkpoint)
    is_present = any(name.startswith("joints.") for name in tensors)
    kind = LiveNetwork if is_present else LiveNetworkV03
    network = kind(temporal=has_temporal(checkpoint))
    load_network(network, checkpoint)
    return network
