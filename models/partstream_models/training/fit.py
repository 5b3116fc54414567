"""A training loop for any network: it knows of losses, not of what they are made from.

A step is one update from `batch` draws, which a team of processes shares; what a draw is follows from its
number alone, so one process and several compute the same, and a run that was cut short goes on as if it had
not been.

Source of the schedules: ATEN (Zhou et al., MM 2018), section 5.1; HVISNet (Yu et al.), section V.
"""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from partstream_models.networks.checkpoints import load_tensors, save_tensors
from partstream_models.networks.precision import half_precision
from partstream_models.training.process_group import ProcessGroup


class Optimiser(StrEnum):
    """How gradients become steps."""

    SGD = "sgd"
    """Momentum .9."""
    ADAMW = "adamw"


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """Steps and schedule."""

    num_steps: int
    batch: int = 1
    """Draws of a step, of all processes together."""
    learning_rate: float = 1e-3
    drops: tuple[float, ...] = ()
    """Shares of the steps after each of which the learning rate is `drop_factor` of what it was."""
    drop_factor: float = 0.1
    power: float = 0.0
    """Of the polynomial policy, (1 - step / num_steps) ** power; 0 leaves it out."""
    optimiser: Optimiser = Optimiser.SGD
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    bf16: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
        if not all(0 < drop <= 1 for drop in self.drops) or list(self.drops) != sorted(self.drops):
            raise ValueError(f"drops must rise in 0..1, got {self.drops}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        dropped = sum(step >= drop * self.num_steps for drop in self.drops)
        left = 1 - step / self.num_steps
        return float(self.learning_rate * self.drop_factor**dropped * left**self.power)


class Task(Protocol):
    """A network with the losses of its training draws."""

    @property
    def network(self) -> nn.Module:
        """The network whose parameters are trained."""
        ...

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of the loss of the draw of that number; they depend on the network and the number alone."""
        ...


class _Losses(nn.Module):
    """A task as a module, so that DistributedDataParallel sees which parameters a draw used."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.network = task.network
        self._task = task

    def forward(self, draw: int) -> dict[str, Tensor]:
        return self._task.losses(draw)


@dataclass(frozen=True, slots=True)
class StepReport:
    """Outcome of a step."""

    step: int
    """Steps done, this one among them."""
    seconds: float
    """Since the run was started or taken up."""
    terms: dict[str, float]
    """Means over this process's draws."""
    skipped: bool
    """A loss was not finite, in this process or another, and nothing was changed."""


class Fit:
    """One training run: iterate over `steps`, `save` when it suits.

    Args:
        task: What is learned.
        config: Steps and schedule.
        name: Of the recipe; a saved run of another name is refused.
        device: Where the network is.
        team: The processes that share the work.

    Raises:
        ValueError: The draws of a step cannot be shared equally.
    """

    def __init__(
        self,
        task: Task,
        config: FitConfig,
        *,
        name: str,
        device: str = "cpu",
        team: ProcessGroup | None = None,
    ) -> None:
        self.team = team or ProcessGroup()
        if config.batch % self.team.size:
            raise ValueError(f"a batch of {config.batch} cannot be shared by {self.team.size} processes")
        torch.manual_seed(config.seed)
        self.task, self.config, self.name, self.device = task, config, name, device
        parameters = [p for p in task.network.parameters() if p.requires_grad]
        self.optimiser: torch.optim.Optimizer
        if config.optimiser is Optimiser.SGD:
            self.optimiser = torch.optim.SGD(
                parameters, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
            )
        else:
            self.optimiser = torch.optim.AdamW(
                parameters, config.learning_rate, weight_decay=config.weight_decay
            )
        self._losses: nn.Module = _Losses(task)
        if self.team.size > 1:
            self._losses = DistributedDataParallel(self._losses, find_unused_parameters=True)
        self.step = 0

    def steps(self, *, minutes: float | None = None) -> Iterator[StepReport]:
        """Train until the steps or the minutes are over, reporting each step."""
        start = time.monotonic()
        while self.step < self.config.num_steps:
            seconds = time.monotonic() - start
            if minutes is not None and not self.team.all_of(seconds <= minutes * 60, self.device):
                return
            terms, skipped = self._update()
            self.step += 1
            yield StepReport(self.step, time.monotonic() - start, terms, skipped)

    def _update(self) -> tuple[dict[str, float], bool]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate(self.step)
        self.task.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        first = self.step * self.config.batch
        draws = range(first + self.team.rank, first + self.config.batch, self.team.size)
        terms: dict[str, float] = {}
        finite = True
        for draw in draws:
            last = draw == draws[-1]
            # processes average their gradients in the backward pass of the last draw
            alone = isinstance(self._losses, DistributedDataParallel) and not last
            with self._losses.no_sync() if alone else nullcontext():  # type: ignore[operator]
                total = self._forward(draw, terms, len(draws))
                finite = finite and bool(torch.isfinite(total))
                # the last pass is never left out, or the team would wait for it in the next step; alone,
                # a draw that nothing which learns took part in is
                if (finite or last) and (total.requires_grad or self.team.size > 1):
                    torch.autograd.backward(total / len(draws))
        finite = self.team.all_of(finite, self.device)
        if finite:
            nn.utils.clip_grad_norm_(self.task.network.parameters(), self.config.clip_norm)
            self.optimiser.step()
        return terms, not finite

    def _forward(self, draw: int, terms: dict[str, float], num_draws: int) -> Tensor:
        with half_precision(self.device, enabled=self.config.bf16):
            losses: dict[str, Tensor] = self._losses(draw)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        for name, loss in {"total": total, **losses}.items():
            terms[name] = terms.get(name, 0.0) + float(loss.detach()) / num_draws
        return total

    def save(self, path: Path) -> None:
        """Write all that `resume` needs."""
        state = {f"network.{name}": tensor for name, tensor in self.task.network.state_dict().items()}
        for number, row in self.optimiser.state_dict()["state"].items():
            state |= {
                f"optimiser.{number}.{name}": value
                for name, value in row.items()
                if isinstance(value, Tensor)
            }
        save_tensors(path, state, notes={"recipe": self.name, "step": self.step, "batch": self.config.batch})

    def resume(self, path: Path) -> None:
        """Go on where a saved run stood.

        Raises:
            ValueError: The file is missing, or belongs to another recipe or network, or to a run that had
                another batch and so would see other draws.
        """
        tensors, notes = load_tensors(path)
        if notes.get("recipe") != self.name:
            raise ValueError(f"{path} belongs to recipe {notes.get('recipe')!r}, not {self.name!r}")
        if notes.get("batch", self.config.batch) != self.config.batch:
            raise ValueError(f"{path} was begun with a batch of {notes['batch']}, not {self.config.batch}")
        own: dict[str, Tensor] = {}
        rows: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "network":
                own[rest] = tensor
            else:
                number, key = rest.split(".", 1)
                rows.setdefault(int(number), {})[key] = tensor
        try:
            self.task.network.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"{path} belongs to another network: {error}") from error
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": rows, "param_groups": groups})
        self.step = int(str(notes["step"]))
