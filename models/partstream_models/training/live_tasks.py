"""Training tasks of the live network: single pictures, pairs of frames for flow, and clips.

A task draws batches and says what their losses are; the loop does the rest, which is the same for all.

Shape suffixes: B batch, T frames, H height, W width, C colour channels (RGB).
"""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import Module
from torch.utils.data import IterableDataset

from partstream_models.data.batches import Batch, Batches, CacheStatistics, loader
from partstream_models.data.clips.key_frames import VideoBatch, VideoBatches
from partstream_models.data.clips.unlabelled import VideoFrames
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.sources import SceneSources
from partstream_models.networks.live import LiveNetwork
from partstream_models.networks.movenet import MoveNetTaps, MoveNetTrunk
from partstream_models.networks.precision import half_precision
from partstream_models.training.flow_pairs import FlowBatches, FlowPairs, flow_terms
from partstream_models.training.frozen_trunk import FrozenTrunk
from partstream_models.training.live_losses import LiveLoss
from partstream_models.training.live_recipes import Recipe, Subject
from partstream_models.training.live_video import run_video, video_terms


class LiveTask(Protocol):
    """What is learned."""

    @property
    def loss(self) -> Module:
        """What is learned beside the network and does not ship."""
        ...

    def prepare(self, network: LiveNetwork) -> None:
        """Put the network's modules into training or evaluation mode."""
        ...

    def is_trained(self, name: str) -> bool:
        """Whether the network's parameter of that name may change."""
        ...

    def stream(self, *, first: int, num_workers: int) -> Iterator[Any]:
        """Batches from that step on; each has `num_skipped`."""
        ...

    def terms(self, network: LiveNetwork, batch: Any) -> dict[str, Tensor]:
        """Weighted terms of the loss by name."""
        ...

    def finish(self, network: LiveNetwork) -> None:
        """A last change to the weights that ship."""
        ...


def make_live_task(
    recipe: Recipe,
    cache: PhotoCache,
    statistics: CacheStatistics,
    device: str,
    unlabelled: Sequence[VideoFrames] = (),
    sources: SceneSources | None = None,
    pretrained: Path | None = None,
) -> LiveTask:
    """The task of a recipe.

    Args:
        recipe: What is learned and how.
        cache: Photos.
        statistics: Of the photos.
        device: Where the network is.
        unlabelled: Real clips, from which flow is learned too.
        sources: Where scenes come from, for recipes of scenes.
        pretrained: The public MoveNet, for recipes whose trunk learns beside it.

    Raises:
        ValueError: The recipe draws scenes and there are no sources, or its trunk learns beside MoveNet's and
            there is none.
    """
    if recipe.batches.scenes is not None and recipe.subject is not Subject.FLOW and sources is None:
        raise ValueError(f"{recipe.name} draws scenes: it needs backdrops")
    if recipe.subject is Subject.FLOW:
        return FlowTask(recipe, cache, device, unlabelled)
    if recipe.subject is Subject.VIDEO:
        return VideoTask(recipe, cache, statistics, device, sources, pretrained)
    return PictureTask(recipe, cache, statistics, device, sources, pretrained)


def _live_loss(recipe: Recipe, num_identities: int, statistics: CacheStatistics, device: str) -> LiveLoss:
    return LiveLoss(
        config=recipe.loss,
        num_identities=num_identities,
        class_weights=torch.from_numpy(statistics.class_weights),
    ).to(device)


class PictureTask:
    """Frames by themselves: backbone and heads."""

    def __init__(
        self,
        recipe: Recipe,
        cache: PhotoCache,
        statistics: CacheStatistics,
        device: str,
        sources: SceneSources | None = None,
        pretrained: Path | None = None,
    ) -> None:
        self._recipe, self._cache, self._statistics, self._device = recipe, cache, statistics, device
        self._sources = sources
        self._public_trunk = _public_trunk(recipe, pretrained, device)
        num_identities = len(cache) if sources is None else sources.num_identities
        self.loss = _live_loss(recipe, num_identities, statistics, device)
        self._trunk: FrozenTrunk | None = None
        self._num_batches = 0

    def prepare(self, network: LiveNetwork) -> None:
        """Everything is trained."""
        network.train()

    def is_trained(self, name: str) -> bool:
        """Everything but the temporal path."""
        return not name.startswith("temporal.")

    def stream(self, *, first: int, num_workers: int) -> Iterator[Batch]:
        """Batches of single scenes."""
        batches = Batches(
            self._cache,
            self._recipe.batches,
            seed=self._recipe.seed,
            first=first,
            weights=self._statistics.photo_weights,
            sources=self._sources,
        )
        return iter(loader(batches, num_workers=num_workers))

    def terms(self, network: LiveNetwork, batch: Batch) -> dict[str, Tensor]:
        """The terms of `LiveLoss`; if the trunk learns, also what keeps its pyramid as the joints read it."""
        images = _tensor(batch.images_BHWC, self._device).permute(0, 3, 1, 2)
        images = images.contiguous(memory_format=torch.channels_last)
        learns, every = bool(self._recipe.trained_blocks), self._recipe.keep_joints_every
        due = not learns or self._num_batches % every == every - 1
        self._num_batches += 1
        public = self._public_features(network, images) if due else None
        with half_precision(self._device):
            features = network.backbone.trunk(images) if learns or public is None else public
            outputs = network(images, features)
        found: dict[str, Tensor] = self.loss(outputs, batch)
        if learns and public is not None:
            weight = self._recipe.keep_joints * every
            found["joints"] = pyramid_error(features.pyramid, public.pyramid) * weight
        return found

    def _public_features(self, network: LiveNetwork, images_BCHW: Tensor) -> MoveNetTaps | None:
        """MoveNet's own features: of the frozen trunk, or beside one that learns; None if not needed."""
        trunk = self._public_trunk if self._recipe.trained_blocks else network.backbone.trunk
        if trunk is None:
            return None
        if self._device == "cpu" and FrozenTrunk.is_available():
            if self._trunk is None:
                self._trunk = FrozenTrunk(trunk, num_threads=torch.get_num_threads())
            return self._trunk(images_BCHW)
        if not self._recipe.trained_blocks:
            return None
        with torch.no_grad(), half_precision(self._device):
            features: MoveNetTaps = trunk(images_BCHW)
        return features

    def finish(self, network: LiveNetwork) -> None:
        """Centre the embeddings."""
        self.loss.center(network)


class VideoTask:
    """Clips: the temporal path, alone or with everything it works on."""

    def __init__(
        self,
        recipe: Recipe,
        cache: PhotoCache,
        statistics: CacheStatistics,
        device: str,
        sources: SceneSources | None = None,
        pretrained: Path | None = None,
    ) -> None:
        self._recipe, self._cache, self._statistics, self._device = recipe, cache, statistics, device
        self._pictures = PictureTask(recipe, cache, statistics, device, sources, pretrained)
        self._backdrops = None if sources is None else sources.backdrops
        self.loss = self._pictures.loss

    def prepare(self, network: LiveNetwork) -> None:
        """Frozen networks keep the statistics of their norms."""
        network.train()
        if self._recipe.temporal_only:
            network.backbone.eval()
            network.heads.eval()

    def is_trained(self, name: str) -> bool:
        """Everything, or of the temporal path what is no flow: that has learned from better pairs already."""
        is_flow = name.startswith("temporal.flow.") and ".scale." not in name
        return not self._recipe.temporal_only or (name.startswith("temporal.") and not is_flow)

    def stream(self, *, first: int, num_workers: int) -> Iterator[VideoBatch | Batch]:
        """Batches of clips; every other one of single scenes, if asked for."""
        recipe = self._recipe
        with_pictures = recipe.every_other_picture
        done = first // 2 if with_pictures else first
        batches = VideoBatches(
            self._cache,
            recipe.video,
            seed=recipe.seed,
            first=done,
            statistics=self._statistics,
            backdrops=self._backdrops,
        )
        videos = iter(loader(batches, num_workers=num_workers))
        if not with_pictures:
            yield from videos
        pictures = self._pictures.stream(first=first - done, num_workers=num_workers)
        for step in count(first):
            yield next(pictures) if step % 2 == 0 else next(videos)

    def terms(self, network: LiveNetwork, batch: VideoBatch | Batch) -> dict[str, Tensor]:
        """The terms of `LiveLoss` of both frames, flow and distillation; of scenes the former alone."""
        if isinstance(batch, Batch):
            return self._pictures.terms(network, batch)
        images = _tensor(batch.images_BTHWC, self._device).permute(0, 1, 4, 2, 3)
        guesses = batch.guesses_BT2QR.to(self._device)
        with half_precision(self._device):
            outputs = run_video(network, images, guesses, frozen=self._recipe.temporal_only)
        found: dict[str, Tensor] = self.loss(outputs.dense, batch.truth)
        return found | video_terms(outputs, batch)

    def finish(self, network: LiveNetwork) -> None:
        """Centre the embeddings, if they were learned."""
        if not self._recipe.temporal_only:
            self.loss.center(network)


class FlowTask:
    """Pairs of frames: the flow network alone."""

    def __init__(
        self, recipe: Recipe, cache: PhotoCache, device: str, unlabelled: Sequence[VideoFrames] = ()
    ) -> None:
        self._recipe, self._cache, self._device = recipe, cache, device
        self._unlabelled = unlabelled
        self.loss = nn.Module()

    def prepare(self, network: LiveNetwork) -> None:
        """There are no norms in the flow network."""
        network.eval()

    def is_trained(self, name: str) -> bool:
        """The flow network without the scale map, which means nothing without features."""
        return name.startswith("temporal.flow.") and ".scale." not in name

    def stream(self, *, first: int, num_workers: int) -> Iterator[FlowPairs]:
        """Batches of pairs."""
        recipe = self._recipe
        batches: IterableDataset[FlowPairs] = FlowBatches(
            self._cache, recipe.flow, seed=recipe.seed, first=first, unlabelled=self._unlabelled
        )
        return iter(loader(batches, num_workers=num_workers))

    def terms(self, network: LiveNetwork, batch: FlowPairs) -> dict[str, Tensor]:
        """Endpoint errors, and what differs after warping."""
        assert network.temporal is not None
        with half_precision(self._device):
            current, reference = (
                image.to(self._device).contiguous(memory_format=torch.channels_last)
                for image in (batch.current_B3HW, batch.reference_B3HW)
            )
            field = network.temporal.flow(current, reference, batch.guess_B2QR.to(self._device))
        return flow_terms(field, batch)

    def finish(self, network: LiveNetwork) -> None:
        """Nothing."""


def pyramid_error(pyramid_BCHW: Tensor, public_BCHW: Tensor) -> Tensor:
    """Squared difference of two pyramids against the mean square of MoveNet's, per image, then their mean.

    The joint heads, which do not learn, read the pyramid: as long as it stays, the joints do.
    """
    public = public_BCHW.float()
    error_B = (pyramid_BCHW.float() - public).square().mean(dim=(1, 2, 3))
    return (error_B / public.square().mean(dim=(1, 2, 3)).clamp(min=1e-6)).mean()


def _public_trunk(recipe: Recipe, pretrained: Path | None, device: str) -> MoveNetTrunk | None:
    """MoveNet's own trunk, beside which a trunk learns; None if none is needed.

    Raises:
        ValueError: It is needed and `pretrained` is missing or of another network.
    """
    if not (recipe.trained_blocks and recipe.use_pretrained and recipe.keep_joints):
        return None
    if pretrained is None:
        raise ValueError(f"{recipe.name} trains the trunk beside MoveNet's own: it needs MoveNet's weights")
    trunk = MoveNetTrunk()
    trunk.load_pretrained(pretrained)
    return trunk.requires_grad_(False).eval().to(device)


def _tensor(images: Tensor, device: str) -> Tensor:
    """uint8 pixels as networks take them."""
    return images.to(device).float() / 127.5 - 1
