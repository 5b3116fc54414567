"""Atrous spatial pyramid pooling: sizes, reach, and the branch that sees everything."""

import pytest
import torch
from torch import Tensor, nn

from partstream_models.networks.aspp import ASPP


def make(*, separable: bool = False, rates: tuple[int, ...] = (2, 4)) -> ASPP:
    torch.manual_seed(0)
    return ASPP(6, 10, rates=rates, separable=separable).eval()


def influence(network: ASPP, *, size: int = 21) -> Tensor:
    """How much each output position changes when the first input pixel does, [H, W]."""
    image = torch.rand(1, 6, size, size)
    changed = image.clone()
    changed[..., 0, 0] += 50
    with torch.no_grad():
        difference: Tensor = network(changed) - network(image)
    return difference.abs().amax(dim=1)[0]


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 8), (13, 5)])
def test_the_size_stays(separable: bool, size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert make(separable=separable)(torch.rand(2, 6, *size)).shape == (2, 10, *size)


def test_the_pooled_branch_sees_the_whole_image() -> None:
    assert (influence(make()) > 0).all()


def test_without_the_pooled_branch_the_reach_ends_at_the_largest_rate() -> None:
    network = make(rates=(2, 4))
    for parameter in network.pooled.parameters():
        nn.init.zeros_(parameter)
    seen = influence(network) > 0
    assert seen[0, 0]
    assert seen[4, 4]
    assert not seen[5:].any()
    assert not seen[:, 5:].any()


def test_the_pooled_branch_is_blind_to_places() -> None:
    network = make()
    for branch in network.local:
        for parameter in branch.parameters():
            nn.init.zeros_(parameter)
    image = torch.rand(1, 6, 4, 4)
    shuffled = image.flatten(2)[..., torch.randperm(16)].reshape(1, 6, 4, 4)
    with torch.no_grad():
        out = network(image)
        assert torch.allclose(out, network(shuffled), atol=1e-6)
        assert torch.allclose(out, out[..., :1, :1].expand_as(out), atol=1e-6)
        assert not torch.allclose(out, network(image * 3), atol=1e-3)


def test_one_image_can_be_trained_on() -> None:
    network = make().train()
    network(torch.rand(1, 6, 4, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
