"""Metadata of bundles of the papers' networks, and the networks that go into them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from partstream_core.manifest import (
    Capabilities,
    Channels,
    InputSpec,
    Manifest,
    Strides,
    Thresholds,
)
from partstream_core.schedule import ScheduleConfig
from partstream_export import __version__
from partstream_export.bundle_writer import LICENCE, NORMALISATION
from partstream_export.graphs import MULTIPLE, OPSET
from partstream_models.networks.aten import ATEN
from partstream_models.networks.checkpoints import load_network, load_tensors
from partstream_models.networks.hvisnet import HVISNet

Network = TypeVar("Network", ATEN, HVISNet)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperBundle:
    """Metadata of a bundle that its network does not hold."""

    name: str
    training_data: tuple[str, ...]
    longer_side: int
    thresholds: Thresholds
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    version: str = __version__
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    model_card: str | None = None
    """Text of the model card that goes with the weights."""

    def manifest(
        self, *, strides: Strides, channels: Channels, capabilities: Capabilities, top_k: int
    ) -> Manifest:
        """The manifest, still without its graphs."""
        return Manifest(
            name=self.name,
            version=self.version,
            licence=LICENCE,
            training_data=self.training_data,
            opset=OPSET,
            graphs={},
            normalisation=NORMALISATION,
            strides=strides,
            channels=channels,
            capabilities=capabilities,
            input=InputSpec(longer_side=self.longer_side, multiple=MULTIPLE),
            top_k=top_k,
            thresholds=self.thresholds,
            schedule=self.schedule,
            evaluation=self.evaluation,
        )


def made_network(make: Callable[[], Network], checkpoint: Path | None, *, recipe: str, seed: int) -> Network:
    """A network in evaluation mode, with a checkpoint's weights or, without one, random ones.

    Raises:
        ValueError: The checkpoint is missing, damaged, or of another network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make().eval()
    if checkpoint is not None:
        load_weights(network, checkpoint, recipe=recipe)
    return network


def load_weights(network: ATEN | HVISNet, path: Path, *, recipe: str) -> None:
    """Put a checkpoint into a network of a recipe.

    Raises:
        ValueError: It is missing, damaged, or of another network; whose it is, if it says so.
    """
    _, notes = load_tensors(path)
    try:
        load_network(network, path)
    except ValueError as error:
        whose = f" and the checkpoint of {notes['recipe']}" if "recipe" in notes else ""
        raise ValueError(f"{error}; the network is of recipe {recipe}{whose}") from error
