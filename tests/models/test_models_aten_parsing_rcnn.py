"""Parsing R-CNN: anchors, targets by brute force, ROIAlign against loops, sizes of the heads."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from partstream_models.networks.complexity import multiply_adds, num_parameters
from partstream_models.networks.parsing_rcnn import (
    ParsingRCNN,
    ParsingRCNNConfig,
    People,
    RegionTargets,
    paste_masks,
    region_deltas,
    region_masks,
    sample_regions,
)
from partstream_models.networks.roi_align import roi_align
from partstream_models.networks.rpn import (
    RPNConfig,
    assign_anchors,
    decode_boxes,
    encode_boxes,
    iou,
    kept_by_nms,
    make_anchors,
    propose,
    sample_anchors,
)

SMALL = ParsingRCNNConfig(
    channels=8, box_channels=16, rpn=RPNConfig(scales=(16, 32), channels=8, num_proposals=20), num_regions=24
)


def random_boxes(count: int, *, side: int = 64, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, side * 0.6, (count, 2))
    return torch.from_numpy(
        np.concatenate([corner, corner + rng.uniform(6, side * 0.4, (count, 2))], 1)
    ).float()


def test_a_512_image_has_245760_anchors() -> None:
    anchors = make_anchors(128, 128, RPNConfig())
    assert len(anchors) == 245_760
    assert RPNConfig().num_anchors == 15


def test_anchors_lie_in_the_order_of_the_outputs() -> None:
    config = RPNConfig(scales=(8, 16), ratios=(0.5, 2.0))
    anchors = make_anchors(3, 5, config).reshape(3, 5, 4, 4)
    for row in range(3):
        for column in range(5):
            for number, (scale, ratio) in enumerate([(8, 0.5), (8, 2.0), (16, 0.5), (16, 2.0)]):
                x1, y1, x2, y2 = anchors[row, column, number].tolist()
                assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((column * 4 + 2, row * 4 + 2))
                assert (x2 - x1) * (y2 - y1) == pytest.approx(scale**2, rel=1e-5)
                assert (x2 - x1) / (y2 - y1) == pytest.approx(ratio, rel=1e-5)


def overlap(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.parametrize("seed", range(4))
def test_anchor_targets_agree_with_trying_every_pair(seed: int) -> None:
    config = RPNConfig(scales=(12, 24), stride=8, positive_iou=0.55)
    anchors, boxes = make_anchors(8, 8, config), random_boxes(5, seed=seed)
    table = [[overlap(a, b) for b in boxes.tolist()] for a in anchors.tolist()]
    best_of_person = [max(row[n] for row in table) for n in range(5)]
    targets = assign_anchors(anchors, boxes, config)
    for number, row in enumerate(table):
        is_best = any(row[n] == pytest.approx(best_of_person[n], abs=1e-6) for n in range(5))
        label = int(targets.label_A[number])
        if max(row) >= 0.55 + 1e-6:
            assert label == 1
        elif label == 1:
            assert is_best
        else:
            assert label == (0 if max(row) < 0.3 else -1)
        if label == 1:
            mine = row[int(targets.person_A[number])]
            best = best_of_person[int(targets.person_A[number])]
            assert mine == pytest.approx(max(row)) or mine == pytest.approx(best, abs=1e-6)


def test_without_people_every_anchor_is_background() -> None:
    targets = assign_anchors(make_anchors(2, 2, RPNConfig()), torch.zeros(0, 4), RPNConfig())
    assert (targets.label_A == 0).all()


def test_sampled_anchors_are_at_most_half_positive() -> None:
    label = torch.tensor([1] * 40 + [0] * 300 + [-1] * 60)
    chosen = sample_anchors(label, 64, torch.Generator().manual_seed(0))
    assert len(chosen) == 64
    assert (label[chosen] == 1).sum() == 32
    assert len(set(chosen.tolist())) == 64
    few = sample_anchors(torch.tensor([1] * 3 + [0] * 300), 64)
    assert len(few) == 64


def test_decoding_undoes_encoding() -> None:
    boxes, anchors = random_boxes(20), random_boxes(20, seed=7)
    assert torch.allclose(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes, atol=1e-3)


def test_overlaps_agree_with_one_pair_at_a_time() -> None:
    a, b = random_boxes(6), random_boxes(4, seed=3)
    expected = torch.tensor([[overlap(x, y) for y in b.tolist()] for x in a.tolist()])
    assert torch.allclose(iou(a, b), expected, atol=1e-5)


def test_proposals_are_inside_apart_and_best_first() -> None:
    torch.manual_seed(0)
    config = RPNConfig(scales=(8, 16), num_proposals=15)
    anchors = make_anchors(8, 8, config)
    logits, deltas = torch.randn(len(anchors), 2), torch.randn(len(anchors), 4)
    boxes = propose(logits, deltas, anchors, size=(32, 32), config=config)
    assert 0 < len(boxes) <= 15
    assert boxes.min() >= 0
    assert boxes.max() <= 32
    overlaps = iou(boxes, boxes).fill_diagonal_(0)
    assert overlaps.max() <= 0.7 + 1e-6


def nms_by_loops(boxes: list[list[float]], scores: list[float], limit: float, most: int) -> list[int]:
    """The best box left is kept, and all that overlap it too much go, until none is left."""
    left = sorted(range(len(boxes)), key=lambda number: -scores[number])
    kept: list[int] = []
    while left and len(kept) < most:
        best = left.pop(0)
        kept.append(best)
        left = [number for number in left if overlap(boxes[best], boxes[number]) <= limit]
    return kept


@pytest.mark.parametrize("limit", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("most", [4, 100])
def test_non_maximum_suppression_agrees_with_loops(limit: float, most: int) -> None:
    boxes = random_boxes(80, seed=11)
    scores = torch.rand(80, generator=torch.Generator().manual_seed(5))
    kept = kept_by_nms(boxes, scores, iou_threshold=limit, max_kept=most)
    assert kept.tolist() == nms_by_loops(boxes.tolist(), scores.tolist(), limit, most)
    assert len(kept_by_nms(boxes[:0], scores[:0], iou_threshold=limit, max_kept=most)) == 0


def align_by_loops(feature_CHW: Tensor, box: list[float], size: int, stride: int) -> Tensor:
    """ROIAlign with two samples a side and cell, one sample at a time."""
    channels, height, width = feature_CHW.shape
    out = torch.zeros(channels, size, size)
    x1, y1, x2, y2 = (value / stride for value in box)
    for row in range(size):
        for column in range(size):
            for point in range(4):
                y = y1 + (row + (0.25, 0.75)[point // 2]) * (y2 - y1) / size - 0.5
                x = x1 + (column + (0.25, 0.75)[point % 2]) * (x2 - x1) / size - 0.5
                y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                top, left = math.floor(y), math.floor(x)
                below, right = min(top + 1, height - 1), min(left + 1, width - 1)
                v, u = y - top, x - left
                out[:, row, column] += 0.25 * (
                    feature_CHW[:, top, left] * (1 - v) * (1 - u)
                    + feature_CHW[:, top, right] * (1 - v) * u
                    + feature_CHW[:, below, left] * v * (1 - u)
                    + feature_CHW[:, below, right] * v * u
                )
    return out


def test_roi_align_agrees_with_loops() -> None:
    feature = torch.randn(2, 3, 9, 7)
    boxes = torch.tensor([[0.0, 0, 28, 36], [3.3, 5.1, 17.9, 30.2], [20, 1, 28, 9], [10, 10, 11, 11]])
    index = torch.tensor([1, 0, 1, 0])
    expected = torch.stack(
        [align_by_loops(feature[i], box, 3, 4) for i, box in zip(index.tolist(), boxes.tolist(), strict=True)]
    )
    assert torch.allclose(roi_align(feature, boxes, index, size=3, stride=4), expected, atol=1e-5)


def test_roi_align_of_no_boxes_is_empty_and_gradients_reach_the_feature() -> None:
    feature = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    index = torch.zeros(1, dtype=torch.int64)
    empty = roi_align(feature, torch.zeros(0, 4).double(), index[:0], size=2, stride=4)
    assert empty.shape == (0, 2, 2, 2)
    box = torch.tensor([[3.0, 4, 19, 21]]).double()
    assert torch.autograd.gradcheck(lambda x: roi_align(x, box, index, size=2, stride=4), (feature,))


@pytest.mark.parametrize("seed", range(3))
def test_region_targets_agree_with_trying_every_pair(seed: int) -> None:
    boxes, proposals = random_boxes(3, seed=seed), random_boxes(60, seed=seed + 50)
    targets = sample_regions(proposals, boxes, SMALL, torch.Generator().manual_seed(seed))
    assert len(targets.boxes_R4) == SMALL.num_regions
    assert 3 <= (targets.person_R >= 0).sum() <= SMALL.num_regions // 3
    for box, person in zip(targets.boxes_R4.tolist(), targets.person_R.tolist(), strict=True):
        overlaps = [overlap(box, other) for other in boxes.tolist()]
        if person >= 0:
            assert overlaps[person] == pytest.approx(max(overlaps))
            assert overlaps[person] >= 0.5 - 1e-6
        else:
            assert max(overlaps) < 0.5 + 1e-6


def test_a_region_that_is_the_box_has_no_deltas_and_the_whole_mask() -> None:
    masks = torch.zeros(2, 64, 64)
    masks[0, 8:40, 8:24] = 1
    masks[1, 30:58, 20:48] = 1
    masks[1, 30:44] = 0
    boxes = torch.tensor([[8.0, 8, 24, 40], [20, 30, 48, 58]])
    targets = RegionTargets(boxes, torch.tensor([0, 1]))
    assert region_deltas(targets, boxes).abs().max() < 1e-5
    grids = region_masks(targets, masks)
    assert grids[0].all()
    assert not grids[1, :14].any()
    assert grids[1, 14:].all()


def test_pasting_a_region_s_mask_gives_the_mask_back() -> None:
    mask = torch.zeros(1, 64, 48)
    mask[0, 4:32, 10:38] = (torch.rand(28, 28) > 0.5).float()
    box = torch.tensor([[10.0, 4, 38, 32]])
    grids = region_masks(RegionTargets(box, torch.tensor([0])), mask)
    pasted = paste_masks(People(box, torch.ones(1), grids), 64, 48)
    # sampled at two points a cell, the grid is a slight blur of the pixels it was cut from
    assert ((pasted > 0.5) == (mask > 0.5)).float().mean() > 0.95
    assert pasted[0, :4].sum() == 0
    assert paste_masks(People(box[:0], torch.ones(0), grids[:0]), 5, 6).shape == (0, 5, 6)


def test_heads_have_the_published_sizes() -> None:
    with torch.device("meta"):
        network = ParsingRCNN()
        feature = torch.empty(1, 256, 128, 128)
    dense = (network.rpn, network.parsing, network.mask_head.tower)
    assert sum(num_parameters(module) for module in dense) == 3_724_950
    box = (network.box_head, network.classify, network.refine)
    assert sum(num_parameters(module) for module in box) == 13_905_930
    billions = multiply_adds(lambda: [module(feature) for module in dense]) / 1e9
    assert round(billions, 1) == 61.0
    with torch.device("meta"):
        logits, _ = network.rpn(feature)
    assert logits.shape == (1, 245_760, 2)


def test_detection_returns_people_inside_the_image() -> None:
    torch.manual_seed(0)
    config = ParsingRCNNConfig(channels=8, box_channels=16, rpn=SMALL.rpn, min_score=0.0)
    with torch.no_grad():
        found = ParsingRCNN(config).eval().detect(torch.randn(2, 8, 16, 12))
    assert len(found) == 2
    for people in found:
        assert 0 < len(people.boxes_R4) <= 20
        assert people.masks_RSS.shape == (len(people.boxes_R4), 28, 28)
        assert people.boxes_R4[:, [1, 3]].max() <= 64
        assert (people.scores_R.diff() <= 0).all()


def test_thresholds_that_cross_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        RPNConfig(positive_iou=0.2)
