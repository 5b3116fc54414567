"""Losses against loops, and what they must not see."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from partstream_core.labels import NUM_PARTS, VOID
from partstream_models.data.batches import Batch, BatchConfig, Batches, People
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.networks.fcos import all_locations
from partstream_models.networks.live import DenseOutputs, LiveNetwork
from partstream_models.training.identity_loss import triplet_loss
from partstream_models.training.live_losses import LiveLoss, LossConfig, cell_labels, focal_loss, giou_loss

SIZE = 64
CPU = torch.device("cpu")
NUM_LOCATIONS = 8 * 8 + 4 * 4 + 2 * 2


def test_focal_loss_agrees_with_its_formula() -> None:
    logits, truth = [-3.0, -0.4, 0.0, 1.2, 4.0, 2.0], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    expected = []
    for logit, is_person in zip(logits, truth, strict=True):
        p = 1 / (1 + math.exp(-logit))
        hit = p if is_person else 1 - p
        expected.append(-(0.25 if is_person else 0.75) * (1 - hit) ** 2 * math.log(hit))
    assert torch.allclose(focal_loss(torch.tensor(logits), torch.tensor(truth)), torch.tensor(expected))


def giou_by_hand(a: list[float], b: list[float]) -> float:
    def area(left: float, top: float, right: float, bottom: float) -> float:
        return max(right - left, 0) * max(bottom - top, 0)

    overlap = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    outer = area(min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    union = area(*a) + area(*b) - overlap
    return overlap / union - (outer - union) / outer


def test_giou_loss_agrees_with_loops() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 20, (40, 2, 2, 2))
    boxes = np.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=2)
    expected = [1 - giou_by_hand(a.tolist(), b.tolist()) for a, b in boxes]
    found = giou_loss(torch.from_numpy(boxes[:, 0]), torch.from_numpy(boxes[:, 1]))
    assert np.allclose(found.numpy(), expected)
    assert (found >= 0).all()
    assert (found <= 2).all()
    same = torch.from_numpy(boxes[:, 0])
    assert torch.allclose(giou_loss(same, same), torch.zeros(40, dtype=torch.float64))


def triplet_by_loops(embeddings: Tensor, identity: list[int], image: list[int], temperature: float) -> float:
    """The mean over anchors and positives of log(1 + sum of exp((s_an - s_ap) / temperature))."""
    terms = []
    people = range(len(identity))
    for anchor in people:
        for positive in people:
            if identity[positive] != identity[anchor] or image[positive] == image[anchor]:
                continue
            near = float(embeddings[anchor] @ embeddings[positive])
            total = 0.0
            for negative in people:
                if identity[negative] != identity[anchor]:
                    far = float(embeddings[anchor] @ embeddings[negative])
                    total += math.exp((far - near) / temperature)
            terms.append(math.log1p(total))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_triplet_loss_agrees_with_loops(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.normalize(
        torch.randn(12, 8, generator=generator, dtype=torch.float64), dim=1
    )
    identity, image = [0, 1, 2, 0, 1, 2, 0, 0, 3, 4, 1, 2], [0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 2, 2]
    found = triplet_loss(embeddings, torch.tensor(identity), torch.tensor(image), temperature=temperature)
    assert float(found) == pytest.approx(triplet_by_loops(embeddings, identity, image, temperature))


@pytest.mark.parametrize(("identity", "image"), [([0, 1, 2], [0, 0, 0]), ([5, 5], [0, 1]), ([0], [0])])
def test_without_a_usable_triplet_the_loss_is_zero_and_has_a_gradient(
    identity: list[int], image: list[int]
) -> None:
    embeddings = torch.randn(len(identity), 4, requires_grad=True)
    loss = triplet_loss(embeddings, torch.tensor(identity), torch.tensor(image))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert embeddings.grad is not None


def one_person_batch() -> Batch:
    """One image with one person in the middle, their parts in two halves, and a void strip on the right."""
    parts = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    parts[:, 16:32, 16:48], parts[:, 32:56, 16:48], parts[..., 56:] = 5, 9, VOID
    instances = torch.where(parts == VOID, VOID, (parts > 0).to(torch.uint8))
    people = People(
        torch.tensor([[16.0, 16.0, 48.0, 56.0]]),
        torch.tensor([[32.0, 36.0]]),
        torch.tensor([2]),
        torch.tensor([1]),
    )
    return Batch(torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8), parts, instances, (people,), parts * 0)


def outputs(*, seed: int = 0) -> DenseOutputs:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=generator)

    return DenseOutputs(
        random(NUM_LOCATIONS), random(NUM_LOCATIONS, 4).exp() * 8, random(NUM_LOCATIONS),
        random(NUM_LOCATIONS, 169) * 0.1, random(64, 8, 8), random(8, 16, 16),
        random(NUM_PARTS, 16, 16),
    )  # fmt: skip


def terms_of(dense: DenseOutputs, batch: Batch) -> dict[str, float]:
    torch.manual_seed(0)
    loss = LiveLoss(config=LossConfig(), num_identities=4, class_weights=torch.ones(NUM_PARTS))
    return {name: float(value.detach()) for name, value in loss(dense, batch).items()}


def test_every_term_is_there_and_finite() -> None:
    terms = terms_of(outputs(), one_person_batch())
    assert set(terms) == {
        "score", "parts", "parts_dice", "teacher", "box", "center", "mask", "rivals",
        "identity", "triplet",
    }  # fmt: skip
    assert all(math.isfinite(value) for value in terms.values())


def test_an_image_without_people_has_no_terms_of_people() -> None:
    batch = one_person_batch()
    nobody = People(torch.zeros(0, 4), torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64),
                    torch.zeros(0, dtype=torch.int64))  # fmt: skip
    nothing = batch.parts_BHW * 0
    empty = Batch(batch.images_BHWC, nothing, nothing, (nobody,), nothing)
    assert set(terms_of(outputs(), empty)) == {"score", "parts", "parts_dice", "teacher"}


def test_what_lies_in_void_changes_no_term() -> None:
    batch, dense = one_person_batch(), outputs()
    locations, _ = all_locations(SIZE, SIZE)
    in_void = locations[:, 0] > 56
    person, parts = dense.person_logits.clone(), dense.part_logits.clone()
    person[:, in_void] += 7
    parts[..., 14:] += torch.randn(1, NUM_PARTS, 16, 2) * 5
    changed = dense._replace(person_logits=person, part_logits=parts)
    assert terms_of(changed, batch) == terms_of(dense, batch)
    person[:, ~in_void] += 7
    assert terms_of(dense._replace(person_logits=person), batch)["score"] != terms_of(dense, batch)["score"]


def test_right_answers_cost_next_to_nothing() -> None:
    batch, dense = one_person_batch(), outputs()
    truth = cell_labels(batch, CPU).parts_Bhw.long()
    right = torch.nn.functional.one_hot(truth.clamp(max=19), NUM_PARTS).permute(0, 3, 1, 2) * 40.0
    locations, _ = all_locations(SIZE, SIZE)
    x, y = locations[:, 0], locations[:, 1]
    sides = torch.stack([x - 16, y - 16, 48 - x, 56 - y], dim=1)[None]
    terms = terms_of(dense._replace(part_logits=right, distances=sides), batch)
    assert terms["parts"] < 1e-6
    assert terms["parts_dice"] < 1e-6
    assert terms["box"] < 1e-5


def test_the_parsing_loss_is_the_mean_over_the_hardest_pixels() -> None:
    batch, dense = one_person_batch(), outputs()
    truth = cell_labels(batch, CPU).parts_Bhw[0].tolist()
    costs = []
    for row in range(16):
        for column in range(16):
            label = truth[row][column]
            shares = dense.part_logits[0, :, row, column].softmax(dim=0)
            costs.append(0.0 if label == VOID else -math.log(float(shares[label])))
    hardest = sorted(costs, reverse=True)[: int(256 * LossConfig().hard_share)]
    expected = LossConfig().parts * sum(hardest) / len(hardest)
    assert terms_of(dense, batch)["parts"] == pytest.approx(expected, rel=1e-4)


def test_labels_of_cells_lie_in_their_middle_in_the_mean() -> None:
    columns = torch.arange(SIZE, dtype=torch.uint8).expand(4, SIZE, SIZE)
    rows = columns.transpose(1, 2)
    labels = cell_labels(replace(one_person_batch(), parts_BHW=columns, instances_BHW=rows), CPU)
    middles = torch.arange(2, SIZE, 4) - 0.5  # pixel centers at whole numbers
    assert torch.equal(labels.parts_Bhw.float().mean(dim=(0, 1)), middles)
    assert torch.equal(labels.instances_Bhw.float().mean(dim=(0, 2)), middles)


def test_a_few_updates_on_one_batch_lower_the_loss_and_leave_no_weight_out(photos: PhotoCache) -> None:
    torch.manual_seed(0)
    batch = Batches(photos, BatchConfig(batch_size=2, sizes=((96, 96),)), seed=4).draw(0)
    assert all(len(people.boxes_N4) for people in batch.people)
    network = LiveNetwork()
    loss = LiveLoss(config=LossConfig(), num_identities=len(photos), class_weights=torch.ones(NUM_PARTS))
    optimiser = torch.optim.AdamW([*network.parameters(), *loss.parameters()], lr=1e-3)
    images = batch.images_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1
    totals = []
    for _ in range(12):
        total = torch.stack(list(loss(network(images), batch).values())).sum()
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        totals.append(float(total.detach()))
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == name.startswith(("backbone.trunk.", "joints.")), name
    assert totals[-1] < 0.8 * totals[0]


def test_a_mask_on_its_neighbour_costs_more_than_one_beside_everybody() -> None:
    batch = one_person_batch()
    instances = batch.instances_BHW.clone()
    instances[:, 16:56, 32:48] = 2  # the right half is somebody else, inside the first one's box
    both = replace(batch, instances_BHW=instances)
    alone, beside = terms_of(outputs(), batch), terms_of(outputs(), both)
    assert alone["rivals"] == 0
    assert beside["rivals"] > 0.1
    small = outputs()
    parameters = small.mask_parameters.clone()
    parameters[..., -1] = -50.0  # the last bias: no pixel anywhere is anybody's
    assert terms_of(small._replace(mask_parameters=parameters), both)["rivals"] == pytest.approx(0, abs=1e-6)
