"""Triton model repository of a bundle's graphs.

One model a graph, `NAME-GRAPH`, on Triton's ONNX Runtime backend, and the ensemble `NAME-frame`, which runs
backbone and heads on a frame. Graphs hold no state, so Triton needs no sequence batcher: what a stream
remembers is an input and an output. Each model's configuration holds the SHA-256 of its graph.

Source: Triton's documents "Model Repository" and "Model Configuration", and the message `ModelConfig`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tritonclient.grpc import model_config_pb2 as triton

from partstream_core.errors import BundleError
from partstream_core.manifest import Manifest, TensorSpec, load_manifest
from partstream_export.folders import draft_of

MARKER: Final = "partstream.json"
"""Names the bundle and its models; Triton reads folders only."""

DEVICES: Final = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "gpu": "KIND_GPU"}
_TYPES: Final = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "int64": "TYPE_INT64",
    "int32": "TYPE_INT32",
    "uint8": "TYPE_UINT8",
}
_BATCH: Final = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryConfig:
    """How Triton serves the graphs."""

    max_batch: int = 8
    """Most frames of a run; Triton joins requests of equal shapes."""
    delay_us: int = 2000
    """Longest time in microseconds that a request waits for others."""
    instances: int = 1
    """Copies of each graph a device."""
    device: str = "auto"
    """One of DEVICES."""

    def __post_init__(self) -> None:
        for name in ("max_batch", "instances"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.delay_us < 0:
            raise ValueError(f"delay_us must not be negative, got {self.delay_us}")
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}; got {self.device!r}")


def model_name(manifest: Manifest, graph: str) -> str:
    """Name of a graph's model."""
    return f"{manifest.name}-{graph}"


def write_repository(out: Path, bundle: Path, config: RepositoryConfig, *, force: bool = False) -> list[str]:
    """Write a model repository, whole or not at all.

    Returns:
        Names of its models.

    Raises:
        BundleError: The bundle is damaged, or has a tensor of a type that Triton's configuration lacks here.
        OSError: It cannot be written there.
    """
    manifest = load_manifest(bundle)
    configs = [graph_config(manifest, graph, config) for graph in manifest.graphs]
    with draft_of(out, force=force, marker=MARKER) as draft:
        for graph, message in zip(manifest.graphs, configs, strict=True):
            version = _write(draft, message)
            shutil.copyfile(bundle / manifest.graphs[graph].file, version / "model.onnx")
        frame = frame_config(manifest, configs)
        _write(draft, frame)
        names = [message.name for message in (*configs, frame)]
        about = {"bundle": manifest.name, "version": manifest.version, "models": names}
        (draft / MARKER).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return names


def graph_config(manifest: Manifest, graph: str, config: RepositoryConfig) -> Any:
    """The `ModelConfig` of a graph.

    A graph whose tensors all have the batch first, and another side, is batched by Triton. Others take shapes
    as they are: `instances` mixes rows of people with frames, `propagate` may put out one number a frame.

    Raises:
        BundleError: A tensor has a type that is not known here; the field is named.
    """
    spec = manifest.graphs[graph]
    tensors = (*spec.inputs, *spec.outputs)
    is_batched = all(len(each.shape) > 1 and each.shape[0] == _BATCH for each in tensors)
    message = triton.ModelConfig(
        name=model_name(manifest, graph),
        platform="onnxruntime_onnx",
        max_batch_size=config.max_batch if is_batched else 0,
        input=[_tensor(triton.ModelInput, graph, each, is_batched=is_batched) for each in spec.inputs],
        output=[_tensor(triton.ModelOutput, graph, each, is_batched=is_batched) for each in spec.outputs],
        instance_group=[triton.ModelInstanceGroup(count=config.instances, kind=DEVICES[config.device])],
        version_policy=triton.ModelVersionPolicy(latest=triton.ModelVersionPolicy.Latest(num_versions=1)),
    )
    if is_batched and config.max_batch > 1:
        message.dynamic_batching.max_queue_delay_microseconds = config.delay_us
    for key, value in (("bundle", manifest.name), ("version", manifest.version), ("sha256", spec.sha256)):
        message.parameters[key].string_value = value
    return message


def frame_config(manifest: Manifest, configs: Sequence[Any]) -> Any:
    """The `ModelConfig` of an ensemble that runs backbone and heads on a frame.

    Its results are those of a stream in which every frame is a key frame without a temporal encoder.
    """
    by_name = {message.name: message for message in configs}
    steps = [by_name[model_name(manifest, graph)] for graph in ("backbone", "heads")]
    made = {spec.name for spec in manifest.graphs["backbone"].outputs}
    inputs = {tensor.name: tensor for step in steps for tensor in step.input if tensor.name not in made}
    outputs = {tensor.name: tensor for step in steps for tensor in step.output}
    message = triton.ModelConfig(
        name=model_name(manifest, "frame"),
        platform="ensemble",
        max_batch_size=min(step.max_batch_size for step in steps),
        input=list(inputs.values()),
        output=list(outputs.values()),
    )
    for step in steps:
        message.ensemble_scheduling.step.add(
            model_name=step.name,
            model_version=-1,
            input_map={tensor.name: tensor.name for tensor in step.input},
            output_map={tensor.name: tensor.name for tensor in step.output},
        )
    return message


def _tensor(kind: Any, graph: str, spec: TensorSpec, *, is_batched: bool) -> Any:
    if spec.dtype not in _TYPES:
        raise BundleError(f"graphs.{graph}", f"{spec.name} is {spec.dtype}, which has no type in Triton here")
    sides = spec.shape[1:] if is_batched else spec.shape
    dims = [side if isinstance(side, int) else -1 for side in sides]
    return kind(name=spec.name, data_type=_TYPES[spec.dtype], dims=dims)


def _write(repository: Path, message: Any) -> Path:
    """Write a model's configuration as protobuf text; returns the folder of its first version."""
    version = repository / str(message.name) / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(str(message), encoding="utf-8")
    return version
