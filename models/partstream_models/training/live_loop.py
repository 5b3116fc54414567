"""Trains a recipe of the live network: makes network and task, logs, saves, writes the weights that ship."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from partstream_models.data.batches import CacheStatistics
from partstream_models.data.clips.unlabelled import VideoFrames
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.sources import SceneSources
from partstream_models.networks.checkpoints import load_network, load_part, save_tensors, start_network
from partstream_models.networks.live import LiveNetwork
from partstream_models.training.fit import Fit, FitConfig, Optimiser
from partstream_models.training.live_recipes import Recipe, Subject
from partstream_models.training.live_tasks import LiveTask, make_live_task
from partstream_models.training.log import RunLog

SAVE_EVERY = 200
LOG_EVERY = 20
STATE, AVERAGE, WEIGHTS = "state.safetensors", "average.safetensors", "final.safetensors"
_COSINE_FLOOR = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Where and how long a recipe runs."""

    output_dir: Path
    minutes: float | None = None
    """Ends the run early; the learning rate falls as if this were the whole of it."""
    start_from: Path | None = None
    """A shipped checkpoint (`--from`): weights only."""
    pretrained: Path | None = None
    flow: Path | None = None
    """A checkpoint of the live network whose flow network is taken over."""
    num_threads: int = 2
    num_workers: int = 1
    device: str = "cpu"
    tensorboard: bool = False
    unlabelled: tuple[VideoFrames, ...] = ()
    """Real clips, which flow is learned from too."""
    sources: SceneSources | None = None
    """Where scenes come from; recipes of scenes need it."""


def train(recipe: Recipe, cache: PhotoCache, statistics: CacheStatistics, options: RunOptions) -> Path:
    """Run a recipe, or go on where its output folder stands; return the path of the weights to ship.

    `average.safetensors` is where the run stands; `final.safetensors` has its embeddings centred as well.

    Raises:
        ValueError: A checkpoint does not fit, or the output folder holds another recipe's run.
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(options.num_threads)
    network = _make_network(recipe, options)
    task = make_live_task(
        recipe, cache, statistics, options.device, options.unlabelled, options.sources, options.pretrained
    )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and task.is_trained(name))
    draws = _LiveDraws(network, task, options.num_workers)
    fit = Fit(
        draws, fit_config(recipe, options.minutes), name=recipe.name, device=options.device, loss=task.loss
    )
    run = _Run(fit, draws, options)
    run.resume()
    run.loop()
    return run.finish()


def fit_config(recipe: Recipe, minutes: float | None = None) -> FitConfig:
    """The schedule of a recipe: a warm-up, then half a cosine over the steps, or over the minutes if any."""
    return FitConfig(
        num_steps=recipe.num_steps,
        learning_rate=recipe.learning_rate,
        optimiser=Optimiser.ADAMW,
        weight_decay=recipe.weight_decay,
        clip_norm=recipe.clip_norm,
        seed=recipe.seed,
        warmup_steps=recipe.warmup_steps,
        cosine_floor=_COSINE_FLOOR,
        rate_factors=(("backbone.trunk.", recipe.trunk_factor),),
        ema_decay=recipe.ema_decay,
        minutes=minutes,
    )


def _make_network(recipe: Recipe, options: RunOptions) -> LiveNetwork:
    network = LiveNetwork(temporal=recipe.subject is not Subject.PICTURES)
    if options.start_from is not None:
        start_network(network, options.start_from)
    elif options.pretrained is not None and recipe.use_pretrained:
        network.load_pretrained(options.pretrained)
    if options.flow is not None:
        load_part(network, options.flow, "temporal.flow.")
    network.backbone.trunk.train_last(recipe.trained_blocks)
    network.to(device=options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


class _LiveDraws:
    """Losses of the batches of a live task, which are drawn in order by worker processes."""

    def __init__(self, network: LiveNetwork, task: LiveTask, num_workers: int) -> None:
        self.network, self.task = network, task
        self._num_workers = num_workers
        self._stream: Iterator[Any] | None = None
        self.num_skipped = 0
        """Samples that could not be read."""

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of the loss of the next batch; the first call starts the workers at that number."""
        if self._stream is None:
            self._stream = self.task.stream(first=step, num_workers=self._num_workers)
        batch = next(self._stream)
        self.num_skipped += batch.num_skipped
        self.task.prepare(self.network)
        return self.task.terms(self.network, batch)


class _Run:
    """The files of one run."""

    def __init__(self, fit: Fit, draws: _LiveDraws, options: RunOptions) -> None:
        self._fit, self._draws, self._folder = fit, draws, options.output_dir
        self._log = RunLog(options.output_dir, tensorboard=options.tensorboard)

    def resume(self) -> None:
        """Go on from the output folder's last state, if there is one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if (self._folder / STATE).is_file():
            self._fit.resume(self._folder / STATE)
            load_network(self._average, self._folder / AVERAGE)

    def loop(self) -> None:
        """Train until the steps or the minutes are over, and save."""
        fit = self._fit
        bar = tqdm(total=fit.config.num_steps, initial=fit.step, desc=fit.name, mininterval=5)
        for report in fit.steps():
            bar.update()
            fit.skipped += self._draws.num_skipped
            self._draws.num_skipped = 0
            if report.step % LOG_EVERY == 0:
                self._log.write(report.step, fit.seconds, fit.skipped, report.terms)
                bar.set_postfix({name: f"{value:.2f}" for name, value in report.terms.items()})
            if report.step % SAVE_EVERY == 0:
                self._save()
        bar.close()
        self._save()

    def finish(self) -> Path:
        """Write the averaged weights with centred embeddings."""
        network = copy.deepcopy(self._average)
        self._draws.task.finish(network)
        save_tensors(self._folder / WEIGHTS, network.state_dict(), notes=self._fit.notes(), compact=True)
        return self._folder / WEIGHTS

    @property
    def _average(self) -> LiveNetwork:
        average = self._fit.average
        assert isinstance(average, LiveNetwork), "recipes of the live network average their weights"
        return average

    def _save(self) -> None:
        """Write the averaged weights and all that a later run needs to go on."""
        save_tensors(self._folder / AVERAGE, self._average.state_dict(), notes=self._fit.notes())
        self._fit.save(self._folder / STATE)
