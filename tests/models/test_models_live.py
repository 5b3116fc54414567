"""The live network's outputs, and the choice of the best detections."""

import pytest
import torch
from torch import Tensor

from partstream_core.labels import NUM_PARTS
from partstream_models.networks.condinst import mask_logits
from partstream_models.networks.fcos import all_locations
from partstream_models.networks.live import DenseOutputs, LiveNetwork, select
from partstream_models.networks.movenet import MoveNet

HEIGHT, WIDTH = 64, 96
NUM_LOCATIONS = 8 * 12 + 4 * 6 + 2 * 3


@pytest.fixture(scope="module")
def network() -> LiveNetwork:
    torch.manual_seed(0)
    return LiveNetwork().eval()


def picture(batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_dense_outputs_have_the_shapes_of_the_bundle(network: LiveNetwork) -> None:
    with torch.no_grad():
        assert network.backbone(picture()).shape == (2, 96, 8, 12)
        dense = network(picture())
    assert [tuple(output.shape) for output in dense] == [
        (2, NUM_LOCATIONS), (2, NUM_LOCATIONS, 4), (2, NUM_LOCATIONS), (2, NUM_LOCATIONS, 169),
        (2, 64, 8, 12), (2, 8, 16, 24), (2, NUM_PARTS, 16, 24),
    ]  # fmt: skip
    assert (dense.distances > 0).all()


def test_joint_maps_are_those_of_movenet(network: LiveNetwork) -> None:
    movenet = MoveNet().eval()
    movenet.trunk.load_state_dict(network.backbone.trunk.state_dict())
    assert network.joints is not None
    movenet.joints.load_state_dict(network.joints.state_dict())
    with torch.no_grad():
        feature, joints = network.feature_and_joints(picture())
        expected, _, _ = movenet(picture())
        torch.testing.assert_close(joints, expected)
        torch.testing.assert_close(feature, network.backbone(picture()))


def test_trunk_and_joint_heads_do_not_learn() -> None:
    learning = {name for name, parameter in LiveNetwork().named_parameters() if parameter.requires_grad}
    assert not any(name.startswith(("backbone.trunk.", "joints.")) for name in learning)
    assert sum(name.startswith("heads.") for name in learning) > 50


def test_features_computed_before_give_the_same_outputs(network: LiveNetwork) -> None:
    with torch.no_grad():
        features = network.backbone.trunk(picture())
        torch.testing.assert_close(network(picture(), features), network(picture()))


def test_a_fresh_network_sees_people_hardly_anywhere(network: LiveNetwork) -> None:
    with torch.no_grad():
        scores = network(picture()).person_logits.sigmoid()
    assert scores.mean() < 0.05  # the focal loss starts there


def test_one_image_has_the_same_outputs_alone_and_in_a_batch(network: LiveNetwork) -> None:
    with torch.no_grad():
        together, alone = network(picture()), network(picture()[1:])
    for whole, single in zip(together, alone, strict=True):
        assert torch.allclose(whole[1:], single, atol=1e-4)


def test_the_parts_need_the_image_itself_beside_the_feature(network: LiveNetwork) -> None:
    with torch.no_grad():
        feature = network.backbone(picture())
        plain = network.heads(feature, picture())
        other = network.heads(feature, picture().flip(-1))
    assert not torch.allclose(plain.part_logits, other.part_logits)
    assert torch.equal(plain.person_logits, other.person_logits)


def random_dense(*, batch: int = 2) -> DenseOutputs:
    generator = torch.Generator().manual_seed(5)

    def random(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, generator=generator)

    return DenseOutputs(
        random(NUM_LOCATIONS), random(NUM_LOCATIONS, 4).exp() * 20, random(NUM_LOCATIONS),
        random(NUM_LOCATIONS, 169), random(64, 8, 12) * 3, random(8, 16, 24),
        random(NUM_PARTS, 16, 24),
    )  # fmt: skip


def rows_by_hand(dense: DenseOutputs, image: int, top_k: int) -> list[tuple[float, int]]:
    """Score and location of the best, by sorting."""
    scored = []
    for place in range(NUM_LOCATIONS):
        person = torch.sigmoid(dense.person_logits[image, place])
        center = torch.sigmoid(dense.centerness_logits[image, place])
        scored.append((float((person * center) ** 0.5), place))
    return sorted(scored, reverse=True)[:top_k]


def test_the_best_come_first_with_all_that_belongs_to_them() -> None:
    dense = random_dense()
    chosen = select(dense, picture(), top_k=10)
    locations, _ = all_locations(HEIGHT, WIDTH)
    assert chosen.boxes.shape == (2, 10, 4)
    for image in range(2):
        for row, (score, place) in enumerate(rows_by_hand(dense, image, 10)):
            x, y, _ = locations[place].tolist()
            left, top, right, bottom = dense.distances[image, place].tolist()
            assert chosen.scores[image, row].item() == pytest.approx(score, rel=1e-5)
            assert chosen.boxes[image, row].tolist() == pytest.approx(
                [x - left, y - top, x + right, y + bottom]
            )
            assert torch.equal(chosen.locations[image, row], locations[place])
            assert torch.equal(chosen.mask_parameters[image, row], dense.mask_parameters[image, place])


def test_maps_pass_through_and_parts_become_probabilities() -> None:
    dense = random_dense()
    chosen = select(dense, picture(), top_k=3)
    assert torch.equal(chosen.mask_features, dense.mask_features)
    assert torch.equal(chosen.identity_map, dense.identity_map)
    assert torch.allclose(chosen.part_probabilities.sum(dim=1), torch.ones(2, 16, 24))
    assert torch.equal(chosen.part_probabilities.argmax(dim=1), dense.part_logits.argmax(dim=1))


def test_where_there_are_fewer_locations_than_rows_the_rest_is_padding() -> None:
    top_k = NUM_LOCATIONS + 5
    chosen = select(random_dense(), picture(), top_k=top_k)
    assert chosen.scores.shape == (2, top_k)
    assert (chosen.scores[:, :NUM_LOCATIONS] > 0).all()
    assert (chosen.scores[:, :-1] >= chosen.scores[:, 1:]).all()
    for padded in (chosen.boxes, chosen.scores, chosen.mask_parameters):
        assert (padded[:, NUM_LOCATIONS:] == 0).all()
    assert (chosen.locations > 0).all()  # masks divide by the range


def test_padding_rows_have_finite_masks() -> None:
    chosen = select(random_dense(batch=1), picture(1), top_k=NUM_LOCATIONS + 2)
    rows = slice(NUM_LOCATIONS - 1, None)
    image = torch.zeros(3, dtype=torch.int64)
    masks = mask_logits(
        chosen.mask_features,
        chosen.mask_parameters[0, rows],
        chosen.locations[0, rows],
        image,
        stride=4,
        doubled=False,
    )
    assert torch.isfinite(masks).all()
