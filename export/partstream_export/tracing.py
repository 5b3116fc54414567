"""ONNX graphs of modules, made by tracing, and made the same every time.

The tracer leaves marks of its own run in a graph: source paths, running numbers, symbols for sides. They are
taken out, so that equal weights make equal files and no file tells where it was made.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch

from partstream_core.manifest import TensorSpec
from partstream_export.graphs import MULTIPLE, OPSET, GraphDefinition

IR_VERSION = 10
"""Of the ONNX files; ONNX Runtime 1.20 is the first that is asked for, and reads it."""
_MOST = {"batch": 64, "rows": 4096, "frames": 64, "height": 128, "width": 128}
"""Range of dynamic sides for the tracer, in multiples of 32; no graph checks it."""


def trace(definition: GraphDefinition) -> onnx.ModelProto:
    """The graph with its probes.

    Raises:
        ValueError: The trace fixed a side that should stay open; names the tensor.
    """
    tensors = definition.outputs + definition.probes
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")  # about deprecations inside the tracer
        program = torch.onnx.export(
            definition.module.eval(),
            definition.example,
            dynamo=True,
            dynamic_shapes=_dynamic_shapes(definition.inputs),
            input_names=[spec.name for spec in definition.inputs],
            output_names=[spec.name for spec in tensors],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    _declare(model.graph.input, definition.inputs)
    _declare(model.graph.output, tensors)
    _strip(model, definition.name)
    onnx.checker.check_model(model, full_check=True)
    return model


def without(model: onnx.ModelProto, outputs: Iterable[str]) -> onnx.ModelProto:
    """A copy without these outputs and all that only they needed."""
    lean = onnx.ModelProto()
    lean.CopyFrom(model)
    unwanted = set(outputs)
    kept = [output for output in lean.graph.output if output.name not in unwanted]
    needed = {output.name for output in kept}
    nodes = []
    for node in reversed(lean.graph.node):
        if needed.intersection(node.output):
            needed.update(_read_by(node))
            nodes.append(node)
    weights = [tensor for tensor in lean.graph.initializer if tensor.name in needed]
    for field, values in (
        (lean.graph.output, kept),
        (lean.graph.node, nodes[::-1]),
        (lean.graph.initializer, weights),
    ):
        _replace(field, values)
    return lean


def _read_by(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads; what the bodies of loops read from around them too."""
    yield from node.input
    for body in _bodies(node):
        for inner in body.node:
            yield from _read_by(inner)


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node."""
    return (attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH)


def _replace(field: Any, values: list[Any]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The file's content; equal models give equal bytes."""
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _dynamic_shapes(specs: tuple[TensorSpec, ...]) -> tuple[dict[int, Any], ...]:
    """Dynamic dimensions of each input, for the tracer."""
    sides = {name: torch.export.Dim(name, min=1, max=most) for name, most in _MOST.items()}

    def side(name: str) -> Any:
        base, _, divisor = name.partition("/")
        if base in ("height", "width"):
            return (MULTIPLE // int(divisor or 1)) * sides[base]
        return sides[base]

    return tuple(
        {axis: side(size) for axis, size in enumerate(spec.shape) if isinstance(size, str)} for spec in specs
    )


def _declare(tensors: Iterable[onnx.ValueInfoProto], specs: tuple[TensorSpec, ...]) -> None:
    """Write the definition's names of sides into a graph, once the trace is seen to have left them open."""
    for tensor, spec in zip(tensors, specs, strict=True):
        sides = tensor.type.tensor_type.shape.dim
        for side, size in zip(sides, spec.shape, strict=True):
            if isinstance(size, int) and side.HasField("dim_value") and side.dim_value != size:
                raise ValueError(f"{spec.name} has a side of {side.dim_value}, declared as {size}")
            if isinstance(size, str):
                if side.HasField("dim_value"):
                    raise ValueError(f"the trace fixed {size} of {spec.name} at {side.dim_value}")
                side.dim_param = size
            else:
                side.dim_value = size


def _strip(model: onnx.ModelProto, name: str) -> None:
    model.graph.name = name
    model.ir_version = IR_VERSION
    model.doc_string = ""
    for field in (model.metadata_props, model.functions):
        del field[:]
    _strip_graph(model.graph)


def _strip_graph(graph: onnx.GraphProto, prefix: str = "") -> None:
    graph.doc_string = ""
    for field in (graph.metadata_props, graph.value_info):
        del field[:]
    for number, node in enumerate(graph.node):
        node.name = f"{prefix}{node.op_type}_{number}"
        node.doc_string = ""
        del node.metadata_props[:]
        for body in _bodies(node):
            body.name = f"{node.name}_body"
            _strip_graph(body, f"{node.name}/")
    for value in (*graph.input, *graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
    for weight in graph.initializer:
        weight.doc_string = ""
        del weight.metadata_props[:]


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Let a logger say nothing below errors."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
