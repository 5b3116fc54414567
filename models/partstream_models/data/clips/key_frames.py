"""Key frames of drawn clips and a frame that borrows from the last of them, for learning over time.

Shape suffixes: B clips, T frames (key frames oldest first, then the target), H height, W width, Q and R at
stride 4; the 2 of a flow is (x, y).

Source: ATEN (Zhou et al., MM 2018), section 4.4: I_{k-p}, ..., I_k and I_t.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from partstream_models.data.batches import Batch, CacheStatistics, people_of
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import Clip, draw_clip
from partstream_models.data.initial_flow import dis_guess
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.pictures import PictureCache


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoConfig:
    """Which clips are drawn."""

    num_keys: int = 4
    max_clips: int = 6
    max_pixels: int = 6 * 256 * 256
    """Of the targets of a batch."""
    sizes: tuple[tuple[int, int], ...] = ((256, 256), (288, 512), (384, 288), (512, 288))
    """Heights and widths to choose from, multiples of 32; one a batch."""
    speeds: tuple[float, ...] = (0.01, 0.025, 0.05, 0.09)
    """Ways of people from one drawn frame to the next, against the longer side; one a batch. A clip has a
    frame a key: slow ones are key frames close together, fast ones are far apart."""
    still_share: float = 0.1
    """Share of targets that are the last key frame itself."""
    clip: ClipConfig = field(
        default_factory=lambda: ClipConfig(max_people=6, cut_share=0.0, leaving_share=0.1, group_share=0.6)
    )

    def __post_init__(self) -> None:
        if self.num_keys < 2:
            raise ValueError(f"num_keys must be at least 2, got {self.num_keys}")


@dataclass(frozen=True, slots=True)
class VideoBatch:
    """Clips with the truth of their last two frames."""

    images_BTHWC: Tensor
    """uint8, RGB."""
    truth: Batch
    """The last key frames, then the targets."""
    guesses_BT2QR: Tensor
    """First flows from each frame but the first to the one before it, at stride 4, in pixels of the stride-8
    map."""
    flow_B2HW: Tensor
    """From the target to the last key frame, image pixels."""
    visible_BHW: Tensor
    """Where the key frame shows what the target shows."""

    @property
    def num_skipped(self) -> int:
        """Clips that could not be drawn."""
        return self.truth.num_skipped


class VideoBatches(IterableDataset[VideoBatch]):
    """An endless stream of batches; the n-th batch depends on seed and n alone."""

    def __init__(
        self,
        cache: PhotoCache,
        config: VideoConfig,
        *,
        seed: int,
        first: int = 0,
        statistics: CacheStatistics | None = None,
        backdrops: PictureCache | None = None,
    ) -> None:
        super().__init__()
        self._backdrops = backdrops
        self._cache, self._config, self._seed, self._first = cache, config, seed, first
        self._weights = None if statistics is None else statistics.photo_weights

    def __iter__(self) -> Iterator[VideoBatch]:
        cv2.setNumThreads(0)
        worker = get_worker_info()
        number = self._first + (worker.id if worker else 0)
        while True:
            yield self.draw(number)
            number += worker.num_workers if worker else 1

    def draw(self, number: int) -> VideoBatch:
        """The batch of that number."""
        config = self._config
        rng = np.random.default_rng((self._seed, number))
        height, width = config.sizes[int(rng.integers(len(config.sizes)))]
        speed = config.speeds[int(rng.integers(len(config.speeds)))]
        plan = replace(config.clip, num_frames=config.num_keys + 1, speed=speed)
        clips = [
            draw_clip(
                self._cache,
                seed=self._seed,
                number=int(rng.integers(1 << 31)),
                height=height,
                width=width,
                config=plan,
                weights=self._weights,
                backdrops=self._backdrops,
            )
            for _ in range(max(1, min(config.max_clips, config.max_pixels // (height * width))))
        ]
        return _batch(clips, [_order(config, rng) for _ in clips])


def _order(config: VideoConfig, rng: np.random.Generator) -> list[int]:
    """Frames in the order in which they are told: forwards or backwards in time."""
    frames = list(range(config.num_keys + 1))
    if rng.random() < 0.5:
        frames.reverse()
    if rng.random() < config.still_share:
        frames[-1] = frames[-2]
    return frames


def _guesses(images_THWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A guess from each frame to the one before it, [T - 1, 2, H/4, W/4]."""
    pairs = zip(images_THWC[1:], images_THWC[:-1], strict=True)
    return np.stack([dis_guess(current, former) for current, former in pairs])


def _batch(clips: list[Clip], orders: list[list[int]]) -> VideoBatch:
    images = [clip.images_THWC[order] for clip, order in zip(clips, orders, strict=True)]
    told = [(clip, order[-2]) for clip, order in zip(clips, orders, strict=True)]
    told += [(clip, order[-1]) for clip, order in zip(clips, orders, strict=True)]
    scenes = [clip.scene(frame) for clip, frame in told]
    found = [people_of(scene) for scene in scenes]
    flows = [clip.flow(order[-1], order[-2]) for clip, order in zip(clips, orders, strict=True)]
    truth = Batch(
        torch.from_numpy(np.stack([scene.image_HWC for scene in scenes])),
        torch.from_numpy(np.stack([scene.parts_HW for scene in scenes])),
        torch.from_numpy(np.stack([instances for _, instances in found])),
        tuple(people for people, _ in found),
        torch.from_numpy(np.stack([scene.parts_HW * 0 for scene in scenes])),
    )
    return VideoBatch(
        torch.from_numpy(np.stack(images)),
        truth,
        torch.from_numpy(np.stack([_guesses(frames) for frames in images])),
        torch.from_numpy(np.stack([flow.flow_HW2 for flow in flows])).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(np.stack([flow.visible_HW for flow in flows])),
    )
