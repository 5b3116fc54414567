"""The Seg Module and the Pose2Seg Module: DeepLabV3+ over pictures, or over pictures and skeletons.

Shape suffixes: B batch, T frames, N people, J joints, C classes, S skeleton channels (18), H height, W
width.

Source: "A Self-Supervised Framework for Human Instance Segmentation", sections 3.1, 3.4 and 4.1. Its trunk
is Xception-71, ours ResNet: there are no weights of the former here. "The concatenation of RGB images and
skeleton predictions" does not say how skeletons are drawn; ours are one channel of discs a joint and one of
all bones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.joints import NUM_JOINTS, SKELETON
from partstream_core.labels import VOID
from partstream_models.networks.deeplab_v3_plus import DeepLabConfig, DeepLabV3Plus
from partstream_models.networks.resnet import ResNetConfig

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

SKELETON_CHANNELS = NUM_JOINTS + 1
LIGHT = DeepLabConfig(
    trunk=ResNetConfig(blocks=(1, 1, 1, 1), width=16), channels=32, low_channels=16, rates=(1, 2, 3)
)
"""A narrow network for one thread."""


class SegNetwork(nn.Module):
    """DeepLabV3+ with a classifier; activations at the picture's size."""

    def __init__(
        self, *, num_classes: int, config: DeepLabConfig | None = None, extra_channels: int = 0
    ) -> None:
        super().__init__()
        config = config or DeepLabConfig()
        config = replace(config, trunk=replace(config.trunk, extra_channels=extra_channels))
        self.feature = DeepLabV3Plus(config)
        self.classifier = nn.Conv2d(config.channels, num_classes, 1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Activations before the softmax, [B, C, H, W]; RGB is in [-1, 1], extra channels follow."""
        logits = self.classifier(self.feature(image_BCHW))
        return F.interpolate(logits, size=image_BCHW.shape[-2:], mode="bilinear", align_corners=False)


def pose2seg_network(*, num_classes: int, config: DeepLabConfig | None = None) -> SegNetwork:
    """The Pose2Seg Module's network: as the Seg Module's, but for the input layer."""
    return SegNetwork(num_classes=num_classes, config=config, extra_channels=SKELETON_CHANNELS)


def draw_skeletons(people_NJ3: Float32Array, size: tuple[int, int], *, least_score: float) -> Float32Array:
    """Skeletons of a frame's people, [S, H, W], 0..1: a disc a joint, then all bones.

    Joints below the score, and bones that end in one, are not drawn.

    Args:
        people_NJ3: x, y in pixels and score.
        size: Height and width.
        least_score: Of joints that are drawn.
    """
    drawn = np.zeros((SKELETON_CHANNELS, *size), np.float32)
    radius = max(round(max(size) / 64), 1)
    for person in people_NJ3:
        visible = person[:, 2] >= least_score
        places = [(round(float(x)), round(float(y))) for x, y in person[:, :2].clip(-1e4, 1e4)]
        for joint in np.flatnonzero(visible).tolist():
            cv2.circle(drawn[joint], places[joint], radius, 1.0, -1)
        for first, second in SKELETON:
            if visible[first] and visible[second]:
                cv2.line(drawn[-1], places[first], places[second], 1.0, radius)
    return drawn


def to_tensor(images_THWC: UInt8Array) -> Tensor:
    """Pictures as the networks take them, [T, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images_THWC)).permute(0, 3, 1, 2).float() / 127.5 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """How a network learns pseudo labels."""

    num_steps: int = 20
    batch: int = 4
    rate: float = 1e-3
    replay: float = 1.0
    """Weight of the loss on labelled pictures that are replayed beside the new ones."""

    def __post_init__(self) -> None:
        if self.num_steps < 0 or self.batch < 1:
            raise ValueError(f"cannot train {self.num_steps} steps of {self.batch}")


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Labelled input of a network."""

    input_BCHW: Tensor
    labels_BHW: UInt8Array


class TunedNetwork:
    """A network that segments frames and learns from them, with labelled pictures replayed.

    The paper trains on "the combination of the benchmark datasets and the refined segmentation results".

    Args:
        network: Its weights change.
        config: How it learns.
        generator: Draws batches.
        replay: Labelled input; nothing is replayed where None.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TuneConfig,
        generator: np.random.Generator,
        replay: Labelled | None = None,
    ) -> None:
        self.network, self._config, self._rng, self._replay = network, config, generator, replay

    @torch.inference_mode()
    def infer(self, input_TCHW: Tensor) -> Tensor:
        """Activations before the softmax, [T, C, H, W]."""
        self.network.eval()
        return torch.cat([self.network(each) for each in torch.split(input_TCHW, self._config.batch)])

    def learn(self, input_TCHW: Tensor, labels_THW: UInt8Array) -> None:
        """Learn labels by cross-entropy; 255 is void."""
        self.network.train()
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=self._config.rate)
        labels = torch.from_numpy(labels_THW.astype(np.int64))
        for _ in range(self._config.num_steps):
            rows = torch.from_numpy(self._rng.integers(len(labels), size=self._config.batch))
            loss = _loss(self.network(input_TCHW[rows]), labels[rows])
            if self._replay is not None:
                kept = self._rng.integers(len(self._replay.labels_BHW), size=self._config.batch)
                truth = torch.from_numpy(self._replay.labels_BHW[kept].astype(np.int64))
                old = self.network(self._replay.input_BCHW[torch.from_numpy(kept)])
                loss = loss + self._config.replay * _loss(old, truth)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


class Segmenter(TunedNetwork):
    """The Seg Module."""

    def activations(self, images_THWC: UInt8Array) -> Tensor:
        """Activations before the softmax, [T, C, H, W]."""
        return self.infer(to_tensor(images_THWC))

    def fine_tune(self, images_THWC: UInt8Array, labels_THW: UInt8Array) -> None:
        """Learn the labels of these pictures; 255 is void."""
        self.learn(to_tensor(images_THWC), labels_THW)


class PoseSegmenter(TunedNetwork):
    """The Pose2Seg Module."""

    least_score = 0.3
    """Of joints that are drawn."""

    def activations(self, images_THWC: UInt8Array, people: Sequence[Float32Array]) -> Tensor:
        """Activations before the softmax, [T, C, H, W], of pictures and each one's people [N, J, 3]."""
        return self.infer(self.input_of(images_THWC, people))

    def fine_tune(
        self, images_THWC: UInt8Array, people: Sequence[Float32Array], labels_THW: UInt8Array
    ) -> None:
        """Learn the labels of these pictures and people; 255 is void."""
        self.learn(self.input_of(images_THWC, people), labels_THW)

    @classmethod
    def input_of(cls, images_THWC: UInt8Array, people: Sequence[Float32Array]) -> Tensor:
        """Pictures and skeletons, concatenated, [T, 3 + S, H, W]."""
        size = (images_THWC.shape[1], images_THWC.shape[2])
        drawn = [draw_skeletons(each, size, least_score=cls.least_score) for each in people]
        return torch.cat([to_tensor(images_THWC), torch.from_numpy(np.stack(drawn))], dim=1)


def fuse(tpr_TCHW: Tensor, pose2seg_TCHW: Tensor) -> Tensor:
    """Probabilities of both modules together, [T, C, H, W]: the softmax of their sum (Eq. 10).

    Raises:
        ValueError: Shapes differ.
    """
    if tpr_TCHW.shape != pose2seg_TCHW.shape:
        raise ValueError(f"shapes differ: {tuple(tpr_TCHW.shape)}, {tuple(pose2seg_TCHW.shape)}")
    return (tpr_TCHW + pose2seg_TCHW).softmax(dim=1)


def _loss(logits_BCHW: Tensor, labels_BHW: Tensor) -> Tensor:
    total = F.cross_entropy(logits_BCHW, labels_BHW, ignore_index=VOID, reduction="sum")
    return total / (labels_BHW != VOID).sum().clamp(min=1)
