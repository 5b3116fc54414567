"""Features of all frames of a clip: ATEN, and the methods it is compared with, behind one interface.

Each method takes the networks and the frames, and gives every frame's feature with its number, in the order
it has them; what is read from a feature is the same for all. All but ATEN and FGFA are causal.

Shape suffixes: T frames, H height, W width, C channels, P parts.

Source: ATEN (Zhou et al., MM 2018), algorithm 1 and section 5.2; DFF (Zhu et al., CVPR 2017); FGFA (Zhu et
al., ICCV 2017).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_core.fusion import Assembly, Instances, assemble_paper
from partstream_core.key_frames import plan_segments
from partstream_models.networks.aten import ATEN
from partstream_models.networks.fgfa import FeatureAggregation
from partstream_models.networks.parsing_rcnn import paste_masks


class FrameFeature(NamedTuple):
    """A frame's number in the clip and its feature."""

    frame: int
    feature_1CHW: Tensor


class VideoMethod(Protocol):
    """A way to have a feature of every frame."""

    def features(self, network: ATEN, images_T3HW: Tensor) -> Iterator[FrameFeature]:
        """Each frame's feature once; images are RGB in [-1, 1]."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PerFrame:
    """The backbone on every frame (ATEN-F)."""

    def features(self, network: ATEN, images_T3HW: Tensor) -> Iterator[FrameFeature]:
        """Each frame's own feature."""
        for frame, image in enumerate(torch.split(images_T3HW, 1)):
            yield FrameFeature(frame, network.backbone(image))


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepFeatureFlow:
    """The backbone on the first frame of each segment, propagated to the others (DFF)."""

    length: int = 10

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length must be at least 1, got {self.length}")

    def features(self, network: ATEN, images_T3HW: Tensor) -> Iterator[FrameFeature]:
        """Features, key frames' first in their segments."""
        key, feature = images_T3HW[:0], images_T3HW[:0]
        for frame, image in enumerate(torch.split(images_T3HW, 1)):
            if frame % self.length == 0:
                key, feature = image, network.backbone(image)
                yield FrameFeature(frame, feature)
            else:
                yield FrameFeature(frame, network.propagate(image, key, feature))


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowGuidedAggregation:
    """The backbone on every frame, and the nearest frames' features added up (FGFA)."""

    aggregation: FeatureAggregation
    reach: int = 5
    """Frames to either side: the ten nearest, as ATEN's section 5.3 has it."""

    def features(self, network: ATEN, images_T3HW: Tensor) -> Iterator[FrameFeature]:
        """Aggregated features; only those in reach are held."""
        images = torch.split(images_T3HW, 1)
        held: dict[int, Tensor] = {}
        for frame, image in enumerate(images):
            first, end = max(frame - self.reach, 0), min(frame + self.reach + 1, len(images))
            held = _with_features(network, images, held, range(first, end))
            held = {near: held[near] for near in range(first, end)}
            warped = [
                feature if near == frame else network.propagate(image, images[near], feature)
                for near, feature in held.items()
            ]
            yield FrameFeature(frame, self.aggregation(held[frame], warped))


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptiveTemporalEncoding:
    """ATEN's algorithm 1: the backbone on medians only, encoded with p others, propagated to the rest."""

    length: int = 3
    """Frames of a segment (l)."""
    encoding_range: int = 2
    """Key frames that each key frame is encoded with (p)."""

    def features(self, network: ATEN, images_T3HW: Tensor) -> Iterator[FrameFeature]:
        """Features segment by segment, the key frame's first; key features in reach only are held."""
        images = torch.split(images_T3HW, 1)
        segments = plan_segments(len(images), length=self.length, encoding_range=self.encoding_range)
        held: dict[int, Tensor] = {}
        for number, segment in enumerate(segments):
            wanted = (*segment.neighbours, segment.key)
            held = _with_features(network, images, held, wanted)
            neighbours = [(images[key], held[key]) for key in segment.neighbours]
            encoded = network.encode(images[segment.key], held[segment.key], neighbours)
            yield FrameFeature(segment.key, encoded)
            for frame in segment.others:
                yield FrameFeature(frame, network.propagate(images[frame], images[segment.key], encoded))
            later = {key for other in segments[number + 1 :] for key in (*other.neighbours, other.key)}
            held = {key: feature for key, feature in held.items() if key in later}


def _with_features(
    network: ATEN, images: Sequence[Tensor], held: Mapping[int, Tensor], wanted: Iterable[int]
) -> dict[int, Tensor]:
    return {**held, **{frame: network.backbone(images[frame]) for frame in wanted if frame not in held}}


class ParsedFrame(NamedTuple):
    """One frame at the image's size."""

    part_map_HW: Tensor
    """Likeliest class of each pixel, of everybody together; int64."""
    assembly: Assembly | None
    """Who and what is where; None without an instance branch."""


@torch.no_grad()
def parse_clip(network: ATEN, images_T3HW: Tensor, method: VideoMethod) -> list[ParsedFrame]:
    """Every frame of a clip parsed, in time order.

    Raises:
        ValueError: The images are no clip of RGB frames whose sides are multiples of 4.
    """
    if images_T3HW.ndim != 4 or images_T3HW.shape[1] != 3 or any(side % 4 for side in images_T3HW.shape[2:]):
        raise ValueError(
            f"expected frames [T, 3, H, W], H and W multiples of 4; got {tuple(images_T3HW.shape)}"
        )
    was_training = network.training
    network.eval()
    frames: dict[int, ParsedFrame] = {}
    for frame, feature in method.features(network, images_T3HW):
        frames[frame] = _read(network, feature, (images_T3HW.shape[2], images_T3HW.shape[3]))
    network.train(was_training)
    return [frames[frame] for frame in range(len(images_T3HW))]


def _read(network: ATEN, feature_1CHW: Tensor, size: tuple[int, int]) -> ParsedFrame:
    outputs = network.parse(feature_1CHW)
    logits = F.interpolate(outputs.part_logits_BPHW.float(), size=size, mode="bilinear", align_corners=False)
    probabilities = logits.softmax(dim=1)[0]
    assembly = None
    if outputs.people is not None:
        (people,) = outputs.people
        instances = Instances(paste_masks(people, *size).cpu().numpy(), people.scores_R.cpu().numpy())
        assembly = assemble_paper(instances, probabilities.cpu().numpy())
    return ParsedFrame(probabilities.argmax(dim=0).cpu(), assembly)
