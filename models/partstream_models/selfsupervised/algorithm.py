"""Algorithm 1: rounds of TPR, GBSR and Pose2Seg until their labels stay the same.

Shape suffixes: T frames, N people, J joints, C classes, H height, W width.

Source: "A Self-Supervised Framework for Human Instance Segmentation", Algorithm 1. Its step 5 compares the
output of step 4 with "that of the Pose Module", which gives joints and no mask; section 3.1 compares with
the Seg Module. A Seg Module that has just learned the labels agrees with them by itself, so we stop where
the labels of step 4 agree with those of the last round.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from partstream_models.selfsupervised.flow_refinement import estimate_flow
from partstream_models.selfsupervised.gbsr import GBSRConfig, PosedFrame
from partstream_models.selfsupervised.gbsr import refine_clip as refine_joints
from partstream_models.selfsupervised.segmentation import fuse
from partstream_models.selfsupervised.tpr import FlowEstimator, SegModule, TPRConfig, labels_of
from partstream_models.selfsupervised.tpr import refine_clip as refine_parsing

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


class PoseModule(Protocol):
    """The Pose Module."""

    def find(self, images_THWC: UInt8Array) -> list[PosedFrame]:
        """People of each frame, and the frame's maps."""

    def fine_tune(self, images_THWC: UInt8Array, people: Sequence[Float32Array]) -> None:
        """Learn the joints of each frame's people, [N, J, 3]."""


class Pose2SegModule(Protocol):
    """The Pose2Seg Module."""

    def activations(self, images_THWC: UInt8Array, people: Sequence[Float32Array]) -> Tensor:
        """Activations before the softmax, [T, C, H, W]."""

    def fine_tune(
        self, images_THWC: UInt8Array, people: Sequence[Float32Array], labels_THW: UInt8Array
    ) -> None:
        """Learn the labels of these pictures and people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlgorithmConfig:
    """Settings of Algorithm 1."""

    tpr: TPRConfig = field(default_factory=TPRConfig)
    gbsr: GBSRConfig = field(default_factory=GBSRConfig)
    similar: float = 0.95
    """IoU with the last round at which it ends."""
    most_rounds: int = 10
    """It ends after so many, though labels still change."""

    def __post_init__(self) -> None:
        if not 0 < self.similar <= 1:
            raise ValueError(f"similar must be in 0..1, got {self.similar}")
        if self.most_rounds < 1:
            raise ValueError(f"most_rounds must be at least 1, got {self.most_rounds}")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What Algorithm 1 ends with; the modules have learned."""

    labels_THW: UInt8Array
    people: tuple[Float32Array, ...]
    """Joints of each frame's people, [N, J, 3]."""
    ious: tuple[float, ...]
    """IoU of each round's labels with the round before; the first is of the second round."""

    @property
    def num_rounds(self) -> int:
        """Rounds that were run."""
        return len(self.ious) + 1


def run(
    images_THWC: UInt8Array,
    *,
    seg: SegModule,
    pose: PoseModule,
    pose2seg: Pose2SegModule,
    config: AlgorithmConfig | None = None,
    flow_of: FlowEstimator = estimate_flow,
    after_round: Callable[[int, UInt8Array], None] | None = None,
) -> Outcome:
    """Labels of a clip that its frames agree on, after as many rounds as it takes.

    Args:
        images_THWC: Frames in a row, RGB.
        seg: Segments and learns.
        pose: Finds joints and learns.
        pose2seg: Turns joints into labels and learns.
        config: Settings.
        flow_of: Initial optical flow.
        after_round: Called with the number of the round, from 1, and its labels.
    """
    config = config or AlgorithmConfig()
    ious: list[float] = []
    last: UInt8Array | None = None
    while True:
        tpr = refine_parsing(images_THWC, seg, config.tpr, flow_of=flow_of)
        people = alternate_joints(images_THWC, pose, config.gbsr)
        together = fuse(tpr.activations_TCHW, pose2seg.activations(images_THWC, people))
        labels = labels_of(together)
        seg.fine_tune(images_THWC, labels)
        pose2seg.fine_tune(images_THWC, people, labels)
        if after_round is not None:
            after_round(len(ious) + 1, labels)
        if last is not None:
            ious.append(label_iou(labels, last))
            if ious[-1] >= config.similar:
                break
        if len(ious) + 1 >= config.most_rounds:
            break
        last = labels
    return Outcome(labels, tuple(people), tuple(ious))


def alternate_joints(images_THWC: UInt8Array, pose: PoseModule, config: GBSRConfig) -> list[Float32Array]:
    """Joints of each frame's people after N_GBSR refinements, the Pose Module trained after each (step 3)."""
    people = [frame.people_NJ3 for frame in pose.find(images_THWC)]
    for _ in range(config.num_rounds):
        people = refine_joints(pose.find(images_THWC), config)
        pose.fine_tune(images_THWC, people)
    return people


def label_iou(labels_THW: UInt8Array, others_THW: UInt8Array) -> float:
    """Mean IoU over the classes other than background in either; 1 where both are background alone."""
    classes = np.union1d(np.unique(labels_THW), np.unique(others_THW))
    ious = [
        float(((labels_THW == each) & (others_THW == each)).sum())
        / float(((labels_THW == each) | (others_THW == each)).sum())
        for each in classes[classes > 0]
    ]
    return float(np.mean(ious)) if ious else 1.0
