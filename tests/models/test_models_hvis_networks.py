"""HVISNet's networks: published sizes, and every piece against an independent computation."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.networks.blendmask import (
    ATTENTION_CELLS,
    NUM_ATTENTION,
    NUM_BASES,
    blend,
    blended_logits,
)
from partstream_models.networks.complexity import multiply_adds, num_parameters
from partstream_models.networks.dla import DLA, DLAConfig
from partstream_models.networks.fcos_head import FCOSHead
from partstream_models.networks.fpn import FPN
from partstream_models.networks.hvisnet import (
    HVIS_LEVELS,
    HVISNET,
    HVISNET_REDUCED,
    HVISNet,
    HVISNetConfig,
    Masks,
)
from partstream_models.networks.parsing_rcnn import People, paste_masks
from partstream_models.networks.pretrained import load_dla
from partstream_models.networks.pyramid_features import PyramidFeatures
from partstream_models.networks.roi_align import roi_align
from partstream_models.networks.roi_matrices import gather_regions, spread_regions
from partstream_models.training.hvis_recipes import HVIS_RECIPES
from partstream_models.training.paper import PaperOptions
from partstream_models.training.paper_recipes import PAPER_RECIPES


def image() -> Tensor:
    return torch.empty(1, 3, 512, 512, device="meta")


def test_the_trunk_has_the_published_size() -> None:
    with torch.device("meta"):
        trunk = DLA()
        shapes = [tuple(tap.shape) for tap in trunk(image())]
    assert num_parameters(trunk) == 15_229_104
    assert shapes == [(1, 128, 64, 64), (1, 256, 32, 32), (1, 512, 16, 16)]


def test_the_network_has_the_published_size() -> None:
    with torch.device("meta"):
        network = HVISNet(HVISNET)
    assert num_parameters(network) == 26_432_202
    assert round(multiply_adds(lambda: network(image())) / 1e9, 1) == 66.7


def test_every_weight_of_the_trunk_is_used() -> None:
    trunk = DLA(DLAConfig(widths=(2, 3, 4, 5, 6, 7)))
    torch.autograd.backward(
        torch.stack([tap.square().mean() for tap in trunk(torch.randn(2, 3, 64, 64))]).sum()
    )
    assert all(parameter.grad is not None for parameter in trunk.parameters())


def test_a_stage_is_what_its_tree_says_when_it_is_written_out() -> None:
    torch.manual_seed(0)
    trunk = DLA(DLAConfig(widths=(2, 3, 4, 5, 6, 7))).eval()
    x = torch.randn(1, 4, 16, 16)
    stage = trunk.stage8
    low = F.max_pool2d(x, 2)
    one, two = stage.first, stage.second
    a = (one.first.second(one.first.first(x)) + one.project(low)).relu()
    b = (one.second.second(one.second.first(a)) + a).relu()
    left = one.root(torch.cat([b, a], dim=1))
    c = (two.first.second(two.first.first(left)) + left).relu()
    d = (two.second.second(two.second.first(c)) + c).relu()
    assert torch.allclose(stage(x), two.root(torch.cat([d, c, low, left], dim=1)), atol=1e-6)


def test_widths_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="widths"):
        DLAConfig(widths=(0, 1, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="groups"):
        HVISNetConfig(channels=48)
    with pytest.raises(ValueError, match="strides 8, 16 and 32"):
        HVISNetConfig(levels=HVIS_LEVELS[:2])


def test_each_level_of_the_pyramid_adds_what_the_coarser_ones_know() -> None:
    torch.manual_seed(0)
    pyramid = FPN((2, 3, 4), 5)
    taps = [torch.randn(1, 2, 8, 12), torch.randn(1, 3, 4, 6), torch.randn(1, 4, 2, 3)]
    inner = [lateral(tap) for lateral, tap in zip(pyramid.laterals, taps, strict=True)]
    for row in range(8):
        for column in range(12):
            inner[0][0, :, row, column] += (
                inner[1][0, :, row // 2, column // 2] + inner[2][0, :, row // 4, column // 4]
            )
    for row in range(4):
        for column in range(6):
            inner[1][0, :, row, column] += inner[2][0, :, row // 2, column // 2]
    expected = [output(level) for output, level in zip(pyramid.outputs, inner, strict=True)]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(pyramid(taps), expected, strict=True))


def test_the_head_lists_locations_level_by_level_and_row_by_row() -> None:
    torch.manual_seed(0)
    head = FCOSHead(channels=8, num_convs=1, num_groups=2, levels=HVIS_LEVELS)
    features = [torch.randn(2, 8, 8, 12), torch.randn(2, 8, 4, 6), torch.randn(2, 8, 2, 3)]
    outputs = head(features)
    assert outputs.distances.shape == (2, 96 + 24 + 6, 4)
    box = head.box_tower(features[1])
    raw = head.distances(box)[1, :, 2, 5].exp() * 16
    place = 96 + 2 * 6 + 5
    assert torch.allclose(outputs.distances[1, place], raw, atol=1e-4)
    assert torch.allclose(outputs.centerness_logits[1, place], head.centerness(box)[1, 0, 2, 5], atol=1e-6)
    person = head.person(head.score_tower(features[2]))
    assert torch.allclose(outputs.person_logits[0, -1], person[0, 0, 1, 2], atol=1e-6)
    assert (outputs.person_logits.sigmoid() < 0.05).all()  # focal loss starts at about one per cent


@pytest.mark.parametrize("doubled", [False, True])
def test_the_bottom_module_adds_up_all_levels_at_the_finest_size(doubled: bool) -> None:
    torch.manual_seed(0)
    module = PyramidFeatures(
        in_channels=3, channels=4, out_channels=2, num_levels=3, num_convs=1, doubled=doubled
    ).eval()
    levels = [torch.randn(1, 3, 8, 12), torch.randn(1, 3, 4, 6), torch.randn(1, 3, 2, 3)]
    refined = [refine(level) for refine, level in zip(module.refine, levels, strict=True)]
    x = sum(F.interpolate(level, size=(8, 12), mode="bilinear") for level in refined)
    x = module.tower(x)
    if doubled:
        assert module.doubled is not None
        x = module.doubled(F.interpolate(x, size=(16, 24), mode="bilinear"))
    assert torch.allclose(module(levels), module.out(x), atol=1e-5)


def test_blending_agrees_with_loops() -> None:
    torch.manual_seed(0)
    bases, attention = torch.randn(2, NUM_BASES, 28, 28), torch.randn(2, NUM_ATTENTION)
    found = blend(bases, attention)
    coarse = attention.reshape(2, NUM_BASES, ATTENTION_CELLS, ATTENTION_CELLS)
    for region, row, column in [(0, 0, 0), (0, 13, 7), (1, 27, 27), (1, 5, 20)]:
        weights = []
        for base in range(NUM_BASES):
            total = torch.tensor(0.0)
            for dy in (0, 1):
                for dx in (0, 1):
                    y, x = (row + 0.5) / 2 - 0.5, (column + 0.5) / 2 - 0.5
                    y, x = max(y, 0.0), max(x, 0.0)
                    at_y, at_x = min(int(y) + dy, 13), min(int(x) + dx, 13)
                    share = (1 - abs(y - (int(y) + dy))) * (1 - abs(x - (int(x) + dx)))
                    total = total + share * coarse[region, base, at_y, at_x]
            weights.append(float(total.exp()))
        mixed = [
            weight / sum(weights) * float(bases[region, k, row, column]) for k, weight in enumerate(weights)
        ]
        assert float(found[region, row, column]) == pytest.approx(sum(mixed), abs=1e-5)


def test_masks_have_56_cells_a_side_and_equal_bases_come_out_as_they_are() -> None:
    torch.manual_seed(0)
    one = torch.randn(1, 1, 32, 24)
    boxes, index = torch.tensor([[8.0, 12, 60, 100], [0, 0, 96, 128]]), torch.zeros(2, dtype=torch.int64)
    logits = blended_logits(one.expand(-1, NUM_BASES, -1, -1), torch.randn(2, NUM_ATTENTION), boxes, index)
    assert logits.shape == (2, 56, 56)
    assert torch.allclose(logits, roi_align(one, boxes, index, size=56, stride=4)[:, 0], atol=1e-5)


def random_boxes(count: int) -> Tensor:
    corner = torch.rand(count, 2) * torch.tensor([20.0, 28.0]) - 2
    return torch.cat([corner, corner + 1 + torch.rand(count, 2) * 12], dim=1)


def test_regions_gathered_by_matrices_are_those_of_roi_align() -> None:
    torch.manual_seed(0)
    feature, boxes = torch.randn(3, 5, 32, 24), random_boxes(9)
    index = torch.arange(9) % 3
    expected = roi_align(feature, boxes, index, size=7, stride=1)
    assert torch.allclose(gather_regions(feature, boxes, index, size=7), expected, atol=1e-5)


def test_regions_spread_by_matrices_are_pasted_masks() -> None:
    torch.manual_seed(0)
    boxes, masks = random_boxes(6), torch.rand(6, 14, 14)
    expected = paste_masks(People(boxes, torch.ones(6), masks), 32, 24)
    assert torch.allclose(spread_regions(masks, boxes, height=32, width=24), expected, atol=1e-5)


@pytest.mark.parametrize("masks", list(Masks))
def test_dense_outputs_have_a_row_for_every_location(masks: Masks) -> None:
    config = HVISNetConfig(
        trunk=HVISNET_REDUCED.trunk, channels=16, num_convs=1, num_groups=4, mask_channels=8, masks=masks
    )
    outputs = HVISNet(config)(torch.randn(2, 3, 64, 96))
    num_locations = 8 * 12 + 4 * 6 + 2 * 3
    assert outputs.person_logits.shape == (2, num_locations)
    assert outputs.mask_parameters.shape == (2, num_locations, config.num_mask_parameters)
    assert outputs.embeddings.shape == (2, num_locations, 16)
    stride = config.mask_stride
    assert outputs.mask_features.shape == (2, config.num_mask_features, 64 // stride, 96 // stride)


def test_no_weight_of_the_network_is_idle() -> None:
    network = HVISNet(HVISNET_REDUCED)
    outputs = network(torch.randn(2, 3, 64, 64))
    torch.autograd.backward(torch.stack([output.mean() for output in outputs]).sum())
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not idle


def public_dla_name(name: str) -> str:
    """What the authors' checkpoint calls a tensor of ours, piece by piece."""
    pieces = name.split(".")
    if pieces[0] == "stem":
        return ".".join([("base_layer", "level0", "level1")[int(pieces[1])], *pieces[2:]])
    found = [{"stage4": "level2", "stage8": "level3", "stage16": "level4", "stage32": "level5"}[pieces[0]]]
    rest = [piece for piece in pieces[1:] if piece != "tree"]
    if rest[-3] in ("root", "project"):
        found += [f"tree{('first', 'second').index(piece) + 1}" for piece in rest[:-3]]
        layer = ("conv", "bn")[int(rest[-2])] if rest[-3] == "root" else rest[-2]
        return ".".join([*found, rest[-3], layer, rest[-1]])
    found += [f"tree{('first', 'second').index(piece) + 1}" for piece in rest[:-3]]
    number = ("first", "second").index(rest[-3]) + 1
    return ".".join([*found, f"{('conv', 'bn')[int(rest[-2])]}{number}", rest[-1]])


def test_public_weights_of_the_trunk_arrive_where_they_belong(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = DLAConfig(widths=(2, 3, 4, 5, 6, 7))
    theirs, ours = DLA(config).eval(), DLA(config).eval()
    public = {public_dla_name(name): tensor for name, tensor in theirs.state_dict().items()}
    assert "level3.tree2.root.bn.weight" in public
    assert "level5.tree1.conv2.weight" in public
    assert "level4.tree1.project.0.weight" in public
    public |= {"fc.weight": torch.zeros(3, 7, 1, 1), "level3.project.0.weight": torch.zeros(5, 4, 1, 1)}
    torch.save(public, tmp_path / "dla34.pth")
    load_dla(ours, tmp_path / "dla34.pth")
    image = torch.randn(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(ours(image), theirs(image), strict=True))
    del public["level2.root.conv.weight"]
    torch.save(public, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"missing, such as stage4\.root\.0\.weight"):
        load_dla(ours, tmp_path / "part.pth")
    with pytest.raises(ValueError, match="expected"):
        load_dla(DLA(DLAConfig(widths=(2, 3, 4, 5, 6, 8))), tmp_path / "dla34.pth")


def test_training_starts_from_public_weights_of_the_trunk(tmp_path: Path) -> None:
    theirs = DLA(HVISNET_REDUCED.trunk)
    public = {public_dla_name(name): tensor for name, tensor in theirs.state_dict().items()}
    torch.save(public, tmp_path / "dla34.pth")
    options = PaperOptions(output_dir=tmp_path / "run", dla=tmp_path / "dla34.pth")
    trunk = HVIS_RECIPES["hvisnet-reduced"]().build(options).backbone.trunk.state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(trunk[name], tensor), name
    for recipe in ("aten-reduced", "flownet-s-reduced"):
        with pytest.raises(ValueError, match=f"{recipe} has no DLA: leave --dla out"):
            PAPER_RECIPES[recipe]().build(options)
