"""Definition of a bundle's graph before tracing: a module with names and shapes of inputs and outputs.

A shape is written as the manifest has it: numbers, and names of sides that may change. `batch` and `rows` are
any number; `height` and `width` are network pixels, multiples of 32; `height/8` is an eighth of the height.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from partstream_core.manifest import TensorSpec

OPSET = 18
"""The one ONNX operator set of all graphs."""
MULTIPLE = 32
"""Network height and width are multiples of this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphDefinition:
    """A graph to be traced."""

    name: str
    module: nn.Module
    """Takes the inputs in order, and returns the outputs and then the probes, in order, as a tuple."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    probes: tuple[TensorSpec, ...] = ()
    """Further outputs that only the comparison with torch reads; the graph that ships is without them."""
    example: tuple[Tensor, ...]
    """Inputs to trace with; no side is 1, and sides that may differ do."""


def floats(name: str, *shape: int | str) -> TensorSpec:
    """A float32 tensor of a graph."""
    return TensorSpec(name, "float32", shape)


def indices(name: str, *shape: int | str) -> TensorSpec:
    """An int64 tensor of a graph."""
    return TensorSpec(name, "int64", shape)
