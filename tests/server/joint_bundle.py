"""The bundle that ships, with joint maps made of a picture's colours beside its feature."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from partstream_core.joints import JOINT_OUTPUTS
from partstream_core.manifest import MANIFEST_NAME, sha256_of

STRIDE = 4
_SEED = 5


def write_joint_bundle(source: Path, folder: Path) -> Path:
    """A copy of a bundle without joints whose backbone puts out joint maps.

    Each map is a fixed mix of the mean colours of 4x4 pixels, so what moves in a picture moves its joints.
    """
    shutil.copytree(source, folder)
    manifest = json.loads((folder / MANIFEST_NAME).read_text("utf-8"))
    backbone = manifest["graphs"]["backbone"]
    path = folder / backbone["file"]
    model = onnx.load(path)
    add_joint_maps(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    backbone["sha256"] = sha256_of(path)
    backbone["outputs"] += [
        {"name": name, "dtype": "float32", "shape": ["batch", channels, "height/4", "width/4"]}
        for name, channels in JOINT_OUTPUTS.items()
    ]
    manifest["capabilities"]["joints"] = 17
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest), "utf-8")
    return folder


def add_joint_maps(graph: onnx.GraphProto) -> None:
    """Nodes from the input `image` to the four outputs."""
    rng = np.random.default_rng(_SEED)
    graph.node.append(
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2)
    )
    for name, channels in JOINT_OUTPUTS.items():
        reach = 9 if name == "joint_regression" else 1
        weight = rng.normal(0, 2 if reach == 1 else 0.5, (channels, 3, 1, 1)).astype(np.float32)
        bias = rng.uniform(-reach, reach, channels).astype(np.float32)
        for kind, values in (("weight", weight), ("bias", bias)):
            graph.initializer.append(numpy_helper.from_array(values, f"{name}_{kind}"))
        mixed = name if reach > 1 else f"{name}_mixed"
        graph.node.append(helper.make_node("Conv", ["cells", f"{name}_weight", f"{name}_bias"], [mixed]))
        if mixed != name:
            graph.node.append(helper.make_node("Sigmoid", [mixed], [name]))
        shape: list[str | int | None] = ["batch", channels, "height_4", "width_4"]
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
