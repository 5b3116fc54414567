"""Traces a network's graphs, compares them with the network, and writes them as a bundle."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import onnx

from partstream_core.manifest import (
    MANIFEST_NAME,
    GraphSpec,
    Manifest,
    Normalisation,
    load_manifest,
    sha256_of,
)
from partstream_export.folders import check_target, draft_of
from partstream_export.graphs import GraphDefinition
from partstream_export.half_weights import with_half_weights
from partstream_export.parity import Difference, OnnxGraph, require_parity
from partstream_export.tracing import to_bytes, trace, without

__all__ = [
    "LICENCE",
    "MODEL_CARD_NAME",
    "NORMALISATION",
    "Compare",
    "TracedGraph",
    "check_target",
    "draft_of",
    "trace_all",
    "write_bundle",
    "write_manifest",
]

MODEL_CARD_NAME = "MODEL_CARD.md"
LICENCE: Final = "Apache-2.0"
"""Of the weights that this repository trains."""
NORMALISATION: Final = Normalisation(mean=(127.5,) * 3, std=(127.5,) * 3, colour="rgb")
"""Of all networks of this repository: RGB in [-1, 1]."""

Compare = Callable[[Mapping[str, OnnxGraph], Mapping[str, OnnxGraph]], list[Difference]]
"""Differences between graphs and torch; takes the shipped graphs, and those with probes by the same names."""


@dataclass(frozen=True, slots=True)
class TracedGraph:
    """A definition and the model that was traced from it, with its probes."""

    definition: GraphDefinition
    model: onnx.ModelProto

    def shipped(self) -> onnx.ModelProto:
        """The model without its probes, its weights in half precision where that loses nothing."""
        lean = without(self.model, [probe.name for probe in self.definition.probes])
        return with_half_weights(lean)


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
        specs = {name: _write_graph(draft, graph) for name, graph in traced.items()}
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


def _write_graph(folder: Path, graph: TracedGraph) -> GraphSpec:
    definition = graph.definition
    path = folder / f"{definition.name}.onnx"
    path.write_bytes(to_bytes(graph.shipped()))
    return GraphSpec(path.name, sha256_of(path), definition.inputs, definition.outputs)


def write_manifest(folder: Path, manifest: Manifest, graphs: Mapping[str, GraphSpec]) -> None:
    """Write `bundle.json` beside its graphs, and read it back as the server will.

    Raises:
        BundleError: The manifest is invalid.
    """
    document = replace(manifest, graphs=dict(graphs)).to_json()
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")
    load_manifest(folder)
