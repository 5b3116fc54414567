"""Bundles on disk: a folder that is there whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx

from partstream_core.manifest import MANIFEST_NAME, GraphSpec, Manifest, load_manifest, sha256_of
from partstream_export.folders import check_target, draft_of
from partstream_export.graphs import GraphDefinition
from partstream_export.tracing import to_bytes

__all__ = ["MODEL_CARD_NAME", "check_target", "draft_of", "write_graphs", "write_manifest"]

MODEL_CARD_NAME = "MODEL_CARD.md"


def write_graphs(
    folder: Path, definitions: tuple[GraphDefinition, ...], models: Mapping[str, onnx.ModelProto]
) -> dict[str, GraphSpec]:
    """Write one file for each graph; return their entries of the manifest."""
    specs = {}
    for definition in definitions:
        path = folder / f"{definition.name}.onnx"
        path.write_bytes(to_bytes(models[definition.name]))
        specs[definition.name] = GraphSpec(path.name, sha256_of(path), definition.inputs, definition.outputs)
    return specs


def write_manifest(folder: Path, manifest: Manifest, graphs: Mapping[str, GraphSpec]) -> None:
    """Write `bundle.json` beside its graphs, and read it back as the server will.

    Raises:
        BundleError: The manifest is invalid.
    """
    document = replace(manifest, graphs=dict(graphs)).to_json()
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")
    load_manifest(folder)
