"""How well ATEN parses clips: mean IoU of the classes over all labelled frames.

Shape suffixes: T frames, H height, W width.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from partstream_core.labels import NUM_PARTS
from partstream_core.metrics.semantic import confusion_matrix, mean_iou
from partstream_models.data.clips import Clip
from partstream_models.data.readers.record import Recording
from partstream_models.data.views import ViewConfig, draw_view
from partstream_models.networks.aten import ATEN
from partstream_models.training.aten_task import as_input, image_of, truth_of, truth_of_maps
from partstream_models.video_methods import VideoMethod, parse_clip

MAX_FRAMES = 60
"""Frames of a recording that are parsed together; of a longer one, those around its first labelled frames."""


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
    for recording in recordings:
        first = max(min(recording.labelled[0] - MAX_FRAMES // 2, recording.num_frames - MAX_FRAMES), 0)
        numbers = range(first, min(first + MAX_FRAMES, recording.num_frames))
        frames = [recording.frame(number) for number in numbers]
        look = draw_view(frames[0].image_HWC.shape[:2], view, np.random.default_rng(0))
        shown = [look.of(frame) for frame in frames]
        images = torch.cat([as_input(frame.image_HWC) for frame in shown]).to(device)
        for frame, parsed in zip(shown, parse_clip(network, images, method), strict=True):
            if frame.instances_HW is not None:
                truth = truth_of_maps(frame.parts_HW, frame.instances_HW, two_classes=two_classes)
                total += _counts(truth.parts_HW, parsed.part_map_HW)
    return total


def _counts(truth_HW: torch.Tensor, found_HW: torch.Tensor) -> npt.NDArray[np.int64]:
    return confusion_matrix(truth_HW.numpy().astype(np.uint8), found_HW.numpy().astype(np.uint8))
