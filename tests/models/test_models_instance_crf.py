"""Instance CRF: against a dense oracle, its gradients, any number and order of people, the matched loss."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from partstream_core.labels import VOID
from partstream_models.networks.instance_crf import (
    EPSILON,
    CrfConfig,
    InstanceCrf,
    Kernels,
    decode,
    label_of,
    pass_messages,
)
from partstream_models.training.instance_crf_loss import matched_loss, matched_truth

PARTS = 3
Array = npt.NDArray[np.float64]


def scene(height: int, width: int, people: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random parsing, boxes, scores and a smooth picture, float64."""
    random = np.random.default_rng(seed)
    parts = torch.tensor(random.standard_normal((1 + PARTS, height, width)) * 2).softmax(dim=0)
    corners = random.uniform(0, 1, (people, 2, 2)) * (width, height)
    boxes = torch.tensor(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).reshape(-1, 4))
    scores = torch.tensor(random.uniform(0.3, 1, people))
    image = torch.tensor(random.uniform(90, 130, (3, height, width)))
    return parts, boxes, scores, image


def oracle(crf: InstanceCrf, parts: Array, boxes: Array, scores: Array, image: Array) -> Array:
    """Mean field with the dense kernel, all pairs of pixels, in NumPy."""
    config = crf.config
    box, global_ = crf.unary_weights.detach().numpy()
    bilateral, spatial = crf.pairwise_weights.detach().numpy()
    _, height, width = parts.shape
    rows, columns = (grid.ravel() for grid in np.mgrid[:height, :width])
    potentials = [global_ * parts[0].ravel()]
    for (left, top, right, bottom), score in zip(boxes, scores, strict=True):
        x, y = columns + 0.5, rows + 0.5
        inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        potentials += [(box * score * inside + global_) * part.ravel() for part in parts[1:]]
    unary = np.log(np.stack(potentials) + EPSILON)
    far = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    colours = image.reshape(3, -1)
    unlike = ((colours[:, :, None] - colours[:, None, :]) ** 2).sum(axis=0)
    kernel = bilateral * np.exp(-far / (2 * config.theta_alpha**2) - unlike / (2 * config.theta_beta**2))
    kernel += spatial * np.exp(-far / (2 * config.theta_gamma**2))
    np.fill_diagonal(kernel, 0)

    def softmax(energies: Array) -> Array:
        powers = np.exp(energies - energies.max(axis=0))
        normal: Array = powers / powers.sum(axis=0)
        return normal

    q = softmax(unary)
    different = 1 - np.eye(len(unary))
    for _ in range(config.num_iterations):
        q = softmax(unary - different @ (q @ kernel))
    return q.reshape(-1, height, width)


def solved(crf: InstanceCrf, *inputs: Tensor) -> Array:
    found: Array = crf(*inputs).exp().detach().numpy()
    return found


def dense(height: int, width: int, **options: Any) -> InstanceCrf:
    """A CRF whose window holds the whole picture."""
    return InstanceCrf(CrfConfig(radius=max(height, width), **options)).double()


@pytest.mark.parametrize(("height", "width", "people"), [(7, 9, 2), (12, 5, 3), (1, 1, 1), (6, 6, 0)])
def test_the_window_that_holds_the_picture_gives_the_dense_answer(
    height: int, width: int, people: int
) -> None:
    inputs = scene(height, width, people)
    crf = dense(height, width)
    expected = oracle(crf, *(one.numpy() for one in inputs))
    np.testing.assert_allclose(solved(crf, *inputs), expected, atol=1e-5)


@pytest.mark.parametrize(("radius", "error"), [(8, 6e-5), (6, 3.3e-3)])
def test_messages_of_a_window_are_nearly_the_dense_ones(radius: int, error: float) -> None:
    """On a flat picture whose pixels all say the same: nothing outweighs what lies beyond the window."""
    ones, image = torch.ones(1, 41, 41).double(), torch.full((3, 41, 41), 100.0).double()
    whole, window = (pass_messages(ones, Kernels.of(image, CrfConfig(radius=one))) for one in (40, radius))
    for one, other in zip(whole, window, strict=True):
        assert 0 < float((one - other)[0, 20, 20] / one[0, 20, 20]) <= error


@pytest.mark.parametrize("name", ["parts", "unary_weights", "pairwise_weights"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    parts, boxes, scores, image = scene(4, 5, 2)
    crf = dense(4, 5, num_iterations=2, bilateral=0.5, spatial=0.25)
    direction = torch.tensor(np.random.default_rng(3).standard_normal((1 + 2 * PARTS, 4, 5)))

    def value(given: Tensor) -> Tensor:
        seen = given if name == "parts" else parts
        changed = {key: tensor.detach() for key, tensor in crf.named_parameters()}
        changed |= {} if name == "parts" else {name: given}
        found: Tensor = torch.func.functional_call(crf, changed, (seen, boxes, scores, image))
        return (found * direction).sum()

    start = parts if name == "parts" else dict(crf.named_parameters())[name].detach()
    assert torch.autograd.gradcheck(value, (start.clone().requires_grad_(),), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("people", [2, 5, 30])
def test_the_order_of_people_does_not_matter(people: int) -> None:
    parts, boxes, scores, image = scene(10, 12, people)
    order = torch.tensor(np.random.default_rng(1).permutation(people))
    crf = InstanceCrf().double()
    one = crf(parts, boxes, scores, image)
    other = crf(parts, boxes[order], scores[order], image)
    height, width = one.shape[1:]
    in_order = one[1:].reshape(people, PARTS, height, width)[order].reshape(-1, height, width)
    torch.testing.assert_close(other[1:], in_order)
    torch.testing.assert_close(other[0], one[0])


def test_nobody_is_found_without_detections_and_one_pixel_is_a_picture() -> None:
    crf = InstanceCrf().double()
    found = crf(*scene(8, 8, 0))
    assert found.shape == (1, 8, 8)
    assert not decode(found, PARTS).people_HW.any()
    torch.testing.assert_close(crf(*scene(1, 1, 4)).exp().sum(), torch.tensor(1.0, dtype=torch.float64))


def test_pixels_outside_of_a_box_go_to_the_person_that_they_look_like() -> None:
    """The global term and the pairwise term mend a box that is too small (section 3.2.2)."""
    height, width = 24, 30
    parts = torch.full((1 + PARTS, height, width), 0.01, dtype=torch.float64)
    parts[0], image = 0.97, torch.full((3, height, width), 60.0, dtype=torch.float64)
    for columns, colour in ((slice(3, 11), 150.0), (slice(18, 26), 220.0)):
        parts[:, 4:20, columns], parts[1, 4:20, columns] = 0.01, 0.97
        image[:, 4:20, columns] = colour
    boxes = torch.tensor([[3.0, 4.0, 11.0, 14.0], [18.0, 4.0, 26.0, 20.0]], dtype=torch.float64)
    scores = torch.tensor([0.9, 0.9], dtype=torch.float64)
    found = decode(InstanceCrf().double()(parts, boxes, scores, image), PARTS)
    assert (found.people_HW[4:20, 3:11] == 1).all(), "also below the box"
    assert (found.people_HW[4:20, 18:26] == 2).all()
    assert (found.parts_HW[4:20, 3:11] == 1).all()
    assert not found.people_HW[:, 12:17].any()


def test_what_does_not_go_together_is_refused() -> None:
    parts, boxes, scores, image = scene(6, 6, 2)
    crf = InstanceCrf().double()
    with pytest.raises(ValueError, match="of one size"):
        crf(parts, boxes, scores[:1], image)
    with pytest.raises(ValueError, match="of one size"):
        crf(parts, boxes, scores, image[:, :5])
    for options in ({"radius": 0}, {"num_iterations": 0}, {"theta_beta": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            CrfConfig(**options)


def certain(people: npt.NDArray[np.int64], parts: npt.NDArray[np.int64], num_people: int) -> Tensor:
    """Log probabilities of an answer that is sure of itself."""
    labels = np.where(people > 0, 1 + (people - 1) * PARTS + parts - 1, 0)
    logits = torch.full((1 + num_people * PARTS, *people.shape), -6.0)
    logits.scatter_(0, torch.tensor(labels)[None], 6.0)
    return logits.log_softmax(dim=0)


def two_people() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    people, parts = np.zeros((10, 12), np.int64), np.zeros((10, 12), np.int64)
    people[1:8, 1:5], parts[1:4, 1:5], parts[4:8, 1:5] = 1, 1, 2
    people[2:9, 7:11], parts[2:5, 7:11], parts[5:9, 7:11] = 2, 1, 3
    return people, parts


def test_the_loss_does_not_depend_on_how_people_are_numbered() -> None:
    people, parts = two_people()
    truth = torch.tensor(people), torch.tensor(parts)
    swapped = np.where(people > 0, 3 - people, 0)
    losses = [float(matched_loss(certain(one, parts, 2), *truth, PARTS)) for one in (people, swapped)]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert losses[0] < 0.01
    wrong = matched_loss(certain(people, np.where(parts > 0, 4 - parts, 0), 2), *truth, PARTS)
    assert float(wrong) > 1


def test_people_for_whom_no_detection_is_left_and_unknown_pixels_do_not_count() -> None:
    people, parts = two_people()
    parts[0, 0] = VOID
    only_one = np.where(people == 2, 1, 0)
    truth = torch.tensor(people), torch.tensor(parts)
    matched = matched_truth(certain(only_one, parts % VOID, 1), *truth, PARTS)
    assert (matched[torch.tensor(people) == 1] == -1).all()
    assert matched[0, 0] == -1
    assert matched[3, 8] == label_of(1, 1, PARTS)
    assert matched[9, 0] == 0
    nobody = matched_loss(certain(people * 0, parts * 0, 0), *truth, PARTS)
    assert torch.isfinite(nobody)


def test_only_the_hardest_pixels_count() -> None:
    people, parts = two_people()
    answer = certain(people, parts, 2)
    answer[:, 5, 5] = torch.full((1 + 2 * PARTS,), 1 / 7).log()
    truth = torch.tensor(people), torch.tensor(parts)
    hardest = matched_loss(answer, *truth, PARTS, hardest=1)
    assert float(hardest) == pytest.approx(np.log(7), rel=1e-3)
    assert float(matched_loss(answer, *truth, PARTS, hardest=10**6)) < 0.1
