"""A training loop for any network: it knows of losses, not of what they are made from.

Source of the schedules: ATEN (Zhou et al., MM 2018), section 5.1.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from partstream_models.checkpoints import load_tensors, save_tensors


class Optimiser(StrEnum):
    """How gradients become steps."""

    SGD = "sgd"
    """Momentum .9."""
    ADAMW = "adamw"


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """Steps and schedule."""

    num_steps: int
    learning_rate: float = 1e-3
    drop_at: float = 1.0
    """Share of the steps after which the learning rate is a tenth."""
    optimiser: Optimiser = Optimiser.SGD
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    bf16: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        if not 0 < self.drop_at <= 1:
            raise ValueError(f"drop_at must be in 0..1, got {self.drop_at}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


class Task(Protocol):
    """What is learned."""

    @property
    def network(self) -> nn.Module:
        """The network whose parameters are trained."""
        ...

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of that step's loss; they depend on the network and the step alone."""
        ...


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did."""

    step: int
    """Steps done, this one among them."""
    seconds: float
    """Since the run was started or taken up."""
    terms: dict[str, float]
    skipped: bool
    """The loss was not finite, and nothing was changed."""


class Fit:
    """One training run: iterate over `steps`, `save` when it suits."""

    def __init__(self, task: Task, config: FitConfig, *, name: str, device: str = "cpu") -> None:
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
        self.step = 0

    def steps(self, *, minutes: float | None = None) -> Iterator[StepReport]:
        """Train until the steps or the minutes are over, reporting each step."""
        start = time.monotonic()
        while self.step < self.config.num_steps:
            seconds = time.monotonic() - start
            if minutes is not None and seconds > minutes * 60:
                return
            terms, skipped = self._update()
            self.step += 1
            yield StepReport(self.step, time.monotonic() - start, terms, skipped)

    def _update(self) -> tuple[dict[str, float], bool]:
        dropped = self.step >= self.config.drop_at * self.config.num_steps
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * (0.1 if dropped else 1.0)
        self.task.network.train()
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.config.bf16):
            losses = self.task.losses(self.step)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        terms = {"total": float(total.detach())} | {n: float(loss.detach()) for n, loss in losses.items()}
        if not torch.isfinite(total):
            return terms, True
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(self.task.network.parameters(), self.config.clip_norm)
        self.optimiser.step()
        return terms, False

    def save(self, path: Path) -> None:
        """Write all that `resume` needs."""
        state = {f"network.{name}": tensor for name, tensor in self.task.network.state_dict().items()}
        for number, row in self.optimiser.state_dict()["state"].items():
            state |= {
                f"optimiser.{number}.{name}": value
                for name, value in row.items()
                if isinstance(value, Tensor)
            }
        save_tensors(path, state, notes={"recipe": self.name, "step": self.step})

    def resume(self, path: Path) -> None:
        """Go on where a saved run stood.

        Raises:
            ValueError: The file is missing, or belongs to another recipe or network.
        """
        tensors, notes = load_tensors(path)
        if notes.get("recipe") != self.name:
            raise ValueError(f"{path} belongs to recipe {notes.get('recipe')!r}, not {self.name!r}")
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
