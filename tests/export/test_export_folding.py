import torch
from torch import nn

from partstream_export.folding import folded
from partstream_models.networks.live import LiveNetwork


def test_a_folded_network_computes_the_same_without_batch_norms(network: LiveNetwork) -> None:
    image = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    lean = folded(network)
    with torch.inference_mode():
        for expected, found in zip(network(image), lean(image), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert not [module for module in lean.modules() if isinstance(module, nn.BatchNorm2d)]


def test_folding_leaves_the_network_that_was_given_alone(network: LiveNetwork) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded(network)
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_norm_that_follows_no_convolution_stays() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded(network)) == 2
