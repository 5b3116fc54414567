"""DyeNet: re-identification and recurrent mask propagation on one feature map.

The paper leaves open, and this file chooses:
- how the recurrent function reads the hidden state and the feature of a box: concatenated, through a 1x1
  convolution to the channels that conv5 takes;
- the hidden state at a starting point, which has no history: a 1x1 convolution of the box's feature where the
  mask is, of the same feature where it is not, and of the mask;
- the kernel of the one attention convolution (3x3) and of the three output convolutions (3x3, 3x3, 1x1; 256
  channels);
- the scale of the attention: a softmax over m x m sums to one, so a state that is multiplied by it is m * m
  times smaller on average; it is multiplied by m * m as well.

With `two_streams` (the challenge's addition, section 3) a second trunk reads the flow as an image, and the
features of both are added. Box-normalised input, the other addition, is a matter of what is shown to the
network: `networks.dyenet_boxes.normalised_patch`.

Shape suffixes: B batch, R regions (boxes of all images), C channels of the trunk, D channels of the hidden
state, E channels of an embedding, H and W image size, h and w feature size (stride 8), m cells a side of a
box.

Source: Li and Loy, Video Object Segmentation with Joint Re-identification and Attention-Aware Mask
Propagation (ECCV 2018; DAVIS challenge 2018), section 2, eqs. 1 and 2.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.resnet import (
    EXPANSION,
    RESNET101,
    Bottleneck,
    FrozenBatchNorm,
    ResNet,
    ResNetConfig,
    imagenet_normalised,
)
from partstream_models.networks.roi_align import roi_align

FEATURE_STRIDE = 8
"""Image pixels between two features: res4 is dilated instead of strided."""
CELLS = 28
"""Cells a side of a box (m)."""
EMBEDDING_CHANNELS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class DyeNetConfig:
    """The networks that DyeNet is made of."""

    trunk: ResNetConfig = field(default_factory=lambda: RESNET101)
    cells: int = CELLS
    embedding_channels: int = EMBEDDING_CHANNELS
    output_channels: int = 256
    attention: bool = True
    """Region attention; false is the ablation of table 1."""
    two_streams: bool = False
    """A second trunk for the flow."""

    def __post_init__(self) -> None:
        if self.cells < 2 or self.cells % 2:
            raise ValueError(f"cells must be even and at least 2, got {self.cells}")
        if min(self.embedding_channels, self.output_channels) < 1:
            raise ValueError(
                f"channels must be positive, got {self.embedding_channels} and {self.output_channels}"
            )

    @property
    def feature_channels(self) -> int:
        """Channels of the feature map (res4)."""
        return self.trunk.width * 4 * EXPANSION

    @property
    def state_channels(self) -> int:
        """Channels of the hidden state (res5)."""
        return self.trunk.out_channels


DYENET = DyeNetConfig()
DYENET_REDUCED = DyeNetConfig(
    trunk=ResNetConfig(blocks=(1, 1, 2, 1), width=8), embedding_channels=64, output_channels=32
)
"""Narrow and shallow, for one thread."""


class Candidates(NamedTuple):
    """What the Re-ID module says of each box."""

    mask_logits_Rmm: Tensor
    """Of the main object of the box."""
    embeddings_RE: Tensor
    """Of length one."""


class Propagated(NamedTuple):
    """One step of the Re-MP module."""

    state_RDmm: Tensor
    mask_logits_Rmm: Tensor
    attention_Rmm: Tensor
    """Sums to one over the cells of a box; equal everywhere where the network has no attention."""


def conv5(config: ResNetConfig, *, stride: int) -> nn.Sequential:
    """The last stage of a ResNet: strided as published, or at stride 1 with dilation 2."""
    channels, rows = config.width * 8, []
    in_channels = config.width * 4 * EXPANSION
    for number in range(config.blocks[3]):
        first = stride if number == 0 else 1
        strides = (1, first) if config.stride_on_3x3 else (first, 1)
        dilation = 2 if stride == 1 and number else 1
        rows.append(Bottleneck(in_channels, channels, strides=strides, dilation=dilation))
        in_channels = channels * EXPANSION
    return nn.Sequential(*rows)


class FeatureNetwork(nn.Module):
    """conv1 to conv4_x of a ResNet at stride 8: res4 keeps the resolution of res3 and is dilated."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.stem_conv = nn.Conv2d(3, config.width, 7, 2, 3, bias=False)
        self.stem_norm = FrozenBatchNorm(config.width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        in_channels, stages = config.width, []
        for index, (num_blocks, stride) in enumerate(zip(config.blocks[:3], (1, 2, 1), strict=True)):
            channels, rows = config.width * 2**index, []
            for number in range(num_blocks):
                first = stride if number == 0 else 1
                strides = (1, first) if config.stride_on_3x3 else (first, 1)
                dilation = 2 if index == 2 and number else 1
                rows.append(Bottleneck(in_channels, channels, strides=strides, dilation=dilation))
                in_channels = channels * EXPANSION
            stages.append(nn.Sequential(*rows))
        self.stages = nn.ModuleList(stages)

    def forward(self, normalised_BCHW: Tensor) -> Tensor:
        """The feature map, [B, C, H/8, W/8], of a normalised image."""
        x: Tensor = self.pool(self.stem_norm(self.stem_conv(normalised_BCHW)).relu())
        for stage in self.stages:
            x = stage(x)
        return x


class ReIdentification(nn.Module):
    """The Re-ID module: a mask and an embedding of each box (section 2.1)."""

    def __init__(self, config: DyeNetConfig) -> None:
        super().__init__()
        self.mask = nn.Sequential(conv5(config.trunk, stride=1), nn.Conv2d(config.state_channels, 1, 1))
        self.appearance = conv5(config.trunk, stride=2)
        self.project = nn.Linear(config.state_channels, config.embedding_channels)

    def forward(self, region_RCmm: Tensor) -> Candidates:
        """Masks and embeddings of the features of boxes."""
        appearance = self.appearance(region_RCmm).mean(dim=(2, 3))
        return Candidates(self.mask(region_RCmm)[:, 0], F.normalize(self.project(appearance), dim=1))


class MaskPropagation(nn.Module):
    """The Re-MP module: the recurrent function, region attention and output function (section 2.2)."""

    def __init__(self, config: DyeNetConfig) -> None:
        super().__init__()
        channels, state = config.feature_channels, config.state_channels
        self.start = nn.Conv2d(2 * channels + 1, state, 1)
        self.join = nn.Conv2d(channels + state, channels, 1)
        self.recurrent = conv5(config.trunk, stride=1)
        self.attend = nn.Conv2d(state, 1, 3, padding=1) if config.attention else None
        width = config.output_channels
        self.output = nn.Sequential(
            nn.Conv2d(state, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, 1, 1),
        )  # fmt: skip

    def start_state(self, region_RCmm: Tensor, mask_Rmm: Tensor) -> Tensor:
        """The hidden state at starting points, [R, D, m, m].

        Args:
            region_RCmm: Features of the boxes.
            mask_Rmm: Share of each cell that the target covers, 0..1.
        """
        mask = mask_Rmm[:, None].to(region_RCmm.dtype)
        history = self.start(torch.cat([region_RCmm * mask, region_RCmm * (1 - mask), mask], dim=1)).relu()
        return self._recur(history, region_RCmm)

    def forward(self, warped_RDmm: Tensor, region_RCmm: Tensor) -> Propagated:
        """One step (eqs. 1 and 2).

        Args:
            warped_RDmm: The former hidden state, warped into the box of the current frame.
            region_RCmm: Features of that box in the current frame.
        """
        state = self._recur(warped_RDmm, region_RCmm)
        num_cells = state.shape[-2] * state.shape[-1]
        if self.attend is None:
            attention = state.new_full((len(state), 1, *state.shape[-2:]), 1 / max(num_cells, 1))
        else:
            scores = self.attend(warped_RDmm).float()
            attention = scores.flatten(1).softmax(dim=1).reshape(scores.shape).to(state.dtype)
        focused = state * (attention * num_cells)
        return Propagated(state, self.output(focused)[:, 0], attention[:, 0])

    def _recur(self, history_RDmm: Tensor, region_RCmm: Tensor) -> Tensor:
        joined = self.join(torch.cat([region_RCmm, history_RDmm], dim=1)).relu()
        state: Tensor = self.recurrent(joined)
        return state


class DyeNet(nn.Module):
    """Features, Re-ID and Re-MP; it holds no state: hidden states and templates are the caller's."""

    def __init__(self, config: DyeNetConfig = DYENET) -> None:
        super().__init__()
        self.config = config
        self.trunk = FeatureNetwork(config.trunk)
        self.flow_trunk = FeatureNetwork(config.trunk) if config.two_streams else None
        self.identify = ReIdentification(config)
        self.propagate = MaskPropagation(config)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, image_BCHW: Tensor, flow_image_BCHW: Tensor | None = None) -> Tensor:
        """The feature map, [B, C, H/8, W/8].

        Args:
            image_BCHW: RGB in [-1, 1]; sides are multiples of 8.
            flow_image_BCHW: Flow as an image (`dyenet_boxes.flow_image`), for a network with two streams.

        Raises:
            ValueError: The network has two streams and no flow was given, or the other way round.
        """
        if (flow_image_BCHW is None) != (self.flow_trunk is None):
            streams = "two streams" if self.flow_trunk is not None else "one stream"
            raise ValueError(
                f"the network has {streams}: flow {'missing' if flow_image_BCHW is None else 'given'}"
            )
        feature: Tensor = self.trunk(imagenet_normalised(image_BCHW))
        return feature if self.flow_trunk is None else feature + self.flow_trunk(flow_image_BCHW)

    def regions(self, feature_BChw: Tensor, boxes_R4: Tensor, batch_index_R: Tensor) -> Tensor:
        """Features of boxes (xyxy, image pixels), [R, C, m, m]."""
        return roi_align(feature_BChw, boxes_R4, batch_index_R, size=self.config.cells, stride=FEATURE_STRIDE)

    def start_from(self, resnet: ResNet) -> None:
        """Take a ResNet's weights: its first three stages, and its last one for all three copies of conv5.

        Raises:
            ValueError: It is another ResNet than the trunk.
        """
        if resnet.config != self.config.trunk:
            raise ValueError(f"the trunk is {self.config.trunk}, the weights are of {resnet.config}")
        given = resnet.state_dict()
        first = {name: value for name, value in given.items() if not name.startswith("stages.3.")}
        last = {
            name.removeprefix("stages.3."): value
            for name, value in given.items()
            if name.startswith("stages.3.")
        }
        self.trunk.load_state_dict(first)
        for stage in (self.identify.mask[0], self.identify.appearance, self.propagate.recurrent):
            stage.load_state_dict(last)
