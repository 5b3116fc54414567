"""A small random live network, its traced graphs, and the bundle made from them."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from partstream_export.bundle_writer import TracedGraph
from partstream_export.live import LiveBundle, trace_live, write_live
from partstream_export.parity import Difference
from partstream_models.networks.live import LiveNetwork

TOP_K = 64


@dataclass(frozen=True, slots=True)
class WrittenBundle:
    """A bundle on disk and how far it is from torch."""

    folder: Path
    differences: list[Difference]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def network() -> LiveNetwork:
    """Random weights, batch norms as after training, and scores that differ from place to place."""
    torch.manual_seed(0)
    network = LiveNetwork()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    for module in network.backbone.trunk.modules():  # has no norms to keep its features alive
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        for _ in range(4):
            network.train()(torch.rand(2, 3, 128, 96) * 2 - 1)
        network.heads.detection.person.weight.mul_(20)
        nn.init.zeros_(network.heads.detection.person.get_parameter("bias"))
        network.heads.detection.mask_parameters.weight.mul_(20)
    return network.eval()


@pytest.fixture(scope="session")
def traced(network: LiveNetwork) -> dict[str, TracedGraph]:
    return trace_live(network, top_k=TOP_K)


@pytest.fixture(scope="session")
def bundle(
    network: LiveNetwork, traced: dict[str, TracedGraph], tmp_path_factory: pytest.TempPathFactory
) -> WrittenBundle:
    folder = tmp_path_factory.mktemp("export") / "bundle"
    return WrittenBundle(folder, write_live(folder, network, traced, LiveBundle(top_k=TOP_K)))
