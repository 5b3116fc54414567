"""Training pairs of a flow network, synthetic or real.

The flow of drawn clips is known exactly; of real ones the one frame must be made out of the other.

Shape suffixes: B batch, H height, W width, Q and R at stride 4; a last 2 is (x, y).

Source: FlowNet (Dosovitskiy et al., ICCV 2015): endpoint error; PWC-Net (Sun et al., CVPR 2018), section 4:
its root, so that small errors count beside large ones; unsupervised flow (Jonschkowski et al., ECCV 2020) for
the photometric term. Pairs are ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import IterableDataset, get_worker_info

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import draw_clip
from partstream_models.data.clips.unlabelled import VideoFrames, draw_crop
from partstream_models.data.initial_flow import GUESS_STRIDE, QUICK, SERVED, dis_guess
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.augment import jitter_colour
from partstream_models.networks.flow_field import FlowField
from partstream_models.networks.light_flow import FLOW_STRIDE, FLOW_UNIT
from partstream_models.networks.warp import warp

UInt8Array = npt.NDArray[np.uint8]

_REAL_ZOOM = (1.0, 1.6)
_MAX_REAL_GAP = 5
_ROOT_START = 0.02
"""Pixels; the root is not steeper than here."""
_LIGHT_WEIGHT = 2.0
_LIGHT_START = 1e-4
_HIDDEN = 0.25
"""Difference from which on a real pixel is rather hidden than wrongly followed."""
_SEEN = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowPairsConfig:
    """Which pairs are drawn."""

    sizes: tuple[tuple[int, int], ...] = ((256, 256), (256, 384), (288, 512), (384, 256))
    """Heights and widths of clips, multiples of 32; one a step."""
    pixels: int = 12 * 256 * 256
    """About how many pixels of pairs a step has."""
    gaps: tuple[int, ...] = (1, 1, 2, 2, 3, 3, 4, 5, 7, 10)
    """Frames between the two of a pair; as often as they stand here."""
    tinted_share: float = 0.3
    """Share of pairs whose two frames are coloured differently."""
    colour_strength: float = 0.1
    quick_share: float = 0.2
    """Share of pairs with the guess of less work."""
    unguessed_share: float = 0.0
    """Share of pairs without a guess."""
    real_every: int = 4
    """One step in so many is of real clips, where there are any."""
    clip: ClipConfig = field(
        default_factory=lambda: ClipConfig(num_frames=11, max_people=5, cut_share=0.0, leaving_share=0.1)
    )

    def __post_init__(self) -> None:
        if not 0 < min(self.gaps) <= max(self.gaps) < self.clip.num_frames:
            raise ValueError(f"clips of {self.clip.num_frames} frames have no pairs {self.gaps} apart")


@dataclass(frozen=True, slots=True, eq=False)
class FlowPairs:
    """Pairs of frames and, of drawn ones, the flow between them."""

    current_B3HW: Tensor
    reference_B3HW: Tensor
    """Both RGB in [-1, 1]."""
    guess_B2QR: Tensor
    """What the flow network is told before, at stride 4, in pixels of the stride-8 map."""
    flow_B2HW: Tensor
    """From current to reference, image pixels; zeros of real pairs."""
    visible_BHW: Tensor
    """Where the reference is known to show what the current frame shows; nowhere of real pairs."""
    alike_B: Tensor
    """Whether the two frames have the same colours."""

    @property
    def num_skipped(self) -> int:
        """Pairs that could not be drawn: none, a clip is drawn or the run ends."""
        return 0


def draw_pairs(
    cache: PhotoCache,
    config: FlowPairsConfig,
    *,
    seed: int,
    step: int,
    unlabelled: Sequence[VideoFrames] = (),
) -> FlowPairs:
    """The pairs of a step; they depend on seed, step and clips alone."""
    rng = np.random.default_rng((seed, step))
    size = config.sizes[int(rng.integers(len(config.sizes)))]
    count = max(config.pixels // (size[0] * size[1]), 1)
    if unlabelled and step % config.real_every == 0:
        real = [_real_pair(unlabelled, config, size, rng) for _ in range(count)]
        flow, visible = np.zeros((count, *size, 2), np.float32), np.zeros((count, *size), bool)
        return _batch(real, flow, visible, np.ones(count, bool), config, rng)
    clip = draw_clip(cache, seed=seed, number=step, height=size[0], width=size[1], config=config.clip)
    drawn = [_apart(config.clip.num_frames, int(rng.choice(config.gaps)), rng) for _ in range(count)]
    tinted = rng.random(count) < config.tinted_share
    images = []
    for pair, is_tinted in zip(drawn, tinted, strict=True):
        current, reference = (clip.images_THWC[frame] for frame in pair)
        if is_tinted:
            current, reference = (
                jitter_colour(image, rng, strength=config.colour_strength) for image in (current, reference)
            )
        images.append((current, reference))
    flows = [clip.flow(*pair) for pair in drawn]
    flow = np.stack([flow.flow_HW2 for flow in flows])
    return _batch(images, flow, np.stack([flow.visible_HW for flow in flows]), ~tinted, config, rng)


def _apart(num_frames: int, gap: int, rng: np.random.Generator) -> tuple[int, int]:
    """Two frames a gap apart, in either order."""
    first = int(rng.integers(num_frames - gap))
    return (first, first + gap) if rng.random() < 0.5 else (first + gap, first)


def _real_pair(
    unlabelled: Sequence[VideoFrames],
    config: FlowPairsConfig,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[UInt8Array, UInt8Array]:
    images_THWC = unlabelled[int(rng.integers(len(unlabelled)))].images_THWC
    gap = min(int(rng.choice(config.gaps)), _MAX_REAL_GAP, len(images_THWC) - 1)
    pair = _apart(len(images_THWC), gap, rng)
    current, reference = draw_crop(images_THWC[list(pair)], size, rng, zoom=_REAL_ZOOM)
    return current, reference


def _batch(
    images: Sequence[tuple[UInt8Array, UInt8Array]],
    flow_BHW2: npt.NDArray[np.float32],
    visible_BHW: npt.NDArray[np.bool_],
    alike_B: npt.NDArray[np.bool_],
    config: FlowPairsConfig,
    rng: np.random.Generator,
) -> FlowPairs:
    return FlowPairs(
        to_images([current for current, _ in images]),
        to_images([reference for _, reference in images]),
        torch.stack([guess_flow(*pair, rng, config) for pair in images]),
        torch.from_numpy(flow_BHW2).permute(0, 3, 1, 2),
        torch.from_numpy(visible_BHW),
        torch.from_numpy(alike_B),
    )


def to_images(images: Sequence[UInt8Array]) -> Tensor:
    """RGB pixels as networks take them, [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def guess_flow(
    current_HWC: UInt8Array, reference_HWC: UInt8Array, rng: np.random.Generator, config: FlowPairsConfig
) -> Tensor:
    """A guess as it may be had live, or now and then none, [2, H/4, W/4]."""
    kind = rng.random()
    if kind < config.unguessed_share:
        return torch.zeros(2, *(side // GUESS_STRIDE for side in current_HWC.shape[:2]))
    quick = kind < config.unguessed_share + config.quick_share
    return torch.from_numpy(dis_guess(current_HWC, reference_HWC, QUICK if quick else SERVED))


class FlowBatches(IterableDataset[FlowPairs]):
    """An endless stream of pairs; those of the n-th step depend on seed, n and the clips alone."""

    def __init__(
        self,
        cache: PhotoCache,
        config: FlowPairsConfig,
        *,
        seed: int,
        first: int = 0,
        unlabelled: Sequence[VideoFrames] = (),
    ) -> None:
        super().__init__()
        self._cache, self._config, self._seed, self._first = cache, config, seed, first
        self._unlabelled = unlabelled

    def __iter__(self) -> Iterator[FlowPairs]:
        cv2.setNumThreads(0)
        worker = get_worker_info()
        step = self._first + (worker.id if worker else 0)
        while True:
            yield draw_pairs(
                self._cache, self._config, seed=self._seed, step=step, unlabelled=self._unlabelled
            )
            step += worker.num_workers if worker else 1


def flow_terms(found: FlowField, pairs: FlowPairs) -> dict[str, Tensor]:
    """Terms of the loss of a light flow network's answer.

    Args:
        found: From current to reference; its raw flow learns.
        pairs: What it was asked, and the truth where that is known.

    Returns:
        `flow`: the root of the endpoint error; `light`: how the current frame differs from the reference
        drawn along the flow, at half resolution, where it is visible and of the same colours. Of real pairs
        nobody knows what is visible: where they differ much, nothing is learned.
    """
    flow = found.pyramid[0].float()
    device = flow.device
    visible = pairs.visible_BHW.to(device)[:, None].float()
    share = F.avg_pool2d(visible, FLOW_STRIDE)
    mean = F.avg_pool2d(pairs.flow_B2HW.to(device) * visible, FLOW_STRIDE)
    truth = mean / share.clamp(min=_SEEN) / FLOW_UNIT
    error = ((flow - truth).square().sum(dim=1, keepdim=True) + 1e-6).sqrt() * FLOW_UNIT
    weight = share * (share > _SEEN)
    followed = ((error + _ROOT_START).sqrt() * weight).sum() / weight.sum().clamp(min=1)
    current, reference = (
        F.avg_pool2d(image.to(device), 2) for image in (pairs.current_B3HW, pairs.reference_B3HW)
    )
    ratio = FLOW_STRIDE // 2
    half = F.interpolate(flow, scale_factor=float(ratio), mode="bilinear", align_corners=False) * ratio
    squares = (current - warp(reference, half, outside="border")).square().mean(dim=1)
    differs = (squares + _LIGHT_START).sqrt()
    known = F.avg_pool2d(visible, 2)[:, 0]
    if not bool(pairs.visible_BHW.any()):
        differs, known = differs.clamp(max=_HIDDEN), torch.ones_like(squares)
    known = known * pairs.alike_B.to(device)[:, None, None]
    return {"flow": followed, "light": (differs * known).sum() / known.sum().clamp(min=1) * _LIGHT_WEIGHT}
