"""What a flow network learns from: pairs of frames of drawn clips, whose flow is known exactly.

Shape suffixes: B batch, H height, W width; a last 2 is (x, y).

Source: FlowNet (Dosovitskiy et al., ICCV 2015): endpoint error at every level; pairs are ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from partstream_models.data.augment import jitter_colour
from partstream_models.data.ccp_cache import PhotoCache
from partstream_models.data.clips import Clip, draw_clip
from partstream_models.data.clips_director import ClipConfig
from partstream_models.data.guess import DIS_PRESETS, dis_guess
from partstream_models.networks.flow_field import FlowField, endpoint_loss
from partstream_models.networks.light_flow import FLOW_STRIDE

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowPairsConfig:
    """Which pairs are drawn."""

    sizes: tuple[tuple[int, int], ...] = ((256, 256), (256, 384), (288, 512))
    """Heights and widths of clips, multiples of 32; one a step."""
    pixels: int = 12 * 256 * 256
    """About how many pixels of pairs a step has."""
    pairs_of_clip: int = 6
    colour_strength: float = 0.25
    """How differently the two frames of a pair are coloured."""
    unguessed_share: float = 0.2
    """Share of pairs without a guess."""
    clip: ClipConfig = field(
        default_factory=lambda: ClipConfig(num_frames=11, max_people=5, cut_share=0.0, leaving_share=0.1)
    )


@dataclass(frozen=True, slots=True, eq=False)
class FlowPairs:
    """Pairs of frames and the flow between them."""

    current_B3HW: Tensor
    reference_B3HW: Tensor
    """Both RGB in [-1, 1]."""
    flow_B2HW: Tensor
    """From current to reference, image pixels."""
    visible_BHW: Tensor
    """Where the reference shows what the current frame shows."""
    guess_B2hw: Tensor
    """What the flow network is told before, in pixels of the stride-8 map, at stride 8."""

    @property
    def num_skipped(self) -> int:
        """Pairs that could not be drawn: none, a clip is drawn or the run ends."""
        return 0


def draw_pairs(cache: PhotoCache, config: FlowPairsConfig, *, seed: int, step: int) -> FlowPairs:
    """The pairs of a step; they depend on seed and step alone."""
    rng = np.random.default_rng((seed, step))
    height, width = config.sizes[int(rng.integers(len(config.sizes)))]
    wanted = max(config.pixels // (height * width), 1)
    pairs: list[tuple[Clip, int, int]] = []
    number = step * 100
    while len(pairs) < wanted:
        clip = draw_clip(cache, seed=seed, number=number, height=height, width=width, config=config.clip)
        number += 1
        for _ in range(min(config.pairs_of_clip, wanted - len(pairs))):
            current, other = rng.choice(config.clip.num_frames, size=2, replace=False)
            pairs.append((clip, int(current), int(other)))
    flows = [clip.flow(current, other) for clip, current, other in pairs]
    images = (
        [_tinted(clip, current, config, rng) for clip, current, _ in pairs],
        [_tinted(clip, other, config, rng) for clip, _, other in pairs],
    )
    return FlowPairs(
        to_images(images[0]),
        to_images(images[1]),
        torch.from_numpy(np.stack([flow.flow_HW2 for flow in flows])).permute(0, 3, 1, 2),
        torch.from_numpy(np.stack([flow.visible_HW for flow in flows])),
        torch.stack(
            [guess_flow(current, reference, rng, config) for current, reference in zip(*images, strict=True)]
        ),
    )


def _tinted(clip: Clip, frame: int, config: FlowPairsConfig, rng: np.random.Generator) -> UInt8Array:
    return jitter_colour(clip.images_THWC[frame], rng, strength=config.colour_strength)


def to_images(images: Sequence[UInt8Array]) -> Tensor:
    """RGB pixels as networks take them, [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def guess_flow(
    current_HWC: UInt8Array, reference_HWC: UInt8Array, rng: np.random.Generator, config: FlowPairsConfig
) -> Tensor:
    """A guess as it may be had live: DIS of one of its presets, or now and then none, [2, H/8, W/8]."""
    height, width = current_HWC.shape[0] // FLOW_STRIDE, current_HWC.shape[1] // FLOW_STRIDE
    kind = rng.random()
    if kind < config.unguessed_share:
        return torch.zeros(2, height, width)
    preset = DIS_PRESETS[0] if kind < (1 + config.unguessed_share) / 2 else DIS_PRESETS[1]
    return torch.from_numpy(dis_guess(current_HWC, reference_HWC, preset=preset))


class FlowBatches(IterableDataset[FlowPairs]):
    """An endless stream of pairs; those of the n-th step depend on seed and n alone."""

    def __init__(self, cache: PhotoCache, config: FlowPairsConfig, *, seed: int, first: int = 0) -> None:
        super().__init__()
        self._cache, self._config, self._seed, self._first = cache, config, seed, first

    def __iter__(self) -> Iterator[FlowPairs]:
        cv2.setNumThreads(0)
        worker = get_worker_info()
        step = self._first + (worker.id if worker else 0)
        while True:
            yield draw_pairs(self._cache, self._config, seed=self._seed, step=step)
            step += worker.num_workers if worker else 1


def flow_terms(
    found: FlowField, pairs: FlowPairs, *, unit: float, weights: tuple[float, ...]
) -> dict[str, Tensor]:
    """The weighted endpoint error of a flow network's answer.

    Args:
        found: From current to reference.
        pairs: The truth.
        unit: Image pixels of one unit of the raw flows.
        weights: Of the levels, finest first.
    """
    field_ = FlowField(found.flow_B2HW.float(), None, tuple(level.float() for level in found.pyramid))
    device = field_.flow_B2HW.device
    loss = endpoint_loss(
        field_, pairs.flow_B2HW.to(device), pairs.visible_BHW.to(device), unit=unit, weights=weights
    )
    return {"flow": loss}
