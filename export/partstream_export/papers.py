"""Bundles of the papers' networks: metadata, tracing, parity checks and writing."""

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
    Normalisation,
    Strides,
    Thresholds,
)
from partstream_core.schedule import ScheduleConfig
from partstream_export import __version__
from partstream_export.bundle_writer import MODEL_CARD_NAME, draft_of, write_graphs, write_manifest
from partstream_export.graphs import MULTIPLE, OPSET, GraphDefinition
from partstream_export.live import TracedGraph
from partstream_export.parity import Difference, OnnxGraph, require_parity
from partstream_export.tracing import to_bytes, trace
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
            licence="Apache-2.0",
            training_data=self.training_data,
            opset=OPSET,
            graphs={},
            normalisation=Normalisation(mean=(127.5,) * 3, std=(127.5,) * 3, colour="rgb"),
            strides=strides,
            channels=channels,
            capabilities=capabilities,
            input=InputSpec(longer_side=self.longer_side, multiple=MULTIPLE),
            top_k=top_k,
            thresholds=self.thresholds,
            schedule=self.schedule,
            evaluation=self.evaluation,
        )


Compare = Callable[[Mapping[str, OnnxGraph], Mapping[str, OnnxGraph]], list[Difference]]
"""Differences between graphs and torch; takes the shipped graphs, and those with probes by the same names."""


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


def trace_all(definitions: tuple[GraphDefinition, ...]) -> dict[str, TracedGraph]:
    """The graphs by name."""
    return {one.name: TracedGraph(one, trace(one)) for one in definitions}


def write_bundle(
    out: Path,
    traced: Mapping[str, TracedGraph],
    manifest: Manifest,
    compare: Compare,
    *,
    model_card: str | None = None,
    force: bool = False,
) -> list[Difference]:
    """Write a bundle whose graphs compute what the network computes, and return how far they differ.

    Raises:
        ParityError: A graph computes something else; nothing is written.
        BundleError: The manifest would be wrong.
        OSError: It cannot be written there.
    """
    with draft_of(out, force=force) as draft:
        definitions = tuple(graph.definition for graph in traced.values())
        specs = write_graphs(draft, definitions, {name: graph.shipped() for name, graph in traced.items()})
        shipped = {name: OnnxGraph((draft / spec.file).read_bytes()) for name, spec in specs.items()}
        probed = {
            name: OnnxGraph(to_bytes(graph.model)) if graph.definition.probes else shipped[name]
            for name, graph in traced.items()
        }
        differences = compare(shipped, probed)
        require_parity(differences)
        write_manifest(draft, manifest, specs)
        if model_card is not None:
            (draft / MODEL_CARD_NAME).write_text(model_card, encoding="utf-8")
    return differences
