"""Trains the networks of the papers: one procedure for all recipes.

A recipe says what is learned from which data; what runs it is the same for every network: it goes on where
its output folder stands, works in a team, evaluates now and then, and leaves weights.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import nn
from tqdm import tqdm

from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.prefetch import Ahead, Drawn
from partstream_models.data.readers.formats import Known
from partstream_models.data.readers.record import Recording
from partstream_models.networks.checkpoints import save_tensors, start_network
from partstream_models.training.fit import Fit, FitConfig, StepReport, Task
from partstream_models.training.process_group import ProcessGroup

SAVE_EVERY = 200
LOG_EVERY = 10
STATE, WEIGHTS, LOG = "state.safetensors", "final.safetensors", "log.jsonl"


@dataclass(frozen=True, slots=True)
class DataSet:
    """A published data set that was opened."""

    training: tuple[Recording, ...]
    validation: tuple[Recording, ...] = ()


Material = PhotoCache | DataSet
"""Clips are composed from photos; or a data set is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperOptions:
    """Where a recipe runs, and on what it builds."""

    output_dir: Path
    minutes: float | None = None
    num_threads: int = 1
    num_workers: int = 0
    """Threads that make draws ahead."""
    device: str = "cpu"
    team: ProcessGroup = field(default_factory=ProcessGroup)
    evaluate_every: int | None = None
    """Steps between evaluations; one at the end where None."""
    resnet: Path | None = None
    """ImageNet weights of a ResNet trunk, as torchvision publishes them."""
    flownet: Path | None = None
    """Weights of FlowNet-S."""
    dla: Path | None = None
    """ImageNet weights of a DLA-34 trunk, as its authors publish them."""
    start_from: Path | None = None
    """Weights of a run of ours."""

    def ahead(self, draw: Callable[[int], Drawn]) -> Ahead[Drawn]:
        """Draws made ahead, as they come up in this process."""
        return Ahead(draw, stride=self.team.size, num_threads=self.num_workers)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a recipe makes of its data."""

    task: Task
    evaluate: Callable[[], dict[str, float]] | None = None
    """How good the network is, by the name of the measure; None where nothing can be said."""


class PaperRecipe(Protocol):
    """Configuration of a run without data, budget and device."""

    @property
    def name(self) -> str:
        """What commands call it."""
        ...

    @property
    def fit(self) -> FitConfig:
        """Steps and schedule."""
        ...

    @property
    def epochs(self) -> int | None:
        """How often a data set is gone through; the schedule's steps count where None."""
        ...

    @property
    def needs(self) -> frozenset[Known]:
        """What a data set must know of its frames."""
        ...

    def with_fit(self, fit: FitConfig) -> Self:
        """The same with another schedule."""
        ...

    def build(self, options: PaperOptions) -> nn.Module:
        """The network with the pretrained weights that were named; ValueError where they do not fit."""
        ...

    def prepare(self, network: Any, material: Material, options: PaperOptions) -> Prepared:
        """What the network learns from that material."""
        ...


@dataclass(frozen=True, slots=True)
class PaperResult:
    """What a run left."""

    weights: Path
    scores: dict[str, float]
    """Of the last evaluation."""


def scheduled(recipe: PaperRecipe, num_draws: int) -> PaperRecipe:
    """The recipe with as many steps as its epochs take over a data set of that many draws."""
    if recipe.epochs is None:
        return recipe
    steps = math.ceil(recipe.epochs * num_draws / recipe.fit.batch)
    return recipe.with_fit(replace(recipe.fit, num_steps=steps))


def build(recipe: PaperRecipe, options: PaperOptions) -> nn.Module:
    """The recipe's network on the device, from the weights that were named.

    Raises:
        ValueError: A checkpoint is missing, or does not fit.
    """
    torch.manual_seed(recipe.fit.seed)
    network = recipe.build(options)
    if options.start_from is not None:
        start_network(network, options.start_from)
    return network.to(options.device)


def train_paper(recipe: PaperRecipe, material: Material, options: PaperOptions) -> PaperResult:
    """Run a recipe, or go on where its output folder stands.

    Raises:
        ValueError: A checkpoint does not fit, or a file of the data set is missing or damaged.
    """
    torch.set_num_threads(options.num_threads)
    network = build(recipe, options)
    prepared = recipe.prepare(network, material, options)
    fit = Fit(prepared.task, recipe.fit, name=recipe.name, device=options.device, team=options.team)
    run = _Run(fit, prepared, options)
    scores = run.go()
    weights = options.output_dir / WEIGHTS
    if options.team.leads:
        notes = {"recipe": recipe.name, "step": fit.step}
        save_tensors(weights, network.state_dict(), notes=notes)
    return PaperResult(weights, scores)


class _Run:
    """One run's files: state, log, scores. Only the leading process writes."""

    def __init__(self, fit: Fit, prepared: Prepared, options: PaperOptions) -> None:
        self._fit, self._prepared, self._options = fit, prepared, options
        self._folder = options.output_dir

    def go(self) -> dict[str, float]:
        """Train to the end, and return the last scores."""
        fit, options = self._fit, self._options
        if (self._folder / STATE).is_file():
            fit.resume(self._folder / STATE)
        evaluated_at, scores = -1, {}
        bar = tqdm(
            total=fit.config.num_steps,
            initial=fit.step,
            desc=fit.name,
            mininterval=5,
            disable=not fit.team.leads,
        )
        for report in fit.steps(minutes=options.minutes):
            bar.update()
            if report.step % LOG_EVERY == 0 or report.skipped:
                bar.set_postfix({name: f"{value:.3f}" for name, value in report.terms.items()}, refresh=False)
                self._write(report)
            if report.step % SAVE_EVERY == 0:
                self._save()
            if options.evaluate_every is not None and report.step % options.evaluate_every == 0:
                evaluated_at, scores = report.step, self._evaluate()
        bar.close()
        self._save()
        return scores if evaluated_at == fit.step else self._evaluate()

    def _save(self) -> None:
        if self._fit.team.leads:
            self._fit.save(self._folder / STATE)

    def _evaluate(self) -> dict[str, float]:
        if self._prepared.evaluate is None or not self._fit.team.leads:
            return {}
        scores = self._prepared.evaluate()
        self._line({"step": self._fit.step, "scores": scores})
        return scores

    def _write(self, report: StepReport) -> None:
        rate = self._fit.config.rate(report.step - 1)
        row = {
            "step": report.step,
            "seconds": round(report.seconds, 1),
            "skipped": report.skipped,
            "rate": rate,
        }
        self._line(row | {"terms": {name: round(value, 5) for name, value in report.terms.items()}})

    def _line(self, row: Mapping[str, object]) -> None:
        if self._fit.team.leads:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
