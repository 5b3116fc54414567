from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_core.manifest import load_manifest
from partstream_export.bundle_writer import TracedGraph
from partstream_export.graphs import GraphDefinition, floats
from partstream_export.live import LiveBundle, trace_live, write_live
from partstream_export.live_graphs import InstancesGraph, live_graphs
from partstream_export.live_parity import CASES
from partstream_export.parity import OnnxGraph, relative_difference
from partstream_export.tracing import to_bytes, trace
from partstream_models.networks.condinst import mask_logits
from partstream_models.networks.live import LiveNetwork, select
from partstream_models.networks.live_v03 import LiveNetworkV03, load_live

Sides = tuple[int | str, ...]

CONTRACT: dict[str, tuple[dict[str, Sides], dict[str, Sides]]] = {
    "backbone": (
        {"image": ("batch", 3, "height", "width")},
        {
            "feature": ("batch", 96, "height/8", "width/8"),
            "joint_centers": ("batch", 1, "height/4", "width/4"),
            "joint_heatmaps": ("batch", 17, "height/4", "width/4"),
            "joint_regression": ("batch", 34, "height/4", "width/4"),
            "joint_offsets": ("batch", 34, "height/4", "width/4"),
        },
    ),
    "heads": (
        {"feature": ("batch", 96, "height/8", "width/8"), "image": ("batch", 3, "height", "width")},
        {
            "boxes": ("batch", 64, 4),
            "scores": ("batch", 64),
            "locations": ("batch", 64, 3),
            "mask_parameters": ("batch", 64, 169),
            "identity_map": ("batch", 64, "height/8", "width/8"),
            "mask_features": ("batch", 8, "height/4", "width/4"),
            "part_probabilities": ("batch", 20, "height/4", "width/4"),
        },
    ),
    "instances": (
        {
            "mask_features": ("batch", 8, "height/4", "width/4"),
            "identity_map": ("batch", 64, "height/8", "width/8"),
            "mask_parameters": ("rows", 169),
            "locations": ("rows", 3),
            "batch_index": ("rows",),
        },
        {"masks": ("rows", "height/4", "width/4"), "embeddings": ("rows", 64)},
    ),
}


def sides(tensors: Any) -> dict[str, Sides]:
    """Names and shapes of a graph's inputs or outputs."""
    return {
        tensor.name: tuple(side.dim_param or side.dim_value for side in tensor.type.tensor_type.shape.dim)
        for tensor in tensors
    }


def picture(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("graph", CONTRACT)
def test_a_shipped_graph_has_the_contracts_inputs_and_outputs(
    graph: str, traced: dict[str, TracedGraph]
) -> None:
    model = traced[graph].shipped()
    assert (sides(model.graph.input), sides(model.graph.output)) == CONTRACT[graph]
    types = {tensor.name: tensor.type.tensor_type.elem_type for tensor in model.graph.input}
    assert {name for name, kind in types.items() if kind != onnx.TensorProto.FLOAT} <= {"batch_index"}
    assert types.get("batch_index", onnx.TensorProto.INT64) == onnx.TensorProto.INT64


@pytest.mark.parametrize("graph", CONTRACT)
def test_a_shipped_graph_holds_its_weights_and_nothing_of_the_place_it_was_made_at(
    graph: str, traced: dict[str, TracedGraph]
) -> None:
    model = traced[graph].shipped()
    assert len(to_bytes(model)) < 25e6
    assert all(weight.data_location == onnx.TensorProto.DEFAULT for weight in model.graph.initializer)
    for weight in model.graph.initializer:
        weight.ClearField("raw_data")
    words = to_bytes(model).decode(errors="replace")
    assert "Conv" in words or graph == "instances"
    assert not [mark for mark in (".py", "packages", "File ", str(Path.home())) if mark in words]


def test_a_shipped_graph_does_none_of_the_work_of_its_probes(traced: dict[str, TracedGraph]) -> None:
    heads = traced["heads"]
    whole, lean = heads.model.graph, heads.shipped().graph
    read = {name for node in lean.node for name in node.input} | {output.name for output in lean.output}
    assert len(lean.node) < len(whole.node)
    assert all(read.intersection(node.output) for node in lean.node)
    assert all(weight.name in read for weight in lean.initializer)
    assert not [node for node in lean.node if node.op_type == "BatchNormalization"]


def test_equal_weights_make_equal_files(traced: dict[str, TracedGraph], network: LiveNetwork) -> None:
    again = next(one for one in live_graphs(network, top_k=64) if one.name == "instances")
    assert to_bytes(trace(again)) == to_bytes(traced["instances"].model)


def test_a_trace_that_fixes_an_open_side_is_refused() -> None:
    class Fixing(torch.nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor]:
            return (image.sum(dim=1).expand(len(image), -1, -1),)

    definition = GraphDefinition(
        name="fixing",
        module=Fixing(),
        inputs=(floats("image", "batch", 3, "height", "width"),),
        outputs=(floats("gray", "batch", "height", "width"),),
        example=(torch.zeros(2, 3, 96, 64),),
    )
    with pytest.raises(ValueError, match="batch"):
        trace(definition)


def test_every_graph_agrees_with_torch_in_openvino_at_f32(bundle: Any, network: LiveNetwork) -> None:
    core = ov.Core()

    def run(graph: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        model = core.read_model(bundle.folder / f"{graph}.onnx")
        model.reshape({name: list(tensor.shape) for name, tensor in inputs.items()})
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        compiled = core.compile_model(model, "CPU", settings)
        outputs = compiled({name: np.asarray(tensor) for name, tensor in inputs.items()})
        return {port.get_any_name(): torch.from_numpy(value.copy()) for port, value in outputs.items()}

    image = picture(2, 64, 96)
    with torch.inference_mode():
        feature = network.backbone(image)
        chosen = select(network.heads(feature, image), image, top_k=64)
        rows = {
            "mask_features": chosen.mask_features,
            "mask_parameters": chosen.mask_parameters[:, :4].reshape(8, -1),
            "locations": chosen.locations[:, :4].reshape(8, -1),
            "batch_index": torch.arange(8) // 4,
        }
        masks = mask_logits(*rows.values(), stride=4, doubled=False).sigmoid()
    found = run("backbone", {"image": image}) | run("heads", {"feature": feature, "image": image})
    for name, expected in {"feature": feature, **chosen._asdict()}.items():
        assert relative_difference(expected, found[name]) < 1e-3, name
    rows["identity_map"] = chosen.identity_map
    assert relative_difference(masks, run("instances", rows)["masks"]) < 1e-3


def test_rows_beyond_the_last_location_have_score_zero_and_are_finite(
    bundle: Any, network: LiveNetwork
) -> None:
    image = picture(1, 32, 32)
    with torch.inference_mode():
        feature = network.backbone(image)
    heads = OnnxGraph((bundle.folder / "heads.onnx").read_bytes()).run({"feature": feature, "image": image})
    num_locations = 16 + 4 + 1
    assert (heads["scores"][:, :num_locations] > 0).all()
    assert (heads["scores"][:, num_locations:] == 0).all()
    assert (heads["scores"].diff(dim=1) <= 0).all()
    rows = {name: heads[name] for name in ("mask_features", "identity_map")}
    rows |= {name: heads[name][0] for name in ("mask_parameters", "locations")}
    rows["batch_index"] = torch.zeros(64, dtype=torch.int64)
    found = OnnxGraph((bundle.folder / "instances.onnx").read_bytes()).run(rows)
    assert found["masks"].shape == (64, 8, 8)
    assert all(output.isfinite().all() for output in found.values())


def test_every_output_was_compared_at_every_size(bundle: Any) -> None:
    compared = {(one.graph, one.output) for one in bundle.differences}
    for graph, (_, outputs) in CONTRACT.items():
        assert {(graph, output) for output in outputs} <= compared
    dense = {output for graph, output in compared if graph == "heads, dense"}
    assert dense == {
        "person_logits",
        "distances",
        "centerness_logits",
        "dense_mask_parameters",
        "identity_map",
        "mask_features",
        "part_logits",
    }
    assert len(bundle.differences) == len(CASES) * len(compared)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (9, 16)])
def test_masks_are_doubled_as_torch_interpolates(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(2, 8, *size, generator=generator)
    looks = torch.randn(2, 64, *size, generator=generator)
    rows = (torch.randn(3, 169, generator=generator), torch.rand(3, 3, generator=generator) * 64 + 1)
    image = torch.tensor([1, 0, 1])
    expected = mask_logits(features, *rows, image, stride=8).sigmoid()
    masks, _ = InstancesGraph(mask_stride=8)(features, looks, *rows, image)
    torch.testing.assert_close(masks, expected)


@pytest.mark.long
def test_the_network_of_bundle_03_exports_with_coarser_masks_and_without_joints(tmp_path: Path) -> None:
    torch.manual_seed(0)
    older = LiveNetworkV03(temporal=True).eval()
    traced = trace_live(older, top_k=16)
    differences = write_live(tmp_path / "bundle", older, traced, LiveBundle(top_k=16), cases=CASES[-1:])
    assert {one.graph for one in differences} >= {"backbone", "heads", "instances", "propagate", "temporal"}
    manifest = load_manifest(tmp_path / "bundle")
    assert manifest.capabilities.joints == 0
    assert [spec.name for spec in manifest.graphs["backbone"].outputs] == ["feature"]
    assert "DeepLabV3" in manifest.training_data[1]


def test_the_shipped_weights_are_read_and_know_what_network_they_are_of(repository: Path) -> None:
    network = load_live(repository / "models/weights/live.safetensors")
    assert isinstance(network, LiveNetworkV03)
    assert network.temporal is not None


def test_the_heads_of_the_definition_leave_the_network_as_it_was(network: LiveNetwork) -> None:
    image = picture(1, 32, 64)
    with torch.inference_mode():
        before = network(image).mask_parameters
        live_graphs(network, top_k=8)
        after = network(image).mask_parameters
    assert F.mse_loss(before, after) == 0
