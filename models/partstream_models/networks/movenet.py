"""MoveNet MultiPose Lightning: people and their 17 joints.

A MobileNetV2 of width 1.5 with batch norm folded in, a feature pyramid from stride 32 to stride 4, and
CenterNet heads at stride 4. The weights come from the public model; `movenet_decode` turns what the heads
give into people. The live network takes its trunk, its pyramid and its joint heads from here.

Shape suffixes: B batch, C channels, H and W input size (multiples of 32), h and w the size at stride 4.

Source: Google, MoveNet MultiPose Lightning (Apache-2.0); Zhou et al., Objects as Points, 2019.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.mobilenet_v2 import InvertedResidual, SameConv, TapChannels, Taps

NUM_JOINTS = 17
STRIDE = 4
"""Network pixels between two cells of the pyramid's feature and of the heads."""
PYRAMID_CHANNELS = 24
MOVENET_TAP_CHANNELS = TapChannels(40, 48, 144, 1280)

_STEM_CHANNELS = 48
_STAGES = (
    (1, 24, 1, 1), (6, 40, 2, 2), (6, 48, 3, 2), (6, 96, 4, 2), (6, 144, 3, 1), (6, 240, 3, 2),
    (6, 480, 1, 1),
)  # fmt: skip
"""Expansion, channels, blocks and stride of each stage."""
_TAP_BLOCKS = (2, 5, 12)
_PYRAMID_BLOCK = 9
"""The pyramid's lateral at stride 16 reads this block, the last of 96 channels."""
_LAST_CHANNELS = 1280
_HEAD_CHANNELS = 96
_NET = "center_net_mobile_net_v2fpn_feature_extractor/model_1"


class MoveNetTaps(NamedTuple):
    """Features of an image [B, 3, H, W]."""

    trunk: Taps
    """At strides 4, 8, 16 and 32: 40, 48, 144 and 1280 channels."""
    pyramid: Tensor
    """What the heads read, [B, 24, H/4, W/4]."""


class JointMaps(NamedTuple):
    """Person centers and joints at stride 4."""

    centers: Tensor
    """Heat map of person centers after the sigmoid, [B, 1, h, w]."""
    heatmaps: Tensor
    """Heat map of each joint after the sigmoid, [B, 17, h, w]."""
    regression: Tensor
    """Each joint of the person whose center is in a cell, relative to the cell, in cells: channel 2j is y and
    2j + 1 is x, [B, 34, h, w]."""
    offsets: Tensor
    """Place of a joint inside the cell of its peak, in cells, y and x as above, [B, 34, h, w]."""


class MoveNetTrunk(nn.Module):
    """Trunk and pyramid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM_CHANNELS, stride=2)
        channels = _STEM_CHANNELS
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
        self.last = nn.Conv2d(channels, _LAST_CHANNELS, 1)
        self.laterals = nn.ModuleList(
            nn.Conv2d(given, taken, 1)
            for given, taken in ((_LAST_CHANNELS, 64), (96, 64), (48, 32), (40, 24))
        )
        self.merges = nn.ModuleList(
            _Separable(given, taken) for given, taken in ((64, 32), (32, 24), (24, PYRAMID_CHANNELS))
        )

    def forward(self, image_BCHW: Tensor) -> MoveNetTaps:
        """Features of an RGB image in [-1, 1]."""
        x = F.relu6(self.stem(image_BCHW))
        taps, merged = [], []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _TAP_BLOCKS:
                taps.append(x)
            if index == _PYRAMID_BLOCK:
                merged.append(x)
        top = F.relu6(self.last(x))
        y: Tensor = self.laterals[0](top)
        for lateral, merge, below in zip(
            self.laterals[1:], self.merges, (merged[0], taps[1], taps[0]), strict=True
        ):
            up = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
            y = merge(up + lateral(below))
        return MoveNetTaps(Taps(taps[0], taps[1], taps[2], top), y)

    def train_last(self, num_blocks: int) -> None:
        """Let only the last blocks learn; the pyramid keeps its weights.

        Raises:
            ValueError: There are fewer blocks.
        """
        if not 0 <= num_blocks <= len(self.blocks):
            raise ValueError(f"the trunk has {len(self.blocks)} blocks, asked to train {num_blocks}")
        self.requires_grad_(False)
        for block in self.blocks[len(self.blocks) - num_blocks :]:
            block.requires_grad_(True)
        self.last.requires_grad_(num_blocks > 0)
        self.stem.requires_grad_(num_blocks == len(self.blocks))

    def load_pretrained(self, path: Path) -> None:
        """Take the trunk's and the pyramid's weights from the public model's file.

        Raises:
            ValueError: The file is missing, damaged or of another network.
        """
        names = {f"{_NET}/model/Conv1/Conv2D": self.stem, f"{_NET}/model/Conv_1/Conv2D": self.last}
        for index, block in enumerate(self.blocks):
            prefix = f"{_NET}/model/{f'block_{index}' if index else 'expanded_conv'}"
            assert isinstance(block, InvertedResidual)
            if block.expand is not None:
                names[f"{prefix}_expand/Conv2D"] = block.expand
            names[f"{prefix}_depthwise/depthwise"] = block.depthwise
            names[f"{prefix}_project/Conv2D"] = block.project
        given = read_movenet(path)
        for name, module in names.items():
            _fill(module, given, path, f"{name}_weights", f"{name}_bn_offset")
        for index, lateral in enumerate(self.laterals):
            name = f"{_NET}/conv2d{f'_{index}' if index else ''}"
            _fill(lateral, given, path, f"{name}/Conv2D/ReadVariableOp", f"{name}/BiasAdd/ReadVariableOp")
        for index, merge in enumerate(self.merges):
            assert isinstance(merge, _Separable)
            name = f"{_NET}/separable_conv2d{f'_{index}' if index else ''}/separable_conv2d"
            _fill(merge.depthwise, given, path, f"{name}/ReadVariableOp", None)
            _fill(merge.pointwise, given, path, f"{name}_weights", f"{name}_bn_offset")


class JointHeads(nn.Module):
    """Person centers and joints from the pyramid's feature."""

    def __init__(self) -> None:
        super().__init__()
        self.centers = _Head(1)
        self.heatmaps = _Head(NUM_JOINTS)
        self.regression = _Head(2 * NUM_JOINTS)
        self.offsets = _Head(2 * NUM_JOINTS)

    def forward(self, pyramid_BCHW: Tensor) -> JointMaps:
        """Maps of the pyramid's feature, [B, 24, h, w]."""
        return JointMaps(
            self.centers(pyramid_BCHW).sigmoid(),
            self.heatmaps(pyramid_BCHW).sigmoid(),
            self.regression(pyramid_BCHW),
            self.offsets(pyramid_BCHW),
        )

    def load_pretrained(self, path: Path) -> None:
        """Take the heads' weights from the public model's file.

        Raises:
            ValueError: The file is missing, damaged or of another network.
        """
        given = read_movenet(path)
        for head, name, first in (
            (self.centers, "center_0", 3),
            (self.heatmaps, "kpt_heatmap_0", 6),
            (self.regression, "kpt_regress_0", 7),
            (self.offsets, "kpt_offset_0", 8),
        ):
            head.load(given, path, name, first)


class MoveNet(nn.Module):
    """The whole public network: trunk, pyramid, joint heads and box heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = MoveNetTrunk()
        self.joints = JointHeads()
        self.box_scale = _Head(2)
        self.box_offset = _Head(2)

    def forward(self, image_BCHW: Tensor) -> tuple[JointMaps, Tensor, Tensor]:
        """Joint maps, box sizes and offsets of box centers, of an RGB image in [-1, 1].

        Sizes and offsets are y, x in cells, [B, 2, h, w].
        """
        pyramid = self.trunk(image_BCHW).pyramid
        return self.joints(pyramid), self.box_scale(pyramid), self.box_offset(pyramid)

    def load_pretrained(self, path: Path) -> None:
        """Take all weights from the public model's file.

        Raises:
            ValueError: The file is missing, damaged or of another network.
        """
        self.trunk.load_pretrained(path)
        self.joints.load_pretrained(path)
        given = read_movenet(path)
        self.box_scale.load(given, path, "box_scale_0", 4)
        self.box_offset.load(given, path, "box_offset_0", 5)


def read_movenet(path: Path) -> Mapping[str, npt.NDArray[np.float32]]:
    """The public model's arrays by the graph's names, as float32.

    Raises:
        ValueError: The file is missing or damaged.
    """
    if not path.is_file():
        raise ValueError(f"no pretrained weights at {path}")
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            return {name: file[name].astype(np.float32) for name in file.files if file[name].ndim}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise ValueError(f"{path} is not a file of NumPy arrays: {error}") from error


class _Separable(nn.Module):
    """A depthwise 3x3 convolution without bias, a pointwise one, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y: Tensor = F.relu(self.pointwise(self.depthwise(x_BCHW)))
        return y


class _Head(nn.Module):
    """A separable convolution to 96 channels and a pointwise one."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.features = _Separable(PYRAMID_CHANNELS, _HEAD_CHANNELS)
        self.output = nn.Conv2d(_HEAD_CHANNELS, out_channels, 1)

    def forward(self, pyramid_BCHW: Tensor) -> Tensor:
        y: Tensor = self.output(self.features(pyramid_BCHW))
        return y

    def load(self, given: Mapping[str, npt.NDArray[np.float32]], path: Path, name: str, first: int) -> None:
        """Fill from the graph's head of that name, whose layers are numbered from `first`."""
        separable = f"{name}/separable_conv2d_{first}"
        _fill(self.features.depthwise, given, path, f"{separable}/separable_conv2d/ReadVariableOp", None)
        _fill(
            self.features.pointwise, given, path,
            f"{separable}/separable_conv2d/ReadVariableOp_1", f"{separable}/BiasAdd/ReadVariableOp",
        )  # fmt: skip
        last = f"{name}/conv2d_{first + 1}"
        _fill(self.output, given, path, f"{last}/Conv2D/ReadVariableOp", f"{last}/BiasAdd/ReadVariableOp")


def _fill(
    module: nn.Module,
    given: Mapping[str, npt.NDArray[np.float32]],
    path: Path,
    weight_name: str,
    bias_name: str | None,
) -> None:
    """Copy a convolution's weight, [kh, kw, in, out] or depthwise [kh, kw, in, 1], and its bias."""
    assert isinstance(module, nn.Conv2d)
    for name in (weight_name, bias_name):
        if name is not None and name not in given:
            raise ValueError(f"{path} is not MoveNet MultiPose: it has no {name}")
    depthwise = module.groups > 1
    weight = torch.from_numpy(
        given[weight_name].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)).copy()
    )
    if weight.shape != module.weight.shape:
        raise ValueError(
            f"{path}: {weight_name} is {tuple(weight.shape)}, expected {tuple(module.weight.shape)}"
        )
    module.weight.data.copy_(weight)
    if bias_name is not None:
        assert module.bias is not None
        module.bias.data.copy_(torch.from_numpy(given[bias_name]))
