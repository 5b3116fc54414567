"""DyeNet: its modules, the geometry of boxes and flow, propagation both ways, and what it learns from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from partstream_models.networks.complexity import num_parameters
from partstream_models.networks.dyenet import DYENET, DYENET_REDUCED, DyeNet, DyeNetConfig
from partstream_models.networks.dyenet_boxes import (
    box_of_mask,
    cell_middles,
    crop_masks,
    draw_mask,
    flow_image,
    normalised_patch,
    warp_mask,
    warp_state,
)
from partstream_models.networks.dyenet_propagation import propagate_tracklet
from partstream_models.networks.resnet import ResNet, ResNetConfig
from partstream_models.training.dyenet_recipes import follow_scores
from partstream_models.training.dyenet_task import (
    DyeNetDraw,
    DyeNetTask,
    dis_flow,
    draw_of_frames,
    embedding_loss,
    moved_box,
)

HEIGHT, WIDTH = 64, 96
SMALL = replace(DYENET_REDUCED, cells=8)


@pytest.fixture
def network() -> DyeNet:
    torch.manual_seed(3)
    return DyeNet(SMALL).eval()


def rectangle(top: int, left: int, height: int, width: int) -> Tensor:
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[top : top + height, left : left + width] = 1
    return mask


def still() -> Tensor:
    return torch.zeros(2, HEIGHT, WIDTH)


def moving_clip(num_frames: int = 4) -> DyeNetDraw:
    """A textured square that moves to the right by two pixels a frame before a still texture."""
    random = np.random.default_rng(1)
    ground = random.integers(0, 90, (HEIGHT, WIDTH, 3), np.uint8)
    square = random.integers(150, 255, (24, 24, 3), np.uint8)
    images, maps = [], []
    for frame in range(num_frames):
        image, people = ground.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        left = 20 + 2 * frame
        image[20:44, left : left + 24], people[20:44, left : left + 24] = square, 1
        images.append(image)
        maps.append(people)
    return draw_of_frames(images, maps, 1)


def test_the_published_network_has_the_parameters_of_its_parts() -> None:
    """ResNet-101's conv1 to conv4 and three copies of conv5 are 27.5 and 15.0 million each."""
    with torch.device("meta"):
        network = DyeNet(DYENET)
        resnet = ResNet(DYENET.trunk)
    conv5 = num_parameters(resnet.stages[3])
    assert num_parameters(network.trunk) == num_parameters(resnet) - conv5 == 27_535_424
    assert conv5 == 14_964_736
    fresh = {
        "mask": 2048 + 1,
        "project": 2048 * 256 + 256,
        "start": (2 * 1024 + 1) * 2048 + 2048,
        "join": (1024 + 2048) * 1024 + 1024,
        "attend": 2048 * 9 + 1,
        "output": 2048 * 9 * 256 + 256 + 256 * 9 * 256 + 256 + 256 + 1,
    }
    assert num_parameters(network) == 27_535_424 + 3 * conv5 + sum(fresh.values()) == 85_628_995


def test_features_are_at_stride_eight_and_regions_have_the_cells_of_the_configuration(
    network: DyeNet,
) -> None:
    feature = network.features(torch.rand(2, 3, HEIGHT, WIDTH))
    assert feature.shape == (2, SMALL.feature_channels, HEIGHT // 8, WIDTH // 8)
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0], [8.0, 8.0, 90.0, 60.0], [4.0, 0.0, 20.0, 64.0]])
    region = network.regions(feature, boxes, torch.tensor([0, 1, 1]))
    assert region.shape == (3, SMALL.feature_channels, 8, 8)
    found = network.identify(region)
    assert found.mask_logits_Rmm.shape == (3, 8, 8)
    torch.testing.assert_close(found.embeddings_RE.norm(dim=1), torch.ones(3))


def test_attention_sums_to_one_over_each_box_and_focuses_the_state(network: DyeNet) -> None:
    warped, region = torch.rand(3, SMALL.state_channels, 8, 8), torch.rand(3, SMALL.feature_channels, 8, 8)
    found = network.propagate(warped, region)
    torch.testing.assert_close(found.attention_Rmm.sum(dim=(1, 2)), torch.ones(3))
    attention = found.attention_Rmm.detach()
    assert attention.min() >= 0
    assert attention.std(dim=(1, 2)).min() > 0
    plain = DyeNet(replace(SMALL, attention=False)).eval()
    even = plain.propagate(warped, region).attention_Rmm
    torch.testing.assert_close(even, torch.full_like(even, 1 / 64))


def test_one_target_does_not_depend_on_those_beside_it(network: DyeNet) -> None:
    warped, region = torch.rand(3, SMALL.state_channels, 8, 8), torch.rand(3, SMALL.feature_channels, 8, 8)
    together = network.propagate(warped, region)
    for row in range(3):
        alone = network.propagate(warped[row : row + 1], region[row : row + 1])
        torch.testing.assert_close(
            together.mask_logits_Rmm[row], alone.mask_logits_Rmm[0], rtol=1e-4, atol=1e-5
        )


def test_a_state_stays_where_neither_box_nor_picture_moves() -> None:
    state, box = torch.rand(1, 5, 8, 8), torch.tensor([[16.0, 8.0, 48.0, 56.0]])
    torch.testing.assert_close(warp_state(state, box, box, still()), state)


@pytest.mark.parametrize(("cells_x", "cells_y"), [(2, 0), (0, -3), (1, 2)])
def test_a_state_moves_by_whole_cells_with_its_box(cells_x: int, cells_y: int) -> None:
    """A cell is 4 pixels here: where only the box moves, the state moves the other way inside it."""
    state, former = torch.rand(1, 5, 8, 8), torch.tensor([[32.0, 16.0, 64.0, 48.0]])
    current = former + 4 * torch.tensor([cells_x, cells_y, cells_x, cells_y])
    found = warp_state(state, former, current, still())
    expected = torch.zeros_like(state)
    rows = range(max(0, -cells_y), min(8, 8 - cells_y))
    columns = range(max(0, -cells_x), min(8, 8 - cells_x))
    for row in rows:
        for column in columns:
            expected[..., row, column] = state[..., row + cells_y, column + cells_x]
    inner = (slice(None), slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    torch.testing.assert_close(found[inner], expected[inner])


def test_a_state_that_follows_the_flow_is_unchanged_in_its_moved_box() -> None:
    state, former = torch.rand(1, 5, 8, 8), torch.tensor([[16.0, 8.0, 48.0, 56.0]])
    flow = still()
    flow[0], flow[1] = -8, -2
    current = former + torch.tensor([8.0, 2.0, 8.0, 2.0])
    torch.testing.assert_close(warp_state(state, former, current, flow), state, rtol=1e-4, atol=1e-4)


def test_a_mask_moves_against_the_flow_to_the_former_frame() -> None:
    flow = still()
    flow[0] = -5
    torch.testing.assert_close(warp_mask(rectangle(10, 20, 20, 30), flow), rectangle(10, 25, 20, 30))


def test_the_box_of_a_mask_has_a_margin_and_stays_inside_the_picture() -> None:
    assert box_of_mask(torch.zeros(HEIGHT, WIDTH)) is None
    box = box_of_mask(rectangle(20, 30, 10, 40), margin=0.1)
    assert box is not None
    assert box.tolist() == pytest.approx([26, 19, 74, 31])
    corner = box_of_mask(rectangle(0, 0, 4, 4), margin=0.5)
    assert corner is not None
    assert corner.tolist() == pytest.approx([0, 0, 10, 10])


def test_middles_of_cells_divide_a_box_evenly() -> None:
    middles = cell_middles(torch.tensor([[10.0, 20.0, 18.0, 28.0]]), 4)
    assert middles[0, 0, :, 0].tolist() == [11, 13, 15, 17]
    assert middles[0, :, 0, 1].tolist() == [21, 23, 25, 27]


def test_a_mask_survives_being_cropped_to_a_box_and_drawn_again() -> None:
    mask, box = rectangle(16, 24, 32, 40), torch.tensor([[8.0, 8.0, 80.0, 56.0]])
    cells = crop_masks(mask[None], box, 28)
    drawn = draw_mask(cells[0], box[0], (HEIGHT, WIDTH)) > 0.5
    union = (drawn | (mask > 0)).sum()
    assert float((drawn & (mask > 0)).sum() / union) > 0.95
    assert not drawn[:, :8].any()


def test_a_normalised_patch_shows_the_square_around_a_box() -> None:
    columns = torch.arange(WIDTH, dtype=torch.float32).expand(1, 1, HEIGHT, WIDTH)
    patch = normalised_patch(columns, torch.tensor([40.0, 20.0, 56.0, 28.0]), side=16)
    assert patch.shape == (1, 1, 16, 16)
    torch.testing.assert_close(patch[0, 0, 0], torch.arange(40, 56, dtype=torch.float32))


def test_a_second_stream_needs_flow_and_a_single_one_takes_none(network: DyeNet) -> None:
    double = DyeNet(replace(SMALL, two_streams=True)).eval()
    image, flow = torch.rand(1, 3, HEIGHT, WIDTH), torch.rand(1, 2, HEIGHT, WIDTH)
    assert double.features(image, flow_image(flow)).shape == network.features(image).shape
    with pytest.raises(ValueError, match="two streams: flow missing"):
        double.features(image)
    with pytest.raises(ValueError, match="one stream: flow given"):
        network.features(image, flow_image(flow))


def test_weights_of_a_resnet_become_the_trunk_and_all_copies_of_conv5(network: DyeNet) -> None:
    resnet = ResNet(SMALL.trunk)
    network.start_from(resnet)
    given = resnet.state_dict()
    ours = network.state_dict()
    assert torch.equal(ours["trunk.stages.2.1.conv2.weight"], given["stages.2.1.conv2.weight"])
    for stage in ("identify.mask.0", "identify.appearance", "propagate.recurrent"):
        assert torch.equal(ours[f"{stage}.0.conv1.weight"], given["stages.3.0.conv1.weight"])
    with pytest.raises(ValueError, match="the weights are of"):
        network.start_from(ResNet(ResNetConfig(blocks=(1, 1, 1, 1), width=8)))


def test_the_feature_of_an_unstrided_res4_has_twice_the_resolution_of_a_resnets() -> None:
    resnet = ResNet(SMALL.trunk)
    assert resnet(torch.zeros(1, 3, HEIGHT, WIDTH)).last.shape[-1] * 2 == WIDTH // 8


@pytest.mark.parametrize(
    ("change", "said"),
    [({"cells": 7}, "must be even"), ({"output_channels": 0}, "channels must be positive")],
)
def test_configurations_that_cannot_be_are_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DyeNetConfig(**change)  # type: ignore[arg-type]


def test_a_tracklet_reaches_both_ways_from_its_starting_point(network: DyeNet) -> None:
    last = dict(network.named_parameters())["propagate.output.4.bias"]
    torch.nn.init.constant_(last, 5.0)  # every cell of a box is the target
    asked: list[tuple[int, int]] = []

    def flow(current: int, former: int) -> Tensor:
        asked.append((current, former))
        return still()

    found = propagate_tracklet(
        network,
        lambda _: torch.rand(1, SMALL.feature_channels, HEIGHT // 8, WIDTH // 8) * 0.01,
        flow,
        frame=2,
        mask_HW=rectangle(20, 30, 20, 30),
        num_frames=5,
    )
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert asked == [(3, 2), (4, 3), (1, 2), (0, 1)]
    assert torch.equal(found[2].mask_HW, rectangle(20, 30, 20, 30))
    assert found[2].score == 1
    assert 0.5 < found[4].score <= 1


def test_a_tracklet_ends_where_the_target_leaves_the_picture(network: DyeNet) -> None:
    away = still()
    away[0] = -200
    feature = torch.rand(1, SMALL.feature_channels, HEIGHT // 8, WIDTH // 8)
    found = propagate_tracklet(
        network, lambda _: feature, lambda *_: away, frame=0, mask_HW=rectangle(20, 30, 20, 30), num_frames=4
    )
    assert list(found) == [0]


def test_an_empty_starting_point_and_a_frame_outside_the_clip_are_refused(network: DyeNet) -> None:
    feature = torch.rand(1, SMALL.feature_channels, HEIGHT // 8, WIDTH // 8)
    for frame, mask, said in (
        (0, rectangle(0, 0, 0, 0), "is empty"),
        (3, rectangle(0, 0, 9, 9), "no frame 3"),
    ):
        with pytest.raises(ValueError, match=said):
            propagate_tracklet(
                network, lambda _: feature, lambda *_: still(), frame=frame, mask_HW=mask, num_frames=3
            )


def test_the_embedding_loss_is_the_mean_over_boxes_that_occur_again() -> None:
    torch.manual_seed(1)
    embeddings = torch.nn.functional.normalize(torch.randn(6, 5), dim=1)
    people = [1, 2, 1, 3, 2, 1]
    expected = []
    for row, person in enumerate(people):
        others = [other for other in range(6) if other != row]
        weights = {other: float((embeddings[row] @ embeddings[other] / 0.1).exp()) for other in others}
        right = sum(weight for other, weight in weights.items() if people[other] == person)
        if right:
            expected.append(-np.log(right / sum(weights.values())))
    found = embedding_loss(embeddings, torch.tensor(people))
    assert float(found) == pytest.approx(float(np.mean(expected)), rel=1e-4)
    assert len(expected) == 5
    assert float(embedding_loss(embeddings[:2], torch.tensor([1, 2]))) == 0


def test_flow_between_frames_leads_to_where_the_former_frame_shows_the_same() -> None:
    draw = moving_clip()
    on_the_square = draw.flows[1][:, 24:40, 28:40].mean(dim=(1, 2))
    assert on_the_square.tolist() == pytest.approx([-2, 0], abs=0.7)
    assert not draw.flows[0].any()
    image = ((draw.images[0] + 1) * 127.5).permute(1, 2, 0).byte().numpy()
    assert float(dis_flow(image, image).abs().max()) < 0.1


def test_moved_boxes_stay_inside_the_picture_and_keep_a_size() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        box = moved_box(torch.tensor([0.0, 0.0, 96.0, 64.0]), rng, (HEIGHT, WIDTH), scale=0.5)
        assert 0 <= box[0] < box[2] <= WIDTH
        assert 0 <= box[1] < box[3] <= HEIGHT


class OneDraw:
    """A source of one and the same draw."""

    def __init__(self, draw: DyeNetDraw) -> None:
        self._draw = draw

    def draw(self, number: int) -> DyeNetDraw:  # noqa: ARG002 - always the same
        return self._draw


def test_both_modules_learn_from_a_draw_and_every_parameter_has_a_gradient(network: DyeNet) -> None:
    task = DyeNetTask(network, OneDraw(moving_clip()))
    terms = task.losses(0)
    assert set(terms) == {"mask", "propagate", "identity"}
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_a_draw_without_people_has_no_loss_and_breaks_nothing(network: DyeNet) -> None:
    clip = moving_clip()
    empty = DyeNetDraw(clip.images, clip.flows, torch.zeros_like(clip.instances), 0)
    terms = DyeNetTask(network, OneDraw(empty)).losses(0)
    assert {name: float(value.detach()) for name, value in terms.items()} == {"mask": 0.0}


@pytest.mark.slow
def test_a_narrow_network_learns_to_follow_a_square() -> None:
    torch.manual_seed(5)
    network, clip = DyeNet(replace(SMALL, cells=14)), moving_clip()
    task = DyeNetTask(network, OneDraw(clip))
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 3e-3)
    for step in range(60):
        optimiser.zero_grad()
        torch.stack(list(task.losses(step).values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    scores = follow_scores(network, [clip])
    assert scores["j"] > 0.85
    assert scores["g"] == pytest.approx((scores["j"] + scores["f"]) / 2)
