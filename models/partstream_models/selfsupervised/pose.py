"""Pose Modules: PoseNet (PersonLab's), which learns from refined joints, and MoveNet, which does not learn.

Shape suffixes: T frames, N people, J joints (17, COCO order), H and W the picture, C channels, h and w
PoseNet's maps at stride 16; a last 3 is x, y in pixels and score.

Source: "A Self-Supervised Framework for Human Instance Segmentation", section 3.2: appearance is read from
the picture and from a feature extraction of 14 layers, which we take to be MobileNetV1's (its stem and 13
pairs of depthwise and pointwise convolutions), for PersonLab's public weights have that trunk. Losses are
PersonLab's (section 3.1): cross-entropy of discs and the 1-norm of short offsets inside them; displacements
do not learn.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_core.joints import NUM_JOINTS
from partstream_models.networks.movenet import MoveNet
from partstream_models.networks.movenet_decode import find_people
from partstream_models.networks.posenet import STRIDE, PoseNet, decode_people
from partstream_models.selfsupervised.gbsr import PosedFrame
from partstream_models.selfsupervised.graphs import FeatureMap
from partstream_models.selfsupervised.segmentation import to_tensor

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

POSENET_FILE = "posenet_mobilenet_v1_075_481_641_16_quant_decoder.dequant.pt"
MOVENET_FILE = "movenet_multipose.npz"
_DISC = 24.0
"""Radius of a joint's disc in the target, in pixels (PersonLab: 32 at twice the picture's size)."""


def picture_map(image_HWC: UInt8Array) -> FeatureMap:
    """The picture itself as a map, 0..1."""
    return FeatureMap(image_HWC.astype(np.float32) / np.float32(255), 1.0)


class PoseNetModule:
    """PersonLab's Pose Module.

    Args:
        network: Its weights change in `fine_tune`.
        num_steps: Steps of `fine_tune`, a frame each; 0 leaves the network as it is.
        rate: Of Adam.
        longer_side: Pictures are resized to it, to whole cells.
    """

    def __init__(
        self, network: PoseNet, *, num_steps: int = 8, rate: float = 1e-5, longer_side: int = 512
    ) -> None:
        if num_steps < 0 or longer_side < 2 * STRIDE:
            raise ValueError(f"cannot learn {num_steps} steps on pictures of {longer_side} pixels")
        self.network, self._num_steps, self._rate, self._side = network, num_steps, rate, longer_side

    @torch.inference_mode()
    def find(self, images_THWC: UInt8Array) -> list[PosedFrame]:
        """People of each frame, and its maps: the picture, and the trunk's feature."""
        return [self._find(image) for image in images_THWC]

    def _find(self, image_HWC: UInt8Array) -> PosedFrame:
        resized, scale_2 = self._resized(image_HWC)
        feature = self.network.features(resized)
        people = decode_people(self.network.heads(feature))
        people[..., :2] /= scale_2
        values = feature[0].permute(1, 2, 0).numpy() / 6  # ReLU6
        stride = STRIDE / float(scale_2.mean())
        return PosedFrame(people, (picture_map(image_HWC), FeatureMap(values.astype(np.float32), stride)))

    def _resized(self, image_HWC: UInt8Array) -> tuple[Tensor, Float32Array]:
        height, width = image_HWC.shape[:2]
        scale = self._side / max(height, width)
        size = [max(round(side * scale / STRIDE), 1) * STRIDE + 1 for side in (width, height)]
        resized = cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        factors = np.array([size[0] / width, size[1] / height], np.float32)
        return to_tensor(np.asarray(resized[None], np.uint8)), factors

    def fine_tune(self, images_THWC: UInt8Array, people: Sequence[Float32Array]) -> None:
        """Learn each frame's joints, a frame a step, in their order."""
        if not self._num_steps:
            return
        optimiser = torch.optim.Adam(self.network.parameters(), lr=self._rate)
        for step in range(self._num_steps):
            frame = step % len(images_THWC)
            image, scale_2 = self._resized(images_THWC[frame])
            scaled = people[frame].copy()
            scaled[..., :2] *= scale_2
            maps = self.network(image)
            loss = joint_loss(maps.heat_BJhw[0], maps.offsets_B2Jhw[0], scaled)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


def joint_loss(heat_Jhw: Tensor, offsets_2Jhw: Tensor, people_NJ3: Float32Array) -> Tensor:
    """PersonLab's loss of discs and short offsets, each joint weighed by its score.

    A cell inside discs of several people's joints of one kind belongs to the nearest. Where a joint is not
    visible (score 0) its disc is left out, so that neither answer is learned there.

    Args:
        heat_Jhw: Logits.
        offsets_2Jhw: The y of all joints, then the x of all, in pixels.
        people_NJ3: In pixels of the network's picture.
    """
    size = (int(heat_Jhw.shape[1]), int(heat_Jhw.shape[2]))
    y_hw, x_hw = np.indices(size, np.float32) * STRIDE
    disc = np.zeros((NUM_JOINTS, *size), np.float32)
    weight = np.ones_like(disc)
    offset = np.zeros((2, NUM_JOINTS, *size), np.float32)
    nearest = np.full_like(disc, np.inf)
    for joint in range(NUM_JOINTS):
        for x, y, score in people_NJ3[:, joint].tolist():
            away = np.hypot(x_hw - x, y_hw - y)
            inside = (away <= _DISC) & (away < nearest[joint])
            nearest[joint][inside] = away[inside]
            disc[joint][inside] = float(score > 0)
            weight[joint][inside] = min(max(score, 0.0), 1.0)
            offset[0, joint][inside], offset[1, joint][inside] = (y - y_hw)[inside], (x - x_hw)[inside]
    target, weights = torch.from_numpy(disc), torch.from_numpy(weight)
    heat = F.binary_cross_entropy_with_logits(heat_Jhw, target, weight=weights)
    away_1 = (offsets_2Jhw.reshape(offset.shape) - torch.from_numpy(offset)).abs() / STRIDE
    inside_1 = target * weights
    return heat + (away_1 * inside_1).sum() / (2 * inside_1.sum()).clamp(min=1)


class MoveNetModule:
    """The light Pose Module: MoveNet's joints; appearance is read from the picture alone.

    Args:
        network: In evaluation mode.
        least_person: Score of people who are kept.
        longer_side: Pictures are resized to it, to multiples of 32.
    """

    def __init__(self, network: MoveNet, *, least_person: float = 0.15, longer_side: int = 256) -> None:
        self._network, self._least, self._side = network, least_person, longer_side

    @classmethod
    def from_folder(cls, weights: Path, *, longer_side: int = 256) -> "MoveNetModule":
        """The module with public weights.

        Raises:
            ValueError: The file is missing or damaged.
        """
        network = MoveNet().eval()
        network.load_pretrained(weights / MOVENET_FILE)
        return cls(network, longer_side=longer_side)

    def find(self, images_THWC: UInt8Array) -> list[PosedFrame]:
        """People of each frame, and the picture as its map."""
        height, width = images_THWC.shape[1:3]
        scale = self._side / max(height, width)
        size = [max(round(side * scale / 32), 1) * 32 for side in (width, height)]
        frames = []
        for image in images_THWC:
            resized = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
            found = find_people(self._network, resized)
            joints = found.joints_NJ3[found.scores_N >= self._least].copy()
            joints[..., :2] *= np.array([width / size[0], height / size[1]], np.float32)
            frames.append(PosedFrame(joints.astype(np.float32), (picture_map(image),)))
        return frames

    def fine_tune(self, images_THWC: UInt8Array, people: Sequence[Float32Array]) -> None:
        """Leave the network as it is."""
