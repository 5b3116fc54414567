"""HVISNet's graphs: the packed pyramid, the best K, masks over the frame, and what is found with them."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from partstream_models.networks.blendmask import NUM_ATTENTION, NUM_BASES, blended_logits
from partstream_models.networks.condinst import NUM_MASK_PARAMETERS
from partstream_models.networks.fcos import all_locations, decode_boxes
from partstream_models.networks.hvisnet import HVISNET_REDUCED, HVISNet, Masks, scores_of
from partstream_models.networks.hvisnet_graphs import (
    BackboneGraph,
    BlendInstancesGraph,
    CondInstancesGraph,
    HeadsGraph,
    instances_graph,
    pack,
    unpack,
)
from partstream_models.networks.hvisnet_parse import ParseConfig, parse_images
from partstream_models.networks.parsing_rcnn import People, paste_masks


@pytest.fixture(scope="module")
def network() -> HVISNet:
    """Of random weights."""
    torch.manual_seed(0)
    return HVISNet(HVISNET_REDUCED).eval()


def test_a_packed_pyramid_comes_apart_as_it_was() -> None:
    levels = [torch.randn(2, 5, 16 // side, 24 // side) for side in (1, 2, 4)]
    packed = pack(levels)
    assert packed.shape == (2, 21 * 5, 4, 6)
    assert all(torch.equal(a, b) for a, b in zip(unpack(packed), levels, strict=True))


@torch.no_grad()
def test_the_graphs_choose_the_best_of_what_the_network_says(network: HVISNet) -> None:
    image = torch.randn(2, 3, 64, 96)
    top_k = 9
    graph = HeadsGraph(network.heads, levels=network.config.levels, top_k=top_k)
    boxes, scores, locations, parameters, embeddings, features = graph(BackboneGraph(network.backbone)(image))
    dense = network(image)
    everywhere, _ = all_locations(64, 96, levels=network.config.levels)
    expected = scores_of(dense)
    for row in range(2):
        order = expected[row].argsort(descending=True)[:top_k]
        assert torch.allclose(scores[row], expected[row, order], atol=1e-6)
        at = [int((everywhere == place).all(dim=1).nonzero()[0, 0]) for place in locations[row]]
        whole = decode_boxes(everywhere, dense.distances)[row, at]
        left, top, right, bottom = whole.unbind(dim=1)
        inside = [left.clamp(0, 96), top.clamp(0, 64), right.clamp(0, 96), bottom.clamp(0, 64)]
        assert torch.allclose(boxes[row], torch.stack(inside, dim=1), atol=1e-3)
        assert torch.allclose(parameters[row], dense.mask_parameters[row, at], atol=1e-4)
        assert torch.allclose(embeddings[row], F.normalize(dense.embeddings[row, at], dim=1), atol=1e-4)
    assert torch.allclose(features, dense.mask_features, atol=1e-4)


@torch.no_grad()
def test_an_image_of_fewer_places_than_k_is_padded_with_score_zero(network: HVISNet) -> None:
    graph = HeadsGraph(network.heads, levels=network.config.levels, top_k=40)
    outputs = graph(BackboneGraph(network.backbone)(torch.randn(1, 3, 32, 32)))
    assert (outputs[1][0, :21] > 0).all()
    assert (outputs[1][0, 21:] == 0).all()
    assert all(torch.isfinite(output).all() for output in outputs)


def test_blended_masks_are_put_where_their_boxes_lie() -> None:
    torch.manual_seed(0)
    bases, attention = torch.randn(2, NUM_BASES, 16, 24), torch.randn(5, NUM_ATTENTION)
    corner = torch.rand(5, 2) * 30
    boxes = torch.cat([corner, corner + 8 + 20 * torch.rand(5, 2)], dim=1)
    index = torch.tensor([0, 1, 1, 0, 1])
    found = BlendInstancesGraph()(bases, attention, boxes, index)
    masks = blended_logits(bases, attention, boxes, index).sigmoid()
    expected = paste_masks(People(boxes / 4, torch.ones(5), masks), 16, 24)
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_instances_graph_goes_with_the_masks() -> None:
    assert isinstance(instances_graph(HVISNet(HVISNET_REDUCED)), BlendInstancesGraph)
    other = HVISNet(replace(HVISNET_REDUCED, masks=Masks.CONDINST))
    graph = instances_graph(other)
    assert isinstance(graph, CondInstancesGraph)
    masks = graph(
        torch.randn(1, 8, 8, 12), torch.randn(3, NUM_MASK_PARAMETERS), torch.ones(3, 3), torch.zeros(3).long()
    )
    assert masks.shape == (3, 16, 24)


@pytest.mark.parametrize("masks", list(Masks))
def test_what_is_found_is_sure_and_no_double(masks: Masks) -> None:
    torch.manual_seed(0)
    network = HVISNet(replace(HVISNET_REDUCED, masks=masks))
    with torch.no_grad():
        assert network.heads.detection.person.bias is not None
        network.heads.detection.person.bias.fill_(0.5)  # so that there is something to find
    config = ParseConfig(score_threshold=0.3, nms_threshold=0.3, top_k=20)
    for people in parse_images(network, torch.randn(2, 3, 64, 96), config):
        assert 0 < len(people.boxes_N4) <= 20
        assert (people.scores_N >= 0.3).all()
        size = (64, 96) if masks is Masks.BLENDMASK else (16, 24)
        assert people.masks_NHW.shape == (len(people.boxes_N4), *size)
        low = torch.maximum(people.boxes_N4[:, None, :2], people.boxes_N4[None, :, :2])
        high = torch.minimum(people.boxes_N4[:, None, 2:], people.boxes_N4[None, :, 2:])
        shared = (high - low).clamp(min=0).prod(dim=2)
        area = (people.boxes_N4[:, 2:] - people.boxes_N4[:, :2]).prod(dim=1)
        overlap = shared / (area[:, None] + area - shared)
        assert (overlap - torch.eye(len(area))).max() <= 0.3 + 1e-4
