"""Parameters and multiply-adds of the published networks at 512x512, followed on the meta device."""

import pytest
import torch

from partstream_evaluation.complexity import StageCosts, cost_ratio, short_cost_ratio
from partstream_models.networks.aten import ATEN, ATEN_DAVIS, ATEN_VIP, ATENConfig
from partstream_models.networks.complexity import multiply_adds, num_parameters
from partstream_models.networks.conv_gru import ConvGRUCell
from partstream_models.networks.deeplab_v3_plus import DeepLabConfig, DeepLabV3Plus
from partstream_models.networks.flownet_s import FlowNetS
from partstream_models.networks.parsing_rcnn import ParsingRCNN
from partstream_models.networks.resnet import RESNET50, RESNET101, ResNetConfig


def image() -> torch.Tensor:
    return torch.empty(1, 3, 512, 512, device="meta")


@pytest.mark.parametrize(
    ("trunk", "parameters", "billions"), [(RESNET50, 40_335_472, 68.2), (RESNET101, 59_327_600, 87.6)]
)
def test_deeplab_has_the_published_size(trunk: ResNetConfig, parameters: int, billions: float) -> None:
    with torch.device("meta"):
        network = DeepLabV3Plus(DeepLabConfig(trunk=trunk))
    assert num_parameters(network) == parameters
    assert round(multiply_adds(lambda: network(image())) / 1e9, 1) == billions


@pytest.mark.parametrize(
    ("scale", "parameters", "billions"), [(None, 38_675_536, 21.1), (256, 38_726_178, 21.9)]
)
def test_flownet_s_has_the_published_size(scale: int | None, parameters: int, billions: float) -> None:
    with torch.device("meta"):
        network = FlowNetS(scale_channels=scale)
    assert num_parameters(network) == parameters
    assert round(multiply_adds(lambda: network(image(), image())) / 1e9, 1) == billions


def test_a_step_of_the_gru_has_the_published_size() -> None:
    with torch.device("meta"):
        cell = ConvGRUCell(in_channels=256, state_channels=256)
        feature = torch.empty(1, 256, 128, 128)
    assert num_parameters(cell) == 3_539_712
    assert round(multiply_adds(lambda: cell(feature, feature)) / 1e9, 1) == 58.0


def test_multiply_adds_agree_with_counting_by_hand() -> None:
    with torch.device("meta"):
        layers = torch.nn.Sequential(
            torch.nn.Conv2d(4, 6, 3, 2, 1, groups=2), torch.nn.ConvTranspose2d(6, 5, 2, 2)
        )
        x = torch.empty(2, 4, 8, 6)
    by_hand = 2 * (6 * 2 * 9 * 4 * 3) + 2 * (6 * 5 * 4 * 4 * 3)
    assert multiply_adds(lambda: layers(x)) == by_hand


def stage_costs(config: ATENConfig) -> StageCosts:
    """Of a 512x512 frame; where there is an instance branch, its per-region heads run on 128 regions."""
    with torch.device("meta"):
        network = ATEN(config)
        feature = torch.empty(1, 256, 128, 128)
    heads = network.heads
    if isinstance(heads, ParsingRCNN):
        regions = torch.empty(128, 256, 7, 7, device="meta")
        dense = (heads.rpn, heads.parsing, heads.mask_head.tower)
        parsing = multiply_adds(lambda: [module(feature) for module in dense])
        parsing += multiply_adds(lambda: heads.box_head(regions))
    else:
        parsing = multiply_adds(lambda: heads(feature))
    return StageCosts(
        backbone=multiply_adds(lambda: network.backbone(image())),
        flow=multiply_adds(lambda: network.flow(image(), image())),
        encoding=multiply_adds(lambda: network.encoder([feature] * 3)),
        parsing=parsing,
    )


@pytest.mark.parametrize(
    ("config", "length", "full", "short"), [(ATEN_VIP, 3, 1.37, 0.87), (ATEN_DAVIS, 5, 0.95, 0.55)]
)
def test_the_cost_against_every_frame_is_what_equations_8_and_9_say(
    config: ATENConfig, length: int, full: float, short: float
) -> None:
    costs = stage_costs(config)
    assert cost_ratio(costs, length=length, num_flows=length + 2) == pytest.approx(full, abs=0.006)
    assert short_cost_ratio(costs, length=length, num_flows=length + 2) == pytest.approx(short, abs=0.006)
    assert cost_ratio(costs, length=length, num_flows=length + 1) < cost_ratio(
        costs, length=length, num_flows=length + 2
    )
