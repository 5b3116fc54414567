"""The live network: people, joints, parts, masks and identities.

MoveNet's trunk and pyramid, which keep the public weights, and a light top-down neck make the feature map F
(stride 8, 96 channels), which is all that a temporal path propagates. From F and a fresh stride-4 stem of the
current image (edges stay sharp where F is propagated) the heads compute detections (FCOS with inner-center
sampling), CondInst masks, identity embeddings and the parsing map. Joints come from MoveNet's own heads.

Shape suffixes: B batch, C channels, H and W network size (multiples of 32), L locations, K detections,
P parts.

Source: our small variant of HVISNet (one stage, identity branch, sampling) and ATEN (a parsing head on the
feature that is propagated), on MoveNet MultiPose's trunk.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.labels import NUM_PARTS
from partstream_models.networks.aspp import ASPP
from partstream_models.networks.checkpoints import load_tensors
from partstream_models.networks.condinst import MASK_CHANNELS, NUM_MASK_PARAMETERS
from partstream_models.networks.conv_gru import ConvGRUCell
from partstream_models.networks.fcos import LEVELS, all_locations, decode_boxes
from partstream_models.networks.identity import IdentityHead
from partstream_models.networks.layers import ConvNormAct, SeparableConv, SharedSeparableConv
from partstream_models.networks.light_flow import LightFlow
from partstream_models.networks.movenet import (
    MOVENET_TAP_CHANNELS,
    PYRAMID_CHANNELS,
    JointHeads,
    JointMaps,
    MoveNetTaps,
    MoveNetTrunk,
)

FEATURE_CHANNELS = 96
FEATURE_STRIDE = 8
STEM_CHANNELS = 32
FUSED_CHANNELS = 64
MASK_STRIDE = 4
"""Network pixels between two mask features."""


class DenseOutputs(NamedTuple):
    """Outputs of the heads at every location and pixel, before any selection."""

    person_logits: Tensor
    """[B, L]."""
    distances: Tensor
    """To the box sides, network pixels, [B, L, 4]."""
    centerness_logits: Tensor
    """[B, L]."""
    mask_parameters: Tensor
    """[B, L, 169]."""
    identity_map: Tensor
    """Its mean over a person's mask is that person's embedding, [B, 64, H/8, W/8]."""
    mask_features: Tensor
    """[B, 8, H/4, W/4]."""
    part_logits: Tensor
    """[B, P, H/4, W/4]."""


class Backbone(nn.Module):
    """Trunk, pyramid and neck: an image to the feature map F."""

    def __init__(self) -> None:
        super().__init__()
        channels, taps = FEATURE_CHANNELS, MOVENET_TAP_CHANNELS
        self.trunk = MoveNetTrunk().requires_grad_(False)
        self.context = ASPP(taps.stride32, channels, rates=(2, 4), separable=True)
        self.lateral16 = ConvNormAct(taps.stride16, channels, activation=False)
        self.lateral8 = ConvNormAct(taps.stride8, channels, activation=False)
        # two by two cells at stride 4 become one at stride 8: thin limbs and joints are not averaged away
        self.lateral4 = ConvNormAct(
            taps.stride4 + PYRAMID_CHANNELS, channels, kernel_size=2, stride=2, activation=False
        )
        self.refine16 = SeparableConv(channels, channels)
        self.refine8 = nn.Sequential(SeparableConv(channels, channels), SeparableConv(channels, channels))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """F, [B, 96, H/8, W/8], of an RGB image in [-1, 1]."""
        return self.merge(self.trunk(image_BCHW))

    def merge(self, features: MoveNetTaps) -> Tensor:
        """F of the trunk's and the pyramid's features."""
        taps, pyramid = features
        x = self.context(taps.stride32)
        x = self.refine16(double(x) + self.lateral16(taps.stride16))
        fine = self.lateral4(torch.cat([taps.stride4, pyramid], dim=1))
        feature: Tensor = self.refine8(double(x) + self.lateral8(taps.stride8) + fine)
        return feature


class DetectionHead(nn.Module):
    """Scores, boxes and mask parameters at three levels made from F."""

    def __init__(self) -> None:
        super().__init__()
        channels, num_levels = FEATURE_CHANNELS, len(LEVELS)
        self.down = nn.ModuleList(SeparableConv(channels, channels) for _ in range(num_levels - 1))
        self.score_tower = _tower(channels, num_levels)
        self.box_tower = _tower(channels, num_levels)
        self.person = nn.Conv2d(channels, 1, 1)
        self.distances = nn.Conv2d(channels, 4, 1)
        self.centerness = nn.Conv2d(channels, 1, 1)
        self.mask_parameters = nn.Conv2d(channels, NUM_MASK_PARAMETERS, 1)
        self.level_scale = nn.Parameter(torch.zeros(num_levels))
        nn.init.constant_(_bias(self.person), -4.6)  # focal loss: start at one per cent
        nn.init.constant_(_bias(self.distances), 1.0)
        nn.init.normal_(self.mask_parameters.weight, std=0.01)

    def forward(self, feature_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Person logits, distances, centerness logits and mask parameters, each [B, L, ...]."""
        rows: list[tuple[Tensor, ...]] = []
        x = feature_BCHW
        for number, level in enumerate(LEVELS):
            if number:
                x = self.down[number - 1](F.avg_pool2d(x, 2))
            score, box = x, x
            for layer in self.score_tower:
                score = layer(score, number)
            for layer in self.box_tower:
                box = layer(box, number)
            raw = self.distances(box) + self.level_scale[number]
            distances = raw.clamp(max=5.0).exp() * level.stride
            outputs = (
                self.person(score),
                distances,
                self.centerness(box),
                self.mask_parameters(box),
            )
            rows.append(tuple(output.flatten(2).transpose(1, 2) for output in outputs))
        person, distances, center, parameters = (
            torch.cat(column, dim=1) for column in zip(*rows, strict=True)
        )
        return person[..., 0], distances, center[..., 0], parameters


class ParsingHead(nn.Module):
    """Part logits at stride 4 from F and the fresh stem of the current image."""

    def __init__(self) -> None:
        super().__init__()
        channels = FEATURE_CHANNELS
        self.stem = nn.Sequential(
            ConvNormAct(3, 16, kernel_size=3, stride=2),
            ConvNormAct(16, STEM_CHANNELS, kernel_size=3, stride=2),
        )
        self.wide = nn.Sequential(*(SeparableConv(channels, channels) for _ in range(3)))
        self.near = nn.Sequential(SeparableConv(channels, channels), SeparableConv(channels, channels))
        fused = FUSED_CHANNELS
        self.reduce = ConvNormAct(channels, fused)
        self.fuse = nn.Sequential(SeparableConv(fused + STEM_CHANNELS, fused), SeparableConv(fused, fused))
        self.classify = nn.Conv2d(fused, NUM_PARTS, 1)

    def forward(self, feature_BCHW: Tensor, stem_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Part logits, [B, P, H/4, W/4], and what they are read from, [B, 64, H/4, W/4].

        Args:
            feature_BCHW: F.
            stem_BCHW: The stem's output, at stride 4.
        """
        wide = double(self.wide(F.avg_pool2d(feature_BCHW, 2)))
        x = double(self.reduce(self.near(feature_BCHW) + wide))
        fused: Tensor = self.fuse(torch.cat([x, stem_BCHW], dim=1))
        return self.classify(fused), fused


class Heads(nn.Module):
    """Detections, masks, identities and parts from F and the current image."""

    def __init__(self) -> None:
        super().__init__()
        channels = FEATURE_CHANNELS
        self.detection = DetectionHead()
        self.parsing = ParsingHead()
        self.identity = IdentityHead(channels, STEM_CHANNELS)
        self.masks = nn.Sequential(
            SeparableConv(FUSED_CHANNELS, STEM_CHANNELS), nn.Conv2d(STEM_CHANNELS, MASK_CHANNELS, 1)
        )

    def forward(self, feature_BCHW: Tensor, image_BCHW: Tensor) -> DenseOutputs:
        """Dense outputs of F and the image it belongs to."""
        person, distances, center, parameters = self.detection(feature_BCHW)
        stem = self.parsing.stem(image_BCHW)
        parts, fused = self.parsing(feature_BCHW, stem)
        identity = self.identity(feature_BCHW, stem, image_BCHW)
        masks = self.mask_features(feature_BCHW, fused)
        return DenseOutputs(person, distances, center, parameters, identity, masks, parts)

    def mask_features(self, feature_BCHW: Tensor, fused_BCHW: Tensor) -> Tensor:  # noqa: ARG002
        """Mask features, [B, 8, H/4, W/4], from what the parts are read from.

        Args:
            feature_BCHW: F; networks whose masks are coarser read it.
            fused_BCHW: At stride 4.
        """
        features: Tensor = self.masks(fused_BCHW)
        return features


class LiveTemporal(nn.Module):
    """Temporal path of F: flow with a scale map, and the encoder of key frames.

    h_k = GRU(F_k, propagate(h_{k-1})), h_0 = F_0: one step a key frame (ATEN, eqs. 4 and 6, made recurrent).
    """

    def __init__(self) -> None:
        super().__init__()
        self.flow = LightFlow(scale_channels=FEATURE_CHANNELS)
        self.encoder = ConvGRUCell(
            in_channels=FEATURE_CHANNELS, state_channels=FEATURE_CHANNELS, separable=True, anchored=True
        )


class LiveNetwork(nn.Module):
    """Backbone, heads and, if asked for, the temporal path, as they are trained."""

    mask_stride = MASK_STRIDE
    """Network pixels between two mask features."""

    def __init__(self, *, temporal: bool = False) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.joints: JointHeads | None = JointHeads().requires_grad_(False)
        self.heads = Heads()
        self.temporal = LiveTemporal() if temporal else None

    def forward(self, image_BCHW: Tensor, features: MoveNetTaps | None = None) -> DenseOutputs:
        """Dense outputs of images.

        Args:
            image_BCHW: RGB in [-1, 1], height and width multiples of 32.
            features: The trunk's features of the images, where they have been computed already.
        """
        if features is None:
            features = self.backbone.trunk(image_BCHW)
        outputs: DenseOutputs = self.heads(self.backbone.merge(features), image_BCHW)
        return outputs

    def feature_and_joints(self, image_BCHW: Tensor) -> tuple[Tensor, JointMaps]:
        """F and the joint maps of RGB images in [-1, 1]."""
        assert self.joints is not None, "the network has no joints"
        features = self.backbone.trunk(image_BCHW)
        return self.backbone.merge(features), self.joints(features.pyramid)

    def load_pretrained(self, path: Path) -> None:
        """Take trunk, pyramid and joint heads from the public MoveNet MultiPose.

        Raises:
            ValueError: The file is missing, damaged or of another network.
        """
        assert self.joints is not None, "the network has no joints"
        self.backbone.trunk.load_pretrained(path)
        self.joints.load_pretrained(path)


def has_temporal(checkpoint: Path) -> bool:
    """Whether a checkpoint holds a temporal path.

    Raises:
        ValueError: The file is missing or is no checkpoint.
    """
    tensors, _ = load_tensors(checkpoint)
    return any(name.startswith("temporal.") for name in tensors)


class SelectedOutputs(NamedTuple):
    """The best K detections of each image, and its maps: what leaves the `heads` graph of a bundle."""

    boxes: Tensor
    scores: Tensor
    locations: Tensor
    mask_parameters: Tensor
    identity_map: Tensor
    mask_features: Tensor
    part_probabilities: Tensor


def select(dense: DenseOutputs, image_BCHW: Tensor, *, top_k: int) -> SelectedOutputs:
    """The K best-scored locations, best first; fewer locations than K are padded with score 0."""
    height, width = image_BCHW.shape[-2:]
    locations_L3, _ = all_locations(height, width, device=image_BCHW.device)
    scores_BL = (dense.person_logits.sigmoid() * dense.centerness_logits.sigmoid()).sqrt()
    boxes_BL4 = decode_boxes(locations_L3, dense.distances)
    rows = torch.cat(
        [
            boxes_BL4,
            scores_BL[..., None],
            locations_L3.expand(scores_BL.shape[0], -1, -1),
            dense.mask_parameters,
        ],
        dim=-1,
    )
    rows, scores_BL = F.pad(rows, (0, 0, 0, top_k)), F.pad(scores_BL, (0, top_k))
    _, best_BK = scores_BL.topk(top_k, dim=1)
    chosen = rows.gather(1, best_BK[..., None].expand(-1, -1, rows.shape[-1]))
    boxes, scores, locations, parameters = torch.split(chosen, [4, 1, 3, NUM_MASK_PARAMETERS], dim=-1)
    probabilities = dense.part_logits.softmax(dim=1)
    locations = locations.clamp(min=1e-3)  # padding rows must not divide by a range of zero
    return SelectedOutputs(
        boxes, scores[..., 0], locations, parameters, dense.identity_map, dense.mask_features, probabilities
    )


def double(x_BCHW: Tensor) -> Tensor:
    """The map at twice its size, bilinear."""
    return F.interpolate(x_BCHW, scale_factor=2.0, mode="bilinear", align_corners=False)


def _tower(channels: int, num_levels: int) -> nn.ModuleList:
    return nn.ModuleList(SharedSeparableConv(channels, num_levels=num_levels) for _ in range(2))


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
