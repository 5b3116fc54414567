"""Small random networks of the papers, made so that everything in them matters, and bundles of them."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from partstream_core.manifest import Thresholds
from partstream_export.aten import SCHEDULE, trace_aten, write_aten
from partstream_export.hvisnet import HVISNET_THRESHOLDS, trace_hvisnet, write_hvisnet
from partstream_export.live_parity import Case
from partstream_export.papers import PaperBundle
from partstream_models.networks.aten import ATEN, ATEN_REDUCED, ATENConfig, Encoder
from partstream_models.networks.deeplab_v3_plus import DeepLabConfig
from partstream_models.networks.hvisnet import HVISNET_REDUCED, HVISNet, Masks
from partstream_models.networks.parsing_rcnn import ParsingRCNN, ParsingRCNNConfig
from partstream_models.networks.resnet import ResNetConfig
from partstream_models.networks.rpn import RPNConfig

LONGER_SIDE = 128
FEW_CASES = (Case(1, 96, 128, 2),)
TINY = ATENConfig(
    backbone=DeepLabConfig(
        trunk=ResNetConfig(blocks=(1, 1, 1, 1), width=8), channels=16, low_channels=8, rates=(1, 2, 3)
    ),
    heads=ParsingRCNNConfig(
        channels=16,
        box_channels=32,
        rates=(1, 2, 4),
        rpn=RPNConfig(scales=(24, 32, 48, 64, 96), channels=16, num_proposals=30, num_before_nms=200),
    ),
    flow_width=1 / 16,
)
assert TINY.heads.rpn.num_anchors == ATEN_REDUCED.heads.rpn.num_anchors


def lively_aten(*, encoder: Encoder = Encoder.GRU) -> ATEN:
    """Random weights, with scores and boxes that differ, flow of some pixels and scales other than 1."""
    torch.manual_seed(0)
    network = ATEN(replace(TINY, encoder=encoder)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            _settled(module)
    heads = network.heads
    assert isinstance(heads, ParsingRCNN)
    assert network.flow.scale is not None
    with torch.no_grad():
        network.flow.scale.weight.normal_(std=0.1)
        for predict in network.flow.predict:
            predict.get_parameter("weight").mul_(20)
        heads.rpn.person.weight.mul_(50)
        heads.rpn.box.weight.mul_(20)
        heads.classify.weight.mul_(5)
    return network


def lively_hvisnet(*, masks: Masks = Masks.BLENDMASK) -> HVISNet:
    """Random weights, with scores that differ from place to place."""
    torch.manual_seed(0)
    network = HVISNet(replace(HVISNET_REDUCED, masks=masks)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            _settled(module)
    with torch.no_grad():
        network.heads.detection.person.weight.mul_(20)
        nn.init.constant_(network.heads.detection.person.get_parameter("bias"), 0.5)
        network.heads.mask_parameters.weight.mul_(20)
    return network


def write_tiny_aten(out: Path, network: ATEN) -> None:
    """A bundle of ATEN whose candidates are found by any score."""
    bundle = PaperBundle(
        name="tiny-aten",
        training_data=("nothing: random weights",),
        longer_side=LONGER_SIDE,
        thresholds=Thresholds(score=0.3, nms=0.3, mask=0.3, candidate=0.05),
        schedule=SCHEDULE,
    )
    write_aten(out, network, trace_aten(network), bundle, cases=FEW_CASES)


def write_tiny_hvisnet(out: Path, network: HVISNet) -> None:
    """A bundle of HVISNet."""
    bundle = PaperBundle(
        name="tiny-hvisnet",
        training_data=("nothing: random weights",),
        longer_side=LONGER_SIDE,
        thresholds=HVISNET_THRESHOLDS,
    )
    write_hvisnet(out, network, trace_hvisnet(network, top_k=20), bundle, top_k=20, cases=FEW_CASES)


def _settled(norm: nn.BatchNorm2d) -> None:
    """A batch norm as after training: it shifts and scales."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_(std=0.2)
    norm.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        norm.bias.normal_(std=0.2)
        norm.weight.uniform_(0.5, 1.5)
