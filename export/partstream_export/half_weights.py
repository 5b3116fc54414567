"""Weights stored as float16 where they are exactly that.

Public networks come with weights in half precision. A graph that stores them so is half as large and computes
the same: a cast to float32 follows each of them, which runtimes carry out once, when they load the graph.
"""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

_LEAST_NUMBERS = 1024
"""Smaller tensors are not worth a node."""
_SUFFIX = "_half"


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large float32 weights are float16 where no bit is lost.

    Graphs with loops stay as they are: OpenVINO takes what a loop's body reads from around it for constants.
    """
    lean = onnx.ModelProto()
    lean.CopyFrom(model)
    if any(attribute.HasField("g") for node in lean.graph.node for attribute in node.attribute):
        return lean
    casts = []
    for weight in lean.graph.initializer:
        half = _as_half(weight)
        if half is None:
            continue
        stored = numpy_helper.from_array(half, weight.name + _SUFFIX)
        casts.append(
            helper.make_node(
                "Cast", [stored.name], [weight.name], name=f"Cast_{weight.name}", to=TensorProto.FLOAT
            )
        )
        weight.CopyFrom(stored)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in lean.graph.node]
    del lean.graph.node[:]
    lean.graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(lean, full_check=True)
    return lean


def _as_half(weight: TensorProto) -> npt.NDArray[np.float16] | None:
    if weight.data_type != TensorProto.FLOAT or int(np.prod(weight.dims)) < _LEAST_NUMBERS:
        return None
    values = numpy_helper.to_array(weight)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else None
