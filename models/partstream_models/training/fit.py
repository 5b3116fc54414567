"""The training loop of every network: updates, learning rate, averaged weights, saving and resuming.

A step is one update from `batch` draws, which a group of processes shares. A draw depends on its number
alone, so one process and several compute the same, and a run that was cut short ends as an undisturbed one.

Source of the schedules: ATEN (Zhou et al., MM 2018), section 5.1; HVISNet (Yu et al.), section V.
"""

import copy
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

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
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0 in a straight line."""
    cosine_floor: float | None = None
    """The learning rate falls along half a cosine to this share of its peak; None leaves that out."""
    rate_factors: tuple[tuple[str, float], ...] = ()
    """Beginnings of parameters' names, and the share of the learning rate that these parameters have."""
    ema_decay: float | None = None
    """Of the moving average of the weights; None averages nothing."""
    minutes: float | None = None
    """Length of the run, resumed parts included, if `num_steps` take longer; the cosine ends with it."""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
        if not all(0 < drop <= 1 for drop in self.drops) or list(self.drops) != sorted(self.drops):
            raise ValueError(f"drops must rise in 0..1, got {self.drops}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")

    def progress(self, step: int, seconds: float = 0.0) -> float:
        """How much of the run is over after that many steps and seconds, 0..1."""
        done = step / self.num_steps
        if self.minutes is not None:
            done = max(done, seconds / 60 / self.minutes)
        return min(done, 1.0)

    def rate(self, step: int, seconds: float = 0.0) -> float:
        """Learning rate of a step, counted from 0, after that many seconds of training."""
        dropped = sum(step >= drop * self.num_steps for drop in self.drops)
        left = 1 - step / self.num_steps
        rate = self.learning_rate * self.drop_factor**dropped * left**self.power
        if self.warmup_steps:
            rate *= min((step + 1) / self.warmup_steps, 1.0)
        if self.cosine_floor is not None:
            cosine = 0.5 * (1 + math.cos(math.pi * self.progress(step, seconds)))
            rate *= self.cosine_floor + (1 - self.cosine_floor) * cosine
        return float(rate)


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

    def __init__(self, task: Task, loss: nn.Module) -> None:
        super().__init__()
        self.network, self.loss = task.network, loss
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
    """A loss or a gradient was not finite, in this process or another, and nothing was changed."""


class Fit:
    """One training run: iterate over `steps`, `save` when it suits.

    `average` holds the moving average of the network's weights if the configuration asks for one; parameters
    that do not learn are not averaged.

    Args:
        task: What is learned.
        config: Steps and schedule.
        name: Of the recipe; a saved run of another name is refused.
        device: Where the network is.
        team: The processes that share the work.
        loss: Parameters and buffers of the loss that learn beside the network; their gradient is not clipped.

    Raises:
        ValueError: The draws of a step cannot be shared equally, or processes would have to agree on time.
    """

    def __init__(
        self,
        task: Task,
        config: FitConfig,
        *,
        name: str,
        device: str = "cpu",
        team: ProcessGroup | None = None,
        loss: nn.Module | None = None,
    ) -> None:
        self.team = team or ProcessGroup()
        if config.batch % self.team.size:
            raise ValueError(f"a batch of {config.batch} cannot be shared by {self.team.size} processes")
        if config.minutes is not None and self.team.size > 1:
            raise ValueError("the learning rate of several processes cannot fall by the minutes of each")
        torch.manual_seed(config.seed)
        self.task, self.config, self.name, self.device = task, config, name, device
        self.loss = nn.Module() if loss is None else loss
        self.average = None if config.ema_decay is None else copy.deepcopy(task.network).eval()
        self.optimiser: torch.optim.Optimizer
        groups = self._parameter_groups()
        if config.optimiser is Optimiser.SGD:
            self.optimiser = torch.optim.SGD(
                groups, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
            )
        else:
            self.optimiser = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
        self._losses: nn.Module = _Losses(task, self.loss)
        if self.team.size > 1:
            self._losses = DistributedDataParallel(self._losses, find_unused_parameters=True)
        self.step = 0
        self.seconds = 0.0
        """Of training, with that of the runs that this one goes on from."""
        self.skipped = 0
        """Steps that changed nothing."""

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """One group for each of `rate_factors`, empty or not, and one for the rest."""
        prefixes = [prefix for prefix, _ in self.config.rate_factors]
        groups: list[dict[str, Any]] = [
            {"params": [], "factor": factor} for _, factor in self.config.rate_factors
        ]
        groups.append({"params": [], "factor": 1.0})
        for name, parameter in self.task.network.named_parameters():
            if parameter.requires_grad:
                group = next((i for i, prefix in enumerate(prefixes) if name.startswith(prefix)), -1)
                groups[group]["params"].append(parameter)
        groups[-1]["params"] += list(self.loss.parameters())
        return groups

    def progress(self) -> float:
        """How much of the run is over, 0..1."""
        return self.config.progress(self.step, self.seconds)

    def steps(self, *, minutes: float | None = None) -> Iterator[StepReport]:
        """Train until the run is over, or for so many minutes from now on, reporting each step."""
        start = time.monotonic()
        while self.progress() < 1.0:
            begun = time.monotonic()
            if minutes is not None and not self.team.all_of(begun - start <= minutes * 60, self.device):
                return
            terms, skipped = self._update()
            self.seconds += time.monotonic() - begun
            self.step += 1
            self.skipped += skipped
            yield StepReport(self.step, time.monotonic() - start, terms, skipped)

    def _update(self) -> tuple[dict[str, float], bool]:
        rate = self.config.rate(self.step, self.seconds)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self.task.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        before = [(buffer, buffer.clone()) for buffer in self._buffers()]
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
        finite = self.team.all_of(finite, self.device) and self._clip_gradient()
        if finite:
            self.optimiser.step()
            self._update_average()
        else:
            for buffer, values in before:
                buffer.copy_(values)
        return terms, not finite

    def _buffers(self) -> Iterator[Tensor]:
        """What a forward pass changes: statistics of the norms, the loss's mean embedding."""
        yield from self.task.network.buffers()
        yield from self.loss.buffers()

    def _clip_gradient(self) -> bool:
        """Clip the network's gradient; whether its norm, and that of the loss's own parameters, is finite.

        Processes agree: their gradients were averaged.
        """
        norm = nn.utils.clip_grad_norm_(self.task.network.parameters(), self.config.clip_norm)
        own = [p.grad.norm() for p in self.loss.parameters() if p.grad is not None]
        return bool(torch.isfinite(torch.stack([norm, *own])).all())

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is None or self.config.ema_decay is None:
            return
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        network = self.task.network
        fixed = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
        new_tensors = network.state_dict()
        for name, own in self.average.state_dict().items():
            if name in fixed:
                continue
            new = new_tensors[name]
            if own.dtype.is_floating_point:
                own.lerp_(new.to(own.dtype), 1 - decay)
            else:
                own.copy_(new)

    def _forward(self, draw: int, terms: dict[str, float], num_draws: int) -> Tensor:
        with half_precision(self.device, enabled=self.config.bf16):
            losses: dict[str, Tensor] = self._losses(draw)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        for name, loss in {"total": total, **losses}.items():
            terms[name] = terms.get(name, 0.0) + float(loss.detach()) / num_draws
        return total

    def save(self, path: Path) -> None:
        """Write all that `resume` needs, except for `average`."""
        state = {f"network.{name}": tensor for name, tensor in self.task.network.state_dict().items()}
        state |= {f"loss.{name}": tensor for name, tensor in self.loss.state_dict().items()}
        for number, row in self.optimiser.state_dict()["state"].items():
            state |= {
                f"optimiser.{number}.{name}": value
                for name, value in row.items()
                if isinstance(value, Tensor)
            }
        save_tensors(path, state, notes=self.notes() | {"batch": self.config.batch, "skipped": self.skipped})

    def notes(self) -> dict[str, object]:
        """Where the run stands, for the header of a checkpoint."""
        return {"recipe": self.name, "step": self.step, "seconds": round(self.seconds, 1)}

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
        try:
            self.task.network.load_state_dict(_under(tensors, "network."))
            self.loss.load_state_dict(_under(tensors, "loss."))
        except RuntimeError as error:
            raise ValueError(f"{path} belongs to another network or other data: {error}") from error
        rows: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimiser.").items():
            number, key = name.split(".", 1)
            rows.setdefault(int(number), {})[key] = tensor
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": rows, "param_groups": groups})
        self.step = int(str(notes["step"]))
        self.seconds = float(str(notes.get("seconds", 0.0)))
        self.skipped = int(str(notes.get("skipped", 0)))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
