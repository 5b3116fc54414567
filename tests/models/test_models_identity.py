"""The identity branch: means over masks, and what teaches it."""

import numpy as np
import torch
from torch import Tensor

from partstream_models.data.batches import Batch, People
from partstream_models.networks.identity import EMBEDDING_CHANNELS, IdentityHead, pool_embeddings
from partstream_models.training.identity_loss import IdentityLoss, visible_people


def people(rows: list[int], identities: list[int]) -> People:
    count = len(rows)
    return People(torch.zeros(count, 4), torch.zeros(count, 2), torch.tensor(identities), torch.tensor(rows))


def batch_of(instances_BHW: Tensor, *each: People) -> Batch:
    blank = torch.zeros_like(instances_BHW)
    return Batch(torch.zeros(*instances_BHW.shape, 3, dtype=torch.uint8), blank, instances_BHW, each, blank)


def test_an_embedding_is_the_weighted_mean_of_the_own_picture() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, EMBEDDING_CHANNELS, 4, 5, generator=generator)
    weights = torch.rand(6, 20, generator=generator)
    picture = torch.tensor([2, 0, 1, 1, 2, 0])
    found = pool_embeddings(maps, weights, picture).numpy()
    for row in range(6):
        columns = maps[picture[row]].reshape(EMBEDDING_CHANNELS, 20).numpy()
        expected = np.average(columns, axis=1, weights=weights[row].numpy())
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


def test_someone_without_any_pixel_has_a_finite_embedding() -> None:
    found = pool_embeddings(torch.randn(1, EMBEDDING_CHANNELS, 2, 2), torch.zeros(1, 4), torch.tensor([0]))
    assert torch.equal(found, torch.zeros(1, EMBEDDING_CHANNELS))


def test_identities_teach_the_stem_but_not_the_feature() -> None:
    head = IdentityHead(8, 4)
    feature = torch.randn(2, 8, 4, 4, requires_grad=True)
    stem = torch.randn(2, 4, 8, 8, requires_grad=True)
    head(feature, stem, torch.randn(2, 3, 32, 32)).sum().backward()
    assert feature.grad is None
    assert stem.grad is not None


def test_people_who_hardly_show_teach_nothing() -> None:
    instances = torch.zeros(2, 32, 64, dtype=torch.uint8)
    instances[0, :16, :16] = 1  # four cells
    instances[0, 16:24, :24] = 2  # three
    instances[1, :, 32:] = 1
    weights, picture, identity = visible_people(
        batch_of(instances, people([1, 2], [7, 8]), people([1], [7])), torch.device("cpu")
    )
    assert picture.tolist() == [0, 1]
    assert identity.tolist() == [7, 7]
    assert weights.sum(dim=1).tolist() == [4, 16]


def test_the_loss_falls_when_looks_can_be_told_apart() -> None:
    torch.manual_seed(1)
    instances = torch.zeros(4, 32, 64, dtype=torch.uint8)
    instances[:, :, :32], instances[:, :, 32:] = 1, 2
    batch = batch_of(instances, *(people([1, 2], [0, 1] if number < 2 else [2, 3]) for number in range(4)))
    looks = torch.zeros(4, 3, 4, 8)
    for number in range(4):
        looks[number, :, :, :4] = torch.eye(3)[number // 2][:, None, None]
        looks[number, :, :, 4:] = -torch.eye(3)[number // 2][:, None, None]
    layer, loss = torch.nn.Conv2d(3, EMBEDDING_CHANNELS, 1), IdentityLoss(4)
    optimiser = torch.optim.Adam([*layer.parameters(), *loss.parameters()], lr=0.05)
    totals = []
    for _ in range(30):
        classify, triplet = loss(layer(looks), batch)
        optimiser.zero_grad()
        (classify + triplet).backward()
        optimiser.step()
        totals.append(float((classify + triplet).detach()))
    assert totals[-1] < 0.1 * totals[0]


def test_a_batch_of_empty_pictures_costs_nothing() -> None:
    nobody = people([], [])
    batch = batch_of(torch.zeros(2, 32, 32, dtype=torch.uint8), nobody, nobody)
    classify, triplet = IdentityLoss(3)(torch.randn(2, EMBEDDING_CHANNELS, 4, 4), batch)
    assert float(classify) == float(triplet) == 0
