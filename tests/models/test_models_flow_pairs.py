"""Pairs of frames that FlowNet-S learns from: what they say is so, and a stack of them is they."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.networks.flownet_s import FLOW_UNIT, LOSS_WEIGHTS, FlowNetS
from partstream_models.networks.warp import warp
from partstream_models.training.flownet_recipes import ComposedPairs, FlowDraw, FlowNetTask, StackedPairs


@pytest.fixture(scope="module")
def pairs(photos: PhotoCache) -> ComposedPairs:
    """Frames of clips of five, up to two apart."""
    clip = ClipConfig(num_frames=5, cut_share=0.0, empty_share=0.0)
    clips = ClipDraws(photos=photos, size=(64, 96), clip=clip, draws_a_clip=2, at_once=2)
    return ComposedPairs(clips, apart=2)


def test_the_reference_looked_up_along_the_flow_is_the_current_frame(pairs: ComposedPairs) -> None:
    apart: dict[str, list[Tensor]] = {"along": [], "still": [], "against": []}
    for number in range(12):
        pair = pairs.draw(number)
        visible = pair.visible[:, None].expand_as(pair.current)
        ways = {"along": pair.flow, "still": 0 * pair.flow, "against": -pair.flow}
        for name, way in ways.items():
            apart[name].append((warp(pair.reference, way) - pair.current).abs()[visible].mean())
    # film grain is in all of them
    assert all(along < still for along, still in zip(apart["along"], apart["still"], strict=True))
    assert sum(apart["along"]) < 0.5 * sum(apart["against"])


def test_a_stack_is_its_pairs_in_a_row(pairs: ComposedPairs) -> None:
    stack = StackedPairs(pairs, 3).draw(2)
    for offset in range(3):
        alone = pairs.draw(6 + offset)
        for field in fields(FlowDraw):
            assert torch.equal(getattr(stack, field.name)[offset], getattr(alone, field.name)[0]), field.name


def test_a_stack_costs_what_its_pixels_cost(pairs: ComposedPairs) -> None:
    torch.manual_seed(1)
    network = FlowNetS(width=1 / 16)
    task = FlowNetTask(network, StackedPairs(pairs, 2))
    pair = StackedPairs(pairs, 2).draw(0)
    with torch.no_grad():
        finest = network(pair.current, pair.reference).pyramid[0]
        truth = F.adaptive_avg_pool2d(pair.flow * pair.visible[:, None], finest.shape[-2:])
        share = F.adaptive_avg_pool2d(pair.visible[:, None].float(), finest.shape[-2:])
        error = (finest - truth / share.clamp(min=1e-6) / FLOW_UNIT).norm(dim=1, keepdim=True)
        alone = FlowNetTask(network, task.source, weights=(1.0, 0.0, 0.0, 0.0, 0.0)).losses(0)["endpoint"]
        assert alone == pytest.approx(float((error * share).sum() / share.sum()), rel=1e-4)
        assert task.losses(0)["endpoint"] > LOSS_WEIGHTS[0] * alone
