"""The training loop: draw, forward, backward, average, save."""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from partstream_models.data.batches import CacheStatistics
from partstream_models.data.clips.unlabelled import VideoFrames
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.sources import SceneSources
from partstream_models.networks.checkpoints import (
    load_network,
    load_part,
    load_tensors,
    save_tensors,
    start_network,
)
from partstream_models.networks.live import LiveNetwork
from partstream_models.training.live_recipes import Recipe, Subject
from partstream_models.training.live_tasks import make_live_task
from partstream_models.training.log import RunLog

SAVE_EVERY = 200
LOG_EVERY = 20


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
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(options.num_threads)
    run = _Run(recipe, cache, statistics, options)
    run.resume()
    run.loop()
    run.save()
    return run.finish()


class _Run:
    """One training run's state."""

    def __init__(
        self, recipe: Recipe, cache: PhotoCache, statistics: CacheStatistics, options: RunOptions
    ) -> None:
        self.recipe, self.options = recipe, options
        self.network = LiveNetwork(temporal=recipe.subject is not Subject.PICTURES)
        self.fresh: list[str] = []
        if options.start_from is not None:
            self.fresh = start_network(self.network, options.start_from)
        elif options.pretrained is not None and recipe.use_pretrained:
            self.network.load_pretrained(options.pretrained)
        if options.flow is not None:
            load_part(self.network, options.flow, "temporal.flow.")
        self.network.backbone.trunk.train_last(recipe.trained_blocks)
        self.network.to(device=options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval()
        self.task = make_live_task(
            recipe, cache, statistics, options.device, options.unlabelled, options.sources, options.pretrained
        )
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and self.task.is_trained(name))
        self.optimiser = torch.optim.AdamW(self._groups(), weight_decay=recipe.weight_decay)
        self.log = RunLog(options.output_dir, tensorboard=options.tensorboard)
        self.step = 0
        self.skipped = 0
        self.seconds = 0.0

    def _groups(self) -> list[dict[str, object]]:
        named = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        trunk = [p for name, p in named if name.startswith("backbone.trunk.")]
        rest = [p for name, p in named if not name.startswith("backbone.trunk.")]
        rest += list(self.task.loss.parameters())
        rate = self.recipe.learning_rate
        return [
            {"params": trunk, "lr": rate * self.recipe.trunk_factor, "peak": rate * self.recipe.trunk_factor},
            {"params": rest, "lr": rate, "peak": rate},
        ]

    def progress(self) -> float:
        """How much of the run is over, 0..1."""
        done = self.step / self.recipe.num_steps
        if self.options.minutes is not None:
            done = max(done, self.seconds / 60 / self.options.minutes)
        return min(done, 1.0)

    def loop(self) -> None:
        """Train until the steps or the minutes are over."""
        stream = self.task.stream(first=self.step, num_workers=self.options.num_workers)
        bar = tqdm(total=self.recipe.num_steps, initial=self.step, desc=self.recipe.name, mininterval=5)
        while self.progress() < 1.0:
            start = time.monotonic()
            batch = next(stream)
            self.skipped += batch.num_skipped
            terms = self.train_step(batch)
            self.seconds += time.monotonic() - start
            self.step += 1
            bar.update()
            if self.step % LOG_EVERY == 0:
                self.log.write(self.step, self.seconds, self.skipped, terms)
                bar.set_postfix({name: f"{value:.2f}" for name, value in terms.items()})
            if self.step % SAVE_EVERY == 0:
                self.save()
        bar.close()

    def train_step(self, batch: Any) -> dict[str, float]:
        """One update; a batch whose loss or gradient is not finite changes nothing and is counted."""
        rate = _schedule(self.step, self.progress(), self.recipe.warmup_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * rate
        self.task.prepare(self.network)
        statistics = [(buffer, buffer.clone()) for buffer in self._buffers()]
        terms = self.task.terms(self.network, batch)
        total = torch.stack(list(terms.values())).sum()
        values = {name: float(value.detach()) for name, value in terms.items()}
        self.optimiser.zero_grad(set_to_none=True)
        if torch.isfinite(total):
            total.backward()  # type: ignore[no-untyped-call]
        if not torch.isfinite(total) or not self._gradient_is_finite():
            for buffer, before in statistics:
                buffer.copy_(before)
            self.skipped += 1
            return values
        self.optimiser.step()
        self._average()
        return {"total": float(total.detach())} | values

    def _buffers(self) -> Iterator[Tensor]:
        """What a forward pass changes: statistics of the norms, the mean embedding."""
        yield from self.network.buffers()
        yield from self.task.loss.buffers()

    def _gradient_is_finite(self) -> bool:
        """Clip the gradient; whether its norm, and that of the loss's own parameters, is finite."""
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        own = [p.grad.norm() for p in self.task.loss.parameters() if p.grad is not None]
        return bool(torch.isfinite(torch.stack([norm, *own])).all())

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        fixed = {name for name, parameter in self.network.named_parameters() if not parameter.requires_grad}
        new_tensors = self.network.state_dict()
        for name, own in self.average.state_dict().items():
            if name in fixed:
                continue
            new = new_tensors[name]
            if own.dtype.is_floating_point:
                own.lerp_(new.to(own.dtype), 1 - decay)
            else:
                own.copy_(new)

    def save(self) -> Path:
        """Write the averaged weights and all that a later run needs to go on."""
        folder = self.options.output_dir
        notes = self.notes()
        weights = folder / "average.safetensors"
        save_tensors(weights, self.average.state_dict(), notes=notes)
        state = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        state |= {f"loss.{name}": tensor for name, tensor in self.task.loss.state_dict().items()}
        for number, row in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{number}.{name}": tensor for name, tensor in row.items()}
        save_tensors(folder / "state.safetensors", state, notes=notes | {"skipped": self.skipped})
        return weights

    def finish(self) -> Path:
        """Write the averaged weights with centred embeddings."""
        network = copy.deepcopy(self.average)
        self.task.finish(network)
        path = self.options.output_dir / "final.safetensors"
        save_tensors(path, network.state_dict(), notes=self.notes(), compact=True)
        return path

    def notes(self) -> dict[str, object]:
        """What is written beside the weights."""
        return {"recipe": self.recipe.name, "step": self.step, "seconds": round(self.seconds, 1)}

    def resume(self) -> None:
        """Go on from the output folder's last state, if there is one."""
        self.options.output_dir.mkdir(parents=True, exist_ok=True)
        path = self.options.output_dir / "state.safetensors"
        if not path.is_file():
            return
        tensors, notes = load_tensors(path)
        if notes.get("recipe") != self.recipe.name:
            raise ValueError(f"{path} belongs to recipe {notes.get('recipe')!r}, not {self.recipe.name!r}")
        try:
            self.network.load_state_dict(_under(tensors, "network."))
            self.task.loss.load_state_dict(_under(tensors, "loss."))
        except RuntimeError as error:
            raise ValueError(f"{path} belongs to another network or other photos: {error}") from error
        load_network(self.average, self.options.output_dir / "average.safetensors")
        own = self.optimiser.state_dict()
        rows: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimiser.").items():
            number, key = name.split(".", 1)
            rows.setdefault(int(number), {})[key] = tensor
        self.optimiser.load_state_dict({"state": rows, "param_groups": own["param_groups"]})
        self.step = int(str(notes["step"]))
        self.seconds = float(str(notes["seconds"]))
        self.skipped = int(str(notes["skipped"]))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _schedule(step: int, progress: float, warmup_steps: int) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine down to 2 %."""
    warm = min((step + 1) / max(warmup_steps, 1), 1.0)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
