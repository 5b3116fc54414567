"""Training task of ATEN: losses of a frame's parse, through temporal encoding and propagation.

Shape suffixes: B batch, C channels, H height, W width.

Source: ATEN (Zhou et al., MM 2018), section 4.4, "Training".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partstream_core.boxes import box_of_mask
from partstream_core.labels import VOID
from partstream_models.data.batches import MIN_PIXELS
from partstream_models.data.clips.draw import Clip
from partstream_models.networks.aten import ATEN
from partstream_models.networks.parsing_rcnn import ParsingRCNN
from partstream_models.training.parsing_rcnn_loss import FrameTruth, parsing_loss, parsing_rcnn_losses

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TrainingFrames:
    """Numbers of the frames of one draw."""

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
    """Frames for a draw: any key frame, its neighbours a segment apart, and a frame of its segment."""
    length = config.length
    key = int(rng.integers(num_frames))
    first = max(key - length // 2, 0)
    end = min(key + length - length // 2, num_frames)
    neighbours = neighbours_of(key, num_frames, config)
    return TrainingFrames(key, neighbours, int(rng.integers(first, end)))


def frames_for(
    target: int, num_frames: int, config: SamplingConfig, rng: np.random.Generator
) -> TrainingFrames:
    """Frames for a draw whose target is given, because few frames are labelled: a key frame that suits it."""
    length = config.length
    first = max(target - (length - length // 2) + 1, 0)
    end = min(target + length // 2 + 1, num_frames)
    key = int(rng.integers(first, end))
    return TrainingFrames(key, neighbours_of(key, num_frames, config), target)


def neighbours_of(key: int, num_frames: int, config: SamplingConfig) -> tuple[int, ...]:
    """Key frames a segment apart before a key frame; later ones stand in where there are too few."""
    length = config.length
    former = [key - j * length for j in range(config.encoding_range, 0, -1) if key - j * length >= 0]
    missing = config.encoding_range - len(former)
    later = [key + j * length for j in range(1, missing + 1) if key + j * length < num_frames]
    return (*former, *later)


def as_input(image_HWC: UInt8Array) -> Tensor:
    """An RGB image as networks take it, [1, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1)[None].float() / 127.5 - 1


def image_of(clip: Clip, frame: int, device: str = "cpu") -> Tensor:
    """A frame of a clip as networks take it, [1, 3, H, W] in [-1, 1]."""
    return as_input(clip.images_THWC[frame]).to(device)


def truth_of(clip: Clip, frame: int, *, two_classes: bool = False, device: str = "cpu") -> FrameTruth:
    """Target of a frame of a clip; people of few pixels are void."""
    truth = truth_of_maps(clip.parts_THW[frame], clip.instances_THW[frame], two_classes=two_classes)
    return truth.to(device)


def truth_of_maps(
    parts_HW: UInt8Array | None, instances_HW: UInt8Array, *, two_classes: bool = False
) -> FrameTruth:
    """Target of a frame; people of few pixels are void.

    Args:
        parts_HW: Parts 0..19, 255 void; where None, people's parts are void.
        instances_HW: Row + 1 of the person at each pixel, 0 nobody, 255 void.
        two_classes: People against the rest instead of parts (the DAVIS variant).
    """
    if two_classes:
        parts = np.where(instances_HW == VOID, VOID, instances_HW > 0).astype(np.int64)
    elif parts_HW is None:
        parts = np.where(instances_HW > 0, VOID, 0).astype(np.int64)
    else:
        parts = parts_HW.astype(np.int64)
    boxes, masks = [], []
    for row in np.unique(instances_HW):
        if row in (0, VOID):
            continue
        mask = instances_HW == row
        box = box_of_mask(mask)
        if box is None or np.count_nonzero(mask) < MIN_PIXELS:
            parts[mask] = VOID
            continue
        boxes.append(box)
        masks.append(mask)
    return FrameTruth(
        torch.from_numpy(parts),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.from_numpy(np.array(masks, np.float32).reshape(-1, *parts.shape)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class AtenDraw:
    """The frames of one draw, each [1, 3, H, W], and what the last of them should be parsed as."""

    neighbours: tuple[Tensor, ...]
    """Encoded with the key frame, in time order."""
    key: Tensor
    target: Tensor | None
    """The frame that is parsed; None where it is the key frame."""
    truth: FrameTruth


class AtenSource(Protocol):
    """Where draws come from."""

    def draw(self, number: int) -> AtenDraw | tuple[AtenDraw, ...]:
        """The draw of that number, which follows from the number alone; or several of one size."""
        ...


class OneByOne(Protocol):
    """A source of single draws."""

    def draw(self, number: int) -> AtenDraw:
        """The draw of that number."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class StackedDraws:
    """Draws of one size, some at a time: together they cost a small network less than one by one."""

    source: OneByOne
    count: int

    def draw(self, number: int) -> tuple[AtenDraw, ...]:
        """As many draws in a row."""
        first = number * self.count
        return tuple(self.source.draw(first + offset) for offset in range(self.count))


@dataclass(frozen=True, slots=True, eq=False)
class AtenTask:
    """ATEN learning from draws."""

    network: ATEN
    source: AtenSource
    seed: int = 1
    device: str = "cpu"

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of eq. 7 of the frames that were drawn, through encoding and propagation.

        Raises:
            ValueError: Draws that come together have different numbers of neighbours.
        """
        drawn = self.source.draw(step)
        draws = drawn if isinstance(drawn, tuple) else (drawn,)
        feature = self._feature(draws)
        heads, truths = self.network.heads, [draw.truth.to(self.device) for draw in draws]
        if isinstance(heads, ParsingRCNN):
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
            return parsing_rcnn_losses(heads, feature, truths, generator)
        parts = torch.stack([truth.parts_HW for truth in truths])
        return {"parsing": parsing_loss(heads(feature), parts)}

    def _feature(self, draws: Sequence[AtenDraw]) -> Tensor:
        """What the target of each draw is parsed from, [B, C, H/4, W/4]."""
        if len({len(draw.neighbours) for draw in draws}) > 1:
            raise ValueError("draws with different numbers of neighbours cannot be stacked")
        places = zip(*((*draw.neighbours, draw.key) for draw in draws), strict=True)
        images = [torch.cat(place).to(self.device) for place in places]
        features = torch.split(self.network.backbone(torch.cat(images)), len(draws))
        known = list(zip(images[:-1], features[:-1], strict=True))
        encoded = self.network.encode(images[-1], features[-1], known)
        targets = [draw.target for draw in draws if draw.target is not None]
        if not targets:
            return encoded
        rows = torch.tensor([row for row, draw in enumerate(draws) if draw.target is not None])
        rows = rows.to(self.device)
        moved = self.network.propagate(torch.cat(targets).to(self.device), images[-1][rows], encoded[rows])
        return encoded.index_copy(0, rows, moved.to(encoded.dtype))
