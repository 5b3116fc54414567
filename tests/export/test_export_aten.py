"""ATEN's graphs and bundle, with random weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partstream_core.labels import PARTS
from partstream_core.manifest import load_manifest
from partstream_core.nms import non_maximum_suppression
from partstream_core.schedule import ScheduleMode
from partstream_export.aten import SCHEDULE, aten_manifest, aten_thresholds, trace_aten, write_aten
from partstream_export.aten_graphs import aten_graphs
from partstream_export.aten_parity import aten_differences
from partstream_export.aten_proposals import kept
from partstream_export.bundle_writer import TracedGraph
from partstream_export.live_parity import Case, picture
from partstream_export.papers import PaperBundle
from partstream_export.parity import Difference, OnnxGraph, relative_difference
from partstream_export.tracing import to_bytes, trace
from partstream_models.networks.aten import ATEN, Encoder
from partstream_models.networks.parsing_rcnn import ParsingRCNN, paste_masks
from tests.export.papers_networks import TINY, lively_aten

CASES = (Case(1, 96, 160, 1), Case(2, 160, 96, 8), Case(1, 32, 32, 3))
GRAPHS = {"backbone", "flow", "propagate", "temporal", "heads", "instances"}


@dataclass(frozen=True)
class Exported:
    """A network, its graphs, and the bundle that was written of them."""

    network: ATEN
    traced: Mapping[str, TracedGraph]
    folder: Path
    differences: list[Difference]

    def graph(self, name: str) -> OnnxGraph:
        return OnnxGraph((self.folder / f"{name}.onnx").read_bytes())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network = lively_aten()
    bundle = PaperBundle(
        name="tiny",
        training_data=("none",),
        longer_side=160,
        thresholds=aten_thresholds(network),
        schedule=SCHEDULE,
    )
    traced, folder = trace_aten(network), tmp_path_factory.mktemp("aten") / "bundle"
    return Exported(network, traced, folder, write_aten(folder, network, traced, bundle, cases=CASES))


def openvino(folder: Path, graph: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a graph in OpenVINO, in f32 and compiled for these shapes."""
    core = ov.Core()
    model = core.read_model(folder / f"{graph}.onnx")
    model.reshape({name: list(tensor.shape) for name, tensor in inputs.items()})
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = compiled({name: tensor.numpy() for name, tensor in inputs.items()})
    return {port.get_any_name(): torch.from_numpy(np.array(value)) for port, value in outputs.items()}


def test_every_graph_computes_what_the_network_computes(exported: Exported) -> None:
    assert {one.graph.partition(",")[0] for one in exported.differences} == GRAPHS
    assert {one.case.partition(",")[0] for one in exported.differences} == {"1x96x160", "2x160x96", "1x32x32"}
    assert max(one.value for one in exported.differences) < 1e-4


def test_a_graph_of_other_weights_is_told_apart(exported: Exported, tmp_path: Path) -> None:
    """What the comparison is worth: each part of the network that is another one shows."""
    other = lively_aten()
    with torch.no_grad():
        for part in (other.backbone.low, other.flow.predict[-1], other.encoder, other.heads):
            next(weight for weight in part.parameters() if weight.ndim == 4).mul_(1.1)
    shipped = {name: exported.graph(name) for name in GRAPHS}
    probed = OnnxGraph(to_bytes(exported.traced["heads"].model))
    wrong = {one.graph for one in aten_differences(other, shipped, probed, CASES[:1]) if one.value > 1e-3}
    assert {"backbone", "flow", "temporal", "heads, probed"} <= wrong


def test_the_manifest_tells_the_server_what_it_runs(exported: Exported) -> None:
    manifest = load_manifest(exported.folder)
    assert set(manifest.graphs) == GRAPHS
    assert manifest.capabilities.temporal == "window"
    assert manifest.capabilities.embedding is None
    assert manifest.capabilities.parts == PARTS[1:]
    assert (manifest.schedule.mode, manifest.schedule.interval, manifest.schedule.encoding_range) == (
        ScheduleMode.PAPER,
        3,
        2,
    )
    assert (manifest.thresholds.score, manifest.thresholds.nms) == (0.7, 0.3)
    assert manifest.instance_maps == ("feature",)
    assert manifest.instance_rows == ("boxes",)
    assert manifest.strides.feature == 4
    assert manifest.top_k == TINY.heads.rpn.num_proposals
    assert manifest.graphs["propagate"].outputs[0].name == "propagated"


def test_openvino_computes_the_same(exported: Exported) -> None:
    case = Case(2, 96, 64, 4)
    generator = torch.Generator().manual_seed(1)
    image = picture(case, generator)
    feature = exported.graph("backbone").run({"image": image})["feature"]
    field = exported.graph("flow").run({"image": image, "reference": image.flip(3)})
    rows = exported.graph("heads").run({"feature": feature})["boxes"][:, :4].reshape(-1, 4)
    inputs = {
        "backbone": {"image": image},
        "flow": {"image": image, "reference": image.flip(3)},
        "propagate": {"feature": feature, **field},
        "temporal": {"features": torch.stack([feature.flip(2), feature], dim=1)},
        "heads": {"feature": feature},
        "instances": {"feature": feature, "boxes": rows, "batch_index": torch.arange(8) // 4},
    }
    for graph, given_ in inputs.items():
        wanted, said = exported.graph(graph).run(given_), openvino(exported.folder, graph, given_)
        assert {
            name: relative_difference(wanted[name], said[name]) < 1e-3 for name in wanted
        } == dict.fromkeys(wanted, True), graph


def test_the_people_of_a_frame_are_those_that_the_network_detects(exported: Exported) -> None:
    """Confidence and the last suppression on the host, as the server has them, and masks of those alone."""
    network = exported.network
    heads = network.heads
    assert isinstance(heads, ParsingRCNN)
    image = picture(Case(1, 96, 128, 1), torch.Generator().manual_seed(3))
    with torch.no_grad():
        feature = network.backbone(image)
        heads.config = replace(heads.config, min_score=0.3)
        try:
            (people,) = heads.detect(feature)
        finally:
            heads.config = TINY.heads
    found = exported.graph("heads").run({"feature": feature})
    boxes, scores = found["boxes"][0].numpy(), found["scores"][0].numpy()
    sure = np.flatnonzero(scores >= 0.3)
    stay = sure[
        non_maximum_suppression(boxes[sure], scores[sure], iou_threshold=heads.config.nms_iou, max_kept=100)
    ]
    assert len(people.scores_R) >= 2
    assert np.allclose(people.boxes_R4, boxes[stay], atol=1e-2)
    assert np.allclose(people.scores_R, scores[stay], atol=1e-4)
    masks = exported.graph("instances").run(
        {
            "feature": feature,
            "boxes": torch.from_numpy(boxes[stay]),
            "batch_index": torch.zeros(len(stay), dtype=torch.int64),
        }
    )["masks"]
    pasted = paste_masks(people._replace(boxes_R4=people.boxes_R4 / 4), 24, 32)
    assert torch.allclose(masks, pasted, atol=1e-3)


@pytest.mark.parametrize("encoder", [Encoder.LSTM, Encoder.MEAN])
def test_other_encoders_take_any_number_of_frames(encoder: Encoder) -> None:
    network = lively_aten(encoder=encoder)
    (definition,) = (one for one in aten_graphs(network) if one.name == "temporal")
    graph = OnnxGraph(to_bytes(TracedGraph(definition, trace(definition)).shipped()))
    generator = torch.Generator().manual_seed(0)
    for count in (1, 2, 5):
        features = torch.randn(1, count, 16, 8, 16, generator=generator)
        with torch.no_grad():
            wanted = network.encoder(list(features.unbind(dim=1)))
        assert relative_difference(wanted, graph.run({"features": features})["encoded"]) < 1e-4


def test_equal_weights_make_equal_files_that_do_not_tell_where_they_were_made(exported: Exported) -> None:
    (definition,) = (one for one in aten_graphs(exported.network) if one.name == "temporal")
    again = TracedGraph(definition, trace(definition)).shipped()
    assert to_bytes(again) == (exported.folder / "temporal.onnx").read_bytes()
    here = [b".py", b"partstream", str(Path.home()).encode()]
    for graph in GRAPHS:
        content = (exported.folder / f"{graph}.onnx").read_bytes()
        assert [word for word in here if word in content] == [], graph


@given(
    seed=st.integers(0, 2**32 - 1),
    num_boxes=st.integers(1, 60),
    spread=st.sampled_from([1.0, 5.0, 30.0, 100.0]),
    threshold=st.sampled_from([0.3, 0.5, 0.7]),
)
@settings(max_examples=80, deadline=None)
def test_suppression_in_the_graph_is_the_greedy_one(
    seed: int, num_boxes: int, spread: float, threshold: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(2, num_boxes, 2, generator=generator) * spread
    sizes = 20 + torch.rand(2, num_boxes, 2, generator=generator) * 10
    boxes = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=2)
    real = torch.rand(2, num_boxes, generator=generator) > 0.1
    stays = kept(boxes, real, iou_threshold=threshold)
    falling = np.arange(num_boxes, 0, -1, dtype=np.float32)
    for image in range(2):
        rows = np.flatnonzero(real[image].numpy())
        greedy = non_maximum_suppression(
            boxes[image].numpy()[rows], falling[rows], iou_threshold=threshold, max_kept=num_boxes
        )
        assert np.flatnonzero(stays[image].numpy()).tolist() == sorted(rows[greedy].tolist())


def test_a_chain_too_long_to_judge_leaves_no_doubles() -> None:
    """Each box overlaps the next one alone: whether the last stays hangs on the first."""
    left = torch.arange(100, dtype=torch.float32) * 4
    boxes = torch.stack([left, torch.zeros(100), left + 10, torch.full((100,), 10.0)], dim=1)[None]
    stays = kept(boxes, torch.ones(1, 100, dtype=torch.bool), iou_threshold=0.4)[0]
    rows = torch.nonzero(stays)[:, 0]
    assert bool((rows.diff() >= 2).all())
    assert rows[:10].tolist() == list(range(0, 20, 2))


def test_networks_that_fit_no_bundle_are_refused() -> None:
    with pytest.raises(ValueError, match="without an instance branch"):
        aten_graphs(ATEN(replace(TINY, instances=False)))
    with pytest.raises(ValueError, match="without warping"):
        aten_graphs(ATEN(replace(TINY, aligned=False)))
    with pytest.raises(ValueError, match="the network 7"):
        aten_graphs(ATEN(replace(TINY, heads=replace(TINY.heads, num_classes=7))))


def test_a_box_is_what_a_mask_is_made_from(exported: Exported) -> None:
    bundle = PaperBundle(
        name="n", training_data=(), longer_side=64, thresholds=aten_thresholds(exported.network)
    )
    channels = aten_manifest(exported.network, bundle).channels
    assert (channels.feature, channels.mask_features, channels.mask_parameters) == (16, 16, 4)
