"""Engine interface, the bundle it loads, and the check that manifest and graphs agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from partstream_core.errors import BundleError, EngineError
from partstream_core.joints import JOINT_OUTPUTS
from partstream_core.manifest import GraphSpec, Manifest, TensorSpec, load_manifest
from partstream_core.schedule import ScheduleMode

Tensors: TypeAlias = dict[str, npt.NDArray[Any]]
"""Tensors by name."""

GRAPHS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "backbone": (("image",), ("feature",)),
    "heads": (("feature",), ("boxes", "scores")),
    "instances": (("batch_index",), ("masks",)),
}
"""Inputs and outputs that the pipeline needs of each graph, whatever the bundle's capabilities."""


class Engine(Protocol):
    """Runs the graphs of one bundle; safe to share between threads."""

    @property
    def provider(self) -> str:
        """Name of the runtime: one of PROVIDERS but auto."""

    @property
    def precision(self) -> str:
        """The arithmetic in use: one of PRECISIONS but auto."""

    @property
    def device(self) -> str:
        """Device of the computation: cpu, or a device with its number, such as cuda:0."""

    @property
    def num_threads(self) -> int:
        """Threads a run may use; 0 where the runtime decides."""

    @property
    def bundle(self) -> LoadedBundle:
        """The loaded bundle."""

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Outputs of a graph, owned by the caller: no later run writes to them.

        On a device, outputs that other graphs read stay there: they are `DeviceTensor`s, which go into the
        next run as they are and turn into arrays where the host reads them.

        Raises:
            EngineError: The graph is unknown, an input is missing, the runtime failed, or it is closed.
        """

    def close(self) -> None:
        """Release the runtime's memory; no run may follow."""


@dataclass(frozen=True, slots=True)
class CompiledShapes:
    """Memory of compiled shapes of an engine that compiles one model a shape."""

    count: int
    """Shapes of all graphs that are compiled now."""
    num_bytes: int
    """Of them, as the process grew when they were compiled."""
    num_compilations: int
    """Since the engine was made; it grows further where shapes are dropped and come again."""


@runtime_checkable
class CompilesShapes(Protocol):
    """An engine of static shapes."""

    def compiled_shapes(self) -> CompiledShapes:
        """Shapes that are compiled now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """Device of the computation, for providers that have a choice."""

    index: int = 0
    memory_bytes: int = 0
    """Most memory that the tensors of one graph may take there; 0: no limit."""
    engines: Path | None = None
    """Folder of TensorRT engines; None: `tensorrt` in the folder of the bundle."""
    triton: str = ""
    """HOST:PORT of a Triton server's gRPC."""
    triton_timeout_s: float = 10.0
    """Longest time of a request there."""

    def __post_init__(self) -> None:
        if self.index < 0:
            raise EngineError(f"the device's number must not be negative, got {self.index}")
        if self.memory_bytes < 0:
            raise EngineError(f"the device's memory must not be negative, got {self.memory_bytes}")


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle whose manifest was read and whose files match it."""

    directory: Path
    manifest: Manifest

    def path(self, graph: str) -> Path:
        """The ONNX file of a graph."""
        return self.directory / self.manifest.graphs[graph].file


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """A graph's input or output as the runtime tells it; None is a dimension that may vary."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def default_bundle_directory() -> Path:
    """The bundle that ships with this distribution."""
    return Path(str(resources.files("partstream_server") / "bundles" / "live"))


def load_bundle(directory: Path) -> LoadedBundle:
    """Read a bundle and check that the pipeline can use it.

    Raises:
        BundleError: The manifest is damaged, a file is missing or changed, or a graph or tensor that the
            pipeline needs is not declared; the field is named.
    """
    manifest = load_manifest(directory)
    for graph, (inputs, outputs) in GRAPHS.items():
        if graph not in manifest.graphs:
            raise BundleError(f"graphs.{graph}", "is missing")
        spec = manifest.graphs[graph]
        _require(f"graphs.{graph}.inputs", spec.inputs, inputs)
        _require(f"graphs.{graph}.outputs", spec.outputs, outputs)
    if manifest.capabilities.parts:
        _require("graphs.heads.outputs", manifest.graphs["heads"].outputs, ("part_probabilities",))
    heads, instances = manifest.graphs["heads"], manifest.graphs["instances"]
    read = (*manifest.instance_maps, *manifest.instance_rows)
    _require("graphs.heads.outputs", heads.outputs, [name for name in read if name != "feature"])
    if manifest.capabilities.embedding is not None:
        makers = [spec.name for spec in (*heads.outputs, *instances.outputs)]
        if "embeddings" not in makers:
            raise BundleError("graphs", "neither heads nor instances puts out embeddings")
    if manifest.capabilities.joints:
        _check_joints(manifest.graphs["backbone"])
    if manifest.capabilities.temporal != "none":
        _check_temporal(manifest)
    elif manifest.schedule.mode is not ScheduleMode.EVERY_FRAME:
        raise BundleError("schedule.mode", f"is {manifest.schedule.mode}, but capabilities.temporal is none")
    return LoadedBundle(directory, manifest)


def _check_joints(backbone: GraphSpec) -> None:
    """Refuse a backbone that does not put out joint maps, each with its channels and all of one size.

    Raises:
        BundleError: An output is missing or has another shape; the field is named.
    """
    _require("graphs.backbone.outputs", backbone.outputs, tuple(JOINT_OUTPUTS))
    at = {spec.name: number for number, spec in enumerate(backbone.outputs)}
    size = backbone.outputs[at["joint_centers"]].shape[2:]
    for name, channels in JOINT_OUTPUTS.items():
        shape = backbone.outputs[at[name]].shape
        if len(shape) != 4 or shape[1] != channels or shape[2:] != size:
            wanted = f"must be [batch, {channels}, {', '.join(map(str, size))}] as joint maps are"
            raise BundleError(f"graphs.backbone.outputs[{at[name]}].shape", f"{wanted}, got {list(shape)}")


def _check_temporal(manifest: Manifest) -> None:
    """Refuse temporal graphs with inputs that the server does not provide.

    Raises:
        BundleError: A graph is missing or has such an input; the field is named.
    """
    kind = manifest.capabilities.temporal
    steps = {"recurrent": {"feature", "state"}, "window": {"features"}}[kind]
    told = {"image", "reference", "half_image", "reference_half_image", "guess"}
    known = {"flow": told, "propagate": told | {"feature"}, "temporal": steps}
    if "flow" in manifest.graphs:
        known["propagate"] |= {spec.name for spec in manifest.graphs["flow"].outputs}
    for graph, names in known.items():
        if graph not in manifest.graphs:
            if graph in ("propagate", "temporal"):
                raise BundleError(f"graphs.{graph}", f"is missing, but capabilities.temporal is {kind}")
            continue
        strange = [spec.name for spec in manifest.graphs[graph].inputs if spec.name not in names]
        if strange:
            raise BundleError(f"graphs.{graph}.inputs", f"has {strange[0]}, which nothing makes")
    makers = {"flow", "propagate"} & manifest.graphs.keys()
    if not any(spec.name == "flow" for graph in makers for spec in manifest.graphs[graph].outputs):
        raise BundleError("graphs.propagate.outputs", "has no flow, and there is no graph flow")


def _require(field: str, specs: Sequence[TensorSpec], names: Sequence[str]) -> None:
    for name in names:
        if name not in {spec.name for spec in specs}:
            raise BundleError(field, f"has no {name}")


def check_names(graph: str, bundle: LoadedBundle, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse a run of a graph that does not exist or is not given exactly its inputs.

    Raises:
        EngineError: It is one of these.
    """
    spec = bundle.manifest.graphs.get(graph)
    if spec is None:
        raise EngineError(f"the bundle has no graph {graph}")
    wanted = {tensor.name for tensor in spec.inputs}
    if set(inputs) != wanted:
        raise EngineError(f"{graph} takes {sorted(wanted)}, got {sorted(inputs)}")


def check_graph(
    graph: str, spec: GraphSpec, *, inputs: Sequence[GraphTensor], outputs: Sequence[GraphTensor]
) -> None:
    """Refuse a graph that differs from its entry in the manifest.

    Names, types and numbers of dimensions must be equal; a dimension that the manifest leaves open must be
    open in the graph's inputs, and one that it fixes must not be another number.

    Raises:
        BundleError: They disagree; the field is named.
    """
    for side, declared, found in (("inputs", spec.inputs, inputs), ("outputs", spec.outputs, outputs)):
        names, there = [tensor.name for tensor in declared], {tensor.name: tensor for tensor in found}
        if set(names) != set(there):
            raise BundleError(
                f"graphs.{graph}.{side}", f"the manifest has {names}, the graph {sorted(there)}"
            )
        for position, tensor in enumerate(declared):
            _check_tensor(
                f"graphs.{graph}.{side}[{position}]", tensor, there[tensor.name], open_too=side == "inputs"
            )


def _check_tensor(field: str, declared: TensorSpec, found: GraphTensor, *, open_too: bool) -> None:
    if np.dtype(declared.dtype) != np.dtype(found.dtype):
        raise BundleError(f"{field}.dtype", f"the manifest has {declared.dtype}, the graph {found.dtype}")
    shapes = f"the manifest has {list(declared.shape)}, the graph {list(found.shape)} ({declared.name})"
    if len(declared.shape) != len(found.shape):
        raise BundleError(f"{field}.shape", shapes)
    for said, seen in zip(declared.shape, found.shape, strict=True):
        fixed_differently = isinstance(said, int) and seen is not None and said != seen
        closed = open_too and isinstance(said, str) and seen is not None
        open_instead = open_too and isinstance(said, int) and seen is None
        if fixed_differently or closed or open_instead:
            raise BundleError(f"{field}.shape", shapes)
