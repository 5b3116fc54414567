"""Weights are stored in half precision where that loses nothing, and graphs compute the same."""

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from partstream_export.half_weights import with_half_weights


def product_with(weight: npt.NDArray[np.float32]) -> onnx.ModelProto:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, weight.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def test_exact_halves_take_half_the_space_and_compute_the_same() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 128)).astype(np.float16).astype(np.float32)
    model, x = product_with(weight), rng.normal(size=(3, 64)).astype(np.float32)
    lean = with_half_weights(model)
    assert len(lean.SerializeToString()) < 0.55 * len(model.SerializeToString())
    assert np.array_equal(run(lean, x), run(model, x))


def test_weights_that_would_be_rounded_and_small_ones_stay() -> None:
    rng = np.random.default_rng(0)
    for weight in (
        rng.normal(size=(64, 128)).astype(np.float32),
        np.full((64, 128), 1e6, np.float32),
        np.ones((4, 4), np.float32),
    ):
        model = product_with(weight)
        assert with_half_weights(model).graph.initializer[0] == model.graph.initializer[0]
