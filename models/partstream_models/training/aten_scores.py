"""How well ATEN parses clips: mean IoU of the classes, or IoU of people, over all labelled frames.

Shape suffixes: T frames, H height, W width.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from partstream_core.labels import NUM_PARTS
from partstream_evaluation.metrics.semantic import confusion_matrix, mean_iou
from partstream_models.data.clips.draw import Clip
from partstream_models.data.clips.views import ViewConfig, draw_view
from partstream_models.data.readers.record import Frame, Recording
from partstream_models.networks.aten import ATEN
from partstream_models.networks.clip_features import VideoMethod, parse_clip
from partstream_models.training.aten_task import as_input, image_of, truth_of, truth_of_maps

MAX_FRAMES = 60
"""Frames of a recording that are parsed together; of a longer one, those around its first labelled frames."""

_NUM_BINS = 200
"""Of probabilities, for thresholds."""


def clip_mean_iou(network: ATEN, clips: Sequence[Clip], method: VideoMethod, *, device: str = "cpu") -> float:
    """Mean IoU over all frames of composed clips."""
    two_classes = network.config.heads.num_classes == 2
    total = np.zeros((NUM_PARTS, NUM_PARTS), np.int64)
    for clip in clips:
        numbers = range(len(clip.images_THWC))
        images = torch.cat([image_of(clip, frame, device) for frame in numbers])
        for frame, parsed in enumerate(parse_clip(network, images, method)):
            truth = truth_of(clip, frame, two_classes=two_classes)
            total += _counts(truth.parts_HW, parsed.part_map_HW)
    return mean_iou(total)


def recordings_mean_iou(
    network: ATEN,
    recordings: Sequence[Recording],
    view: ViewConfig,
    method: VideoMethod,
    *,
    device: str = "cpu",
) -> float:
    """Mean IoU over the labelled frames of recordings, at the size of the view.

    Raises:
        ValueError: A file is missing or damaged.
    """
    return mean_iou(recordings_confusion(network, recordings, view, method, device=device))


def recordings_confusion(
    network: ATEN,
    recordings: Sequence[Recording],
    view: ViewConfig,
    method: VideoMethod,
    *,
    device: str = "cpu",
) -> npt.NDArray[np.int64]:
    """Pixels by true and found class over the labelled frames of recordings.

    Raises:
        ValueError: A file is missing or damaged.
    """
    two_classes = network.config.heads.num_classes == 2
    total = np.zeros((NUM_PARTS, NUM_PARTS), np.int64)
    for shown, images in _looked_at(recordings, view):
        for frame, parsed in zip(shown, parse_clip(network, images.to(device), method), strict=True):
            if frame.instances_HW is not None:
                truth = truth_of_maps(frame.parts_HW, frame.instances_HW, two_classes=two_classes)
                total += _counts(truth.parts_HW, parsed.part_map_HW)
    return total


class PersonIoU(NamedTuple):
    """IoU of people over all pixels of all labelled frames."""

    even: float
    """Of what is likelier a person than not."""
    best: float
    """At the threshold that suits the network best: how well it tells people apart, however bold it is."""
    threshold: float
    """That threshold, of the probability of a person."""


@torch.no_grad()
def person_iou(
    network: ATEN, recordings: Sequence[Recording], view: ViewConfig, method: VideoMethod
) -> PersonIoU:
    """How well a network of two classes finds people.

    Raises:
        ValueError: The network has other classes, or a file is missing or damaged.
    """
    if network.config.heads.num_classes != 2:
        raise ValueError(
            f"a network of {network.config.heads.num_classes} classes has no one class of people"
        )
    was_training = network.training
    network.eval()
    people, others = np.zeros(_NUM_BINS, np.int64), np.zeros(_NUM_BINS, np.int64)
    for shown, images in _looked_at(recordings, view):
        for frame, feature in method.features(network, images):
            instances_HW = shown[frame].instances_HW
            if instances_HW is None:
                continue
            truth_HW = truth_of_maps(None, instances_HW, two_classes=True).parts_HW
            logits = F.interpolate(
                network.part_logits(feature).float(), truth_HW.shape, mode="bilinear", align_corners=False
            )
            bins_HW = (logits[0].softmax(dim=0)[1] * _NUM_BINS).long().clamp(max=_NUM_BINS - 1)
            people += np.bincount(bins_HW[truth_HW == 1].numpy(), minlength=_NUM_BINS)
            others += np.bincount(bins_HW[truth_HW == 0].numpy(), minlength=_NUM_BINS)
    network.train(was_training)
    found, wrong = (counts[::-1].cumsum()[::-1] for counts in (people, others))
    ious = found / np.maximum(people.sum() + wrong, 1)
    best = int(ious.argmax())
    return PersonIoU(float(ious[_NUM_BINS // 2]), float(ious[best]), best / _NUM_BINS)


def _looked_at(
    recordings: Sequence[Recording], view: ViewConfig
) -> Iterator[tuple[list[Frame], torch.Tensor]]:
    """The frames of each recording that are parsed together, as the view shows them, and [T, 3, H, W]."""
    for recording in recordings:
        first = max(min(recording.labelled[0] - MAX_FRAMES // 2, recording.num_frames - MAX_FRAMES), 0)
        numbers = range(first, min(first + MAX_FRAMES, recording.num_frames))
        frames = [recording.frame(number) for number in numbers]
        look = draw_view(frames[0].image_HWC.shape[:2], view, np.random.default_rng(0))
        shown = [look.of(frame) for frame in frames]
        yield shown, torch.cat([as_input(frame.image_HWC) for frame in shown])


def _counts(truth_HW: torch.Tensor, found_HW: torch.Tensor) -> npt.NDArray[np.int64]:
    return confusion_matrix(truth_HW.numpy().astype(np.uint8), found_HW.numpy().astype(np.uint8))
