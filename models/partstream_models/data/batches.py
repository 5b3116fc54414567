"""Batches of scenes with detection targets, made beside the training process.

Shape suffixes: B batch, H height, W width, N people of one image.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from partstream_core.labels import NUM_PARTS, PARTS, VOID
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import draw_clip
from partstream_models.data.inner_center import inner_center
from partstream_models.data.photos.cache import COUNTS, PhotoCache
from partstream_models.data.scenes.compose import ComposeConfig, draw_pair
from partstream_models.data.scenes.draw import SceneConfig, draw_scenes
from partstream_models.data.scenes.scene import Scene
from partstream_models.data.scenes.sources import SceneSources

T = TypeVar("T")
RARE_PARTS = ("hat", "gloves", "sunglasses", "scarf", "socks", "skirt", "torso-skin")
MAX_SKIPPED = 100
"""More failures in one batch are no accident of one photo."""
MIN_PIXELS = 30
"""People with fewer visible pixels are void: too small to demand."""


@dataclass(frozen=True, slots=True)
class People:
    """The people of one image: what a detector is to find."""

    boxes_N4: Tensor
    centers_N2: Tensor
    """Sampling centers, x and y."""
    identities_N: Tensor
    rows_N: Tensor
    """Value of each person in the instance map."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images with their targets."""

    images_BHWC: Tensor
    """uint8, RGB."""
    parts_BHW: Tensor
    """uint8; 255 void."""
    instances_BHW: Tensor
    """uint8; 0 nobody, 255 void."""
    people: tuple[People, ...]
    teacher_BHW: Tensor
    """uint8; what pretrained networks say where parts are void (`data.photos.partial_labels`)."""
    num_skipped: int = 0
    """Scenes that could not be drawn; others took their places."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchConfig:
    """How batches are drawn."""

    batch_size: int = 16
    max_pixels: int | None = None
    """Fewer scenes in a batch of large ones, so that its pixels stay about this many."""
    sizes: tuple[tuple[int, int], ...] = ((256, 256), (384, 256), (224, 384))
    """Heights and widths to choose from, multiples of 32; one a batch."""
    clip_share: float = 0.0
    """Share of the pairs of scenes that are two frames of a clip; the rest is drawn as `compose` says."""
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(num_frames=2, max_people=8, speed=0.05))
    compose: ComposeConfig = field(default_factory=ComposeConfig)
    scenes: SceneConfig | None = None
    """Draw scenes (`data.scenes.draw`) in place of what `compose` says."""
    box_centers: bool = False
    """Sample around box centers (FCOS) instead of inner centers (HVISNet)."""

    def __post_init__(self) -> None:
        if self.batch_size < 2 or self.batch_size % 2:
            raise ValueError(f"batch_size must be even, got {self.batch_size}: scenes come in pairs")
        for height, width in self.sizes:
            if height % 32 or width % 32:
                raise ValueError(f"sizes must be multiples of 32, got {height}x{width}")
        if not 0 <= self.clip_share <= 1:
            raise ValueError(f"clip_share must be in 0..1, got {self.clip_share}")

    def num_scenes(self, height: int, width: int) -> int:
        """Scenes in a batch of that size; always pairs."""
        if self.max_pixels is None:
            return self.batch_size
        return min(self.batch_size, max(2, self.max_pixels // (height * width) // 2 * 2))


class Batches(IterableDataset[Batch]):
    """An endless stream of batches; the n-th batch depends on seed and n alone."""

    def __init__(
        self,
        cache: PhotoCache,
        config: BatchConfig,
        *,
        seed: int,
        first: int = 0,
        weights: npt.NDArray[np.float64] | None = None,
        sources: SceneSources | None = None,
    ) -> None:
        super().__init__()
        if config.scenes is not None and sources is None:
            raise ValueError("scenes need sources")
        self._cache, self._config, self._weights, self._sources = cache, config, weights, sources
        self._seed, self._first = seed, first

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(0)
        worker = get_worker_info()
        number = self._first + (worker.id if worker else 0)
        while True:
            yield self.draw(number)
            number += worker.num_workers if worker else 1

    def draw(self, number: int) -> Batch:
        """The batch of that number."""
        config = self._config
        rng = np.random.default_rng((self._seed, number))
        height, width = config.sizes[int(rng.integers(len(config.sizes)))]
        scenes: list[Scene] = []
        num_skipped = 0
        while len(scenes) < config.num_scenes(height, width):
            try:
                scenes.extend(self._draw_pair(rng, height, width))
            except (ArithmeticError, LookupError, ValueError, cv2.error) as error:
                num_skipped += 1
                if num_skipped > MAX_SKIPPED:
                    raise RuntimeError(f"batch {number} cannot be drawn: {error}") from error
        found = [people_of(scene, box_centers=config.box_centers) for scene in scenes]
        teacher = [scene.parts_HW * 0 if scene.teacher_HW is None else scene.teacher_HW for scene in scenes]
        return Batch(
            torch.from_numpy(np.stack([scene.image_HWC for scene in scenes])),
            torch.from_numpy(np.stack([scene.parts_HW for scene in scenes])),
            torch.from_numpy(np.stack([instances for _, instances in found])),
            tuple(people for people, _ in found),
            torch.from_numpy(np.stack(teacher)),
            num_skipped,
        )

    def _draw_pair(self, rng: np.random.Generator, height: int, width: int) -> tuple[Scene, ...]:
        config = self._config
        if config.clip_share > 0 and rng.random() < config.clip_share:
            clip = draw_clip(
                self._cache,
                seed=self._seed,
                number=int(rng.integers(1 << 31)),
                height=height,
                width=width,
                config=config.clip,
                weights=self._weights,
                backdrops=None if self._sources is None else self._sources.backdrops,
            )
            return clip.scene(0), clip.scene(len(clip.images_THWC) - 1)
        if config.scenes is not None and self._sources is not None:
            return draw_scenes(
                self._sources, rng, height=height, width=width, config=config.scenes, weights=self._weights
            )
        return draw_pair(
            self._cache, rng, height=height, width=width, config=config.compose, weights=self._weights
        )


def people_of(scene: Scene, *, box_centers: bool = False) -> tuple[People, npt.NDArray[np.uint8]]:
    """The people worth finding in a scene, and its instance map with the rest void."""
    instances = scene.instances_HW.copy()
    boxes, centers, identities, kept = [], [], [], []
    for row, identity in enumerate(scene.identities_N, start=1):
        mask = instances == row
        if np.count_nonzero(mask) < MIN_PIXELS:
            instances[mask] = VOID
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        if box_centers:
            center = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        else:
            place = inner_center(mask)
            assert place is not None
            center = (place[1] + 0.5, place[0] + 0.5)
        boxes.append(box)
        centers.append(center)
        identities.append(int(identity))
        kept.append(row)
    people = People(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(centers, dtype=torch.float32).reshape(-1, 2),
        torch.tensor(identities, dtype=torch.int64),
        torch.tensor(kept, dtype=torch.int64),
    )
    return people, instances


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Sampling weights of a cache's photos, and loss weights of its classes."""

    photo_weights: npt.NDArray[np.float64]
    """Chance of each photo; photos with rare parts come up more often."""
    class_weights: npt.NDArray[np.float32]
    """Loss weight of each part, higher for rare ones."""


def cache_statistics(cache: PhotoCache, cache_dir: Path) -> CacheStatistics:
    """Weights of photos and classes, from pixel counts that are kept beside the cache."""
    path = cache_dir / COUNTS
    counts = np.load(path) if path.is_file() else np.zeros((0, NUM_PARTS))
    if len(counts) != len(cache):
        rows = [np.bincount(cache[number].parts_HW.ravel(), minlength=256) for number in range(len(cache))]
        counts = np.stack(rows)[:, :NUM_PARTS]
        np.save(path, counts)
    rare = counts[:, [PARTS.index(name) for name in RARE_PARTS]] > 60
    photo_weights = 1.0 + np.minimum(rare.sum(axis=1), 2)
    share = counts.sum(axis=0) / counts.sum()
    class_weights = np.clip(np.sqrt(np.median(share) / np.maximum(share, 1e-9)), 0.4, 3.0)
    return CacheStatistics(photo_weights / photo_weights.sum(), class_weights.astype(np.float32))


def loader(batches: IterableDataset[T], *, num_workers: int) -> DataLoader[T]:
    """Batches drawn ahead in processes of their own.

    They are forked from a fresh process: to fork one with threads of gRPC or of a runtime can take it down.
    """
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context="forkserver" if num_workers else None,
        prefetch_factor=3 if num_workers else None,
        persistent_workers=num_workers > 0,
    )
