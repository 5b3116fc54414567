"""What ATEN learns from: a key frame, the key frames it is encoded with, and a frame of its segment.

Shape suffixes: B batch, C channels, H height, W width.

Source: ATEN (Zhou et al., MM 2018), section 4.4, "Training". Where the clip has too few former frames, later
ones stand in, as algorithm 1 has it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partstream_core.boxes import box_of_mask
from partstream_core.labels import VOID
from partstream_models.data.batches import MIN_PIXELS
from partstream_models.data.clips import Clip
from partstream_models.networks.aten import ATEN
from partstream_models.networks.parsing_rcnn import ParsingRCNN
from partstream_models.training.parsing_rcnn_loss import FrameTruth, parsing_loss, parsing_rcnn_losses


@dataclass(frozen=True, slots=True)
class TrainingFrames:
    """Frames of one training step."""

    key: int
    neighbours: tuple[int, ...]
    """Encoded with the key frame, in time order."""
    target: int
    """The frame that is parsed; the key frame itself now and then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """The segments that training imitates."""

    length: int = 3
    encoding_range: int = 2

    def __post_init__(self) -> None:
        if self.length < 1 or self.encoding_range < 0:
            raise ValueError(f"no segments of {self.length} frames encoded over {self.encoding_range}")


def draw_frames(num_frames: int, config: SamplingConfig, rng: np.random.Generator) -> TrainingFrames:
    """Frames for a step: any key frame, its neighbours a segment apart, and a frame of its segment."""
    length = config.length
    key = int(rng.integers(num_frames))
    former = [key - j * length for j in range(config.encoding_range, 0, -1) if key - j * length >= 0]
    missing = config.encoding_range - len(former)
    later = [key + j * length for j in range(1, missing + 1) if key + j * length < num_frames]
    first = max(key - length // 2, 0)
    end = min(key + length - length // 2, num_frames)
    return TrainingFrames(key, (*former, *later), int(rng.integers(first, end)))


def image_of(clip: Clip, frame: int, device: str = "cpu") -> Tensor:
    """A frame as networks take it, [1, 3, H, W] in [-1, 1]."""
    image = torch.from_numpy(np.ascontiguousarray(clip.images_THWC[frame])).to(device)
    return image.permute(2, 0, 1)[None].float() / 127.5 - 1


def truth_of(clip: Clip, frame: int, *, two_classes: bool = False, device: str = "cpu") -> FrameTruth:
    """What a frame should be parsed as; people of few pixels are void.

    Args:
        clip: The clip.
        frame: Number of the frame in it.
        two_classes: People against the rest instead of parts (the DAVIS variant).
        device: Where the tensors go.
    """
    parts, instances = clip.parts_THW[frame].astype(np.int64), clip.instances_THW[frame]
    if two_classes:
        parts = ((instances > 0) & (instances != VOID)).astype(np.int64)
    boxes, masks = [], []
    for row in np.unique(instances):
        if row in (0, VOID):
            continue
        mask = instances == row
        box = box_of_mask(mask)
        if box is None or np.count_nonzero(mask) < MIN_PIXELS:
            parts[mask] = VOID
            continue
        boxes.append(box)
        masks.append(mask)
    return FrameTruth(
        torch.from_numpy(parts).to(device),
        torch.tensor(boxes, dtype=torch.float32, device=device).reshape(-1, 4),
        torch.from_numpy(np.array(masks, np.float32).reshape(-1, *parts.shape)).to(device),
    )


@dataclass(frozen=True, slots=True, eq=False)
class AtenTask:
    """ATEN learning from clips; a step's frames depend on seed and step alone."""

    network: ATEN
    clip_of: Callable[[int], Clip]
    """The clip of a step."""
    sampling: SamplingConfig
    seed: int = 1
    device: str = "cpu"

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of eq. 7 of the frame that was drawn, through encoding and propagation."""
        clip = self.clip_of(step)
        rng = np.random.default_rng((self.seed, step))
        frames = draw_frames(len(clip.images_THWC), self.sampling, rng)
        key = image_of(clip, frames.key, self.device)
        neighbours = [image_of(clip, frame, self.device) for frame in frames.neighbours]
        features = torch.split(self.network.backbone(torch.cat([*neighbours, key])), 1)
        feature = self.network.encode(key, features[-1], list(zip(neighbours, features[:-1], strict=True)))
        if frames.target != frames.key:
            target = image_of(clip, frames.target, self.device)
            feature = self.network.propagate(target, key, feature)
        heads = self.network.heads
        two_classes = self.network.config.heads.num_classes == 2
        truth = truth_of(clip, frames.target, two_classes=two_classes, device=self.device)
        if isinstance(heads, ParsingRCNN):
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
            return parsing_rcnn_losses(heads, feature, [truth], generator)
        return {"parsing": parsing_loss(heads(feature), truth.parts_HW[None])}
