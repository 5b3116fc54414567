"""HVISNet's graphs and bundle, with random weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch

from partstream_core.manifest import load_manifest
from partstream_core.nms import non_maximum_suppression
from partstream_export.hvisnet import HVISNET_THRESHOLDS, trace_hvisnet, write_hvisnet
from partstream_export.hvisnet_parity import hvisnet_differences
from partstream_export.live_parity import Case, picture
from partstream_export.papers import PaperBundle
from partstream_export.parity import Difference, OnnxGraph, relative_difference
from partstream_models.networks.hvisnet import HVISNet, Masks
from partstream_models.networks.hvisnet_parse import ParseConfig, parse_images
from tests.export.papers_networks import lively_hvisnet

CASES = (Case(1, 96, 160, 1), Case(2, 160, 96, 8), Case(1, 32, 32, 3))
TOP_K = 30
GRAPHS = ("backbone", "heads", "instances")


@dataclass(frozen=True)
class Exported:
    """A network and the bundle that was written of it."""

    network: HVISNet
    folder: Path
    differences: list[Difference]

    def graph(self, name: str) -> OnnxGraph:
        return OnnxGraph((self.folder / f"{name}.onnx").read_bytes())


def write(folder: Path, masks: Masks) -> Exported:
    network = lively_hvisnet(masks=masks)
    bundle = PaperBundle(name="tiny", training_data=("none",), longer_side=160, thresholds=HVISNET_THRESHOLDS)
    traced = trace_hvisnet(network, top_k=TOP_K)
    return Exported(network, folder, write_hvisnet(folder, network, traced, bundle, top_k=TOP_K, cases=CASES))


@pytest.fixture(scope="module", params=list(Masks))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    yield write(tmp_path_factory.mktemp("hvisnet") / "bundle", request.param)


def test_every_graph_computes_what_the_network_computes(exported: Exported) -> None:
    assert {one.graph for one in exported.differences} == set(GRAPHS)
    assert max(one.value for one in exported.differences) < 1e-4


def test_a_graph_of_other_weights_is_told_apart(exported: Exported) -> None:
    other = lively_hvisnet(masks=exported.network.config.masks)
    with torch.no_grad():
        other.backbone.pyramid.laterals[0].get_parameter("weight").mul_(1.1)
        other.heads.identity[0].get_parameter("weight").add_(0.1)
    graphs = {name: exported.graph(name) for name in GRAPHS}
    wrong = {
        one.output
        for one in hvisnet_differences(other, graphs, top_k=TOP_K, cases=CASES[:1])
        if one.value > 1e-3
    }
    assert wrong == {"feature", "embeddings"}


def test_the_manifest_tells_the_server_what_it_runs(exported: Exported) -> None:
    manifest, config = load_manifest(exported.folder), exported.network.config
    assert manifest.capabilities.temporal == "none"
    assert manifest.capabilities.embedding == config.channels
    assert manifest.capabilities.parts == ()
    assert manifest.strides.feature == 32
    assert manifest.channels.feature == 21 * config.channels
    assert manifest.channels.mask_parameters == (784 if config.masks is Masks.BLENDMASK else 169)
    assert manifest.instance_maps == ("mask_features",)
    where = "boxes" if config.masks is Masks.BLENDMASK else "locations"
    assert manifest.instance_rows == ("mask_parameters", where)
    assert [spec.name for spec in manifest.graphs["heads"].inputs] == ["feature"]


def test_openvino_computes_the_same(exported: Exported) -> None:
    image = picture(Case(2, 64, 96, 1), torch.Generator().manual_seed(1))
    feature = exported.graph("backbone").run({"image": image})["feature"]
    heads = exported.graph("heads").run({"feature": feature})
    rows = {name: heads[name][:, :3].flatten(0, 1) for name in load_manifest(exported.folder).instance_rows}
    inputs = {
        "backbone": {"image": image},
        "heads": {"feature": feature},
        "instances": {
            "mask_features": heads["mask_features"],
            "batch_index": torch.arange(6) // 3,
            **rows,
        },
    }
    core = ov.Core()
    for graph, told in inputs.items():
        model = core.read_model(exported.folder / f"{graph}.onnx")
        model.reshape({name: list(tensor.shape) for name, tensor in told.items()})
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        said = compiled({name: tensor.numpy() for name, tensor in told.items()})
        found = {port.get_any_name(): torch.from_numpy(np.array(value)) for port, value in said.items()}
        wanted = exported.graph(graph).run(told)
        assert set(found) == set(wanted)
        assert max(relative_difference(wanted[name], found[name]) for name in wanted) < 1e-3, graph


def test_the_people_of_a_frame_are_those_that_the_network_finds(exported: Exported) -> None:
    config = ParseConfig(score_threshold=0.5, top_k=TOP_K)
    image = picture(Case(1, 96, 128, 1), torch.Generator().manual_seed(2))
    (people,) = parse_images(exported.network, image, config)
    heads = exported.graph("heads").run(exported.graph("backbone").run({"image": image}))
    boxes, scores = heads["boxes"][0].numpy(), heads["scores"][0].numpy()
    sure = np.flatnonzero(scores >= config.score_threshold)
    stay = sure[
        non_maximum_suppression(boxes[sure], scores[sure], iou_threshold=config.nms_threshold, max_kept=TOP_K)
    ]
    assert len(people.scores_N) >= 2
    assert np.allclose(people.boxes_N4, boxes[stay], atol=1e-2)
    assert np.allclose(people.embeddings_ND, heads["embeddings"][0].numpy()[stay], atol=1e-3)
    assert len(masks_of(exported, heads, stay)) == len(stay)


def masks_of(exported: Exported, heads: Mapping[str, torch.Tensor], rows: np.ndarray) -> torch.Tensor:
    inputs = {name: heads[name][0][rows] for name in load_manifest(exported.folder).instance_rows}
    inputs["batch_index"] = torch.zeros(len(rows), dtype=torch.int64)
    return exported.graph("instances").run({**inputs, "mask_features": heads["mask_features"]})["masks"]
