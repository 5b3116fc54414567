"""The Holistic network: shapes, parameters, what learns in which stage, detections, scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from partstream_core.labels import NUM_PARTS, PARTS, VOID
from partstream_models.data.scenes.scene import Scene
from partstream_models.networks.holistic import (
    HOLISTIC,
    HOLISTIC_REDUCED,
    Holistic,
    PartModule,
    PartModuleConfig,
)
from partstream_models.networks.instance_crf import CrfConfig
from partstream_models.networks.resnet import ResNet, ResNetConfig
from partstream_models.training.fit import Fit, FitConfig, Optimiser
from partstream_models.training.holistic_recipes import HOLISTIC_RECIPES
from partstream_models.training.holistic_scores import holistic_scores
from partstream_models.training.holistic_task import (
    DetectorNoise,
    HolisticDraw,
    HolisticTask,
    Stage,
    classes_of,
    coarse,
    draw_of,
    part_loss,
)
from partstream_models.training.paper import PaperOptions

EXACT = DetectorNoise(side=0.0, missed=0.0, false=0.0)
TINY = replace(
    HOLISTIC_REDUCED,
    parts=replace(
        HOLISTIC_REDUCED.parts,
        trunk=ResNetConfig(blocks=(1, 1, 1, 1), width=8, out_stride=8),
        grids=(1, 2),
        channels=32,
    ),
)


def scene(height: int = 48, width: int = 72) -> Scene:
    """Two people side by side, each of hair, coat and pants, in colours of their own."""
    parts = np.zeros((height, width), np.uint8)
    people = np.zeros((height, width), np.uint8)
    bands = (("hair", 8, 16), ("coat", 16, 30), ("pants", 30, 44))
    for person, (left, right) in enumerate(((8, 30), (30, 60)), start=1):
        for part, top, bottom in bands:
            parts[top:bottom, left:right] = PARTS.index(part)
            people[top:bottom, left:right] = person
    image = np.full((height, width, 3), 40, np.uint8)
    image += (parts * 8)[..., None] + (people * 30)[..., None]
    return Scene(image, parts, people, np.arange(2))


class OneDraw:
    """The same draw every time."""

    def __init__(self, draw: HolisticDraw) -> None:
        self._draw = draw

    def draw(self, number: int) -> HolisticDraw:  # noqa: ARG002 - always the same
        """The one draw."""
        return self._draw


def draw(num_classes: int = 7, noise: DetectorNoise = EXACT) -> HolisticDraw:
    return draw_of(scene(), num_classes, noise, np.random.default_rng(0))


def dilations(trunk: ResNet) -> list[list[int]]:
    """Of the 3x3 convolutions, by stage."""
    found: list[list[int]] = [[] for _ in trunk.stages]
    for stage, rows in zip(trunk.stages, found, strict=True):
        rows += [
            module.dilation[0]
            for module in stage.modules()
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3)
        ]
    return found


def perfect(truth: HolisticDraw, num_classes: int) -> Tensor:
    """Logits of a part module that is right."""
    known = torch.where(truth.parts_HW == VOID, 0, truth.parts_HW)
    return torch.nn.functional.one_hot(known, num_classes).permute(2, 0, 1).float() * 20


def test_the_published_network_has_its_parameters() -> None:
    with torch.device("meta"):
        network = Holistic(HOLISTIC)
    trunk = sum(p.numel() for p in network.parts.trunk.parameters())
    assert trunk == 42_500_160  # ResNet-101 without its classifier
    pooled = 4 * (2048 * 512 + 512)
    fuse, classify = 9 * (2048 + 4 * 512) * 512 + 512, 512 * NUM_PARTS + NUM_PARTS
    assert sum(p.numel() for p in network.parameters()) == trunk + pooled + fuse + classify + 4


def test_the_paper_s_picture_has_a_feature_of_66_cells() -> None:
    with torch.device("meta"):
        module = PartModule(PartModuleConfig(num_classes=7))
        image = torch.zeros(1, 3, 521, 521)
        assert module.trunk(image).last.shape == (1, 2048, 66, 66)
        assert module(image).shape == (1, 7, 521, 521)


def test_a_trunk_of_stride_8_dilates_what_it_does_not_stride() -> None:
    fine, coarse_ = (ResNet(ResNetConfig(blocks=(1, 1, 2, 2), width=8, out_stride=s)) for s in (8, 16))
    assert {name: p.shape for name, p in fine.named_parameters()} == {
        name: p.shape for name, p in coarse_.named_parameters()
    }
    assert dilations(fine) == [[1], [1], [1, 2], [2, 4]]
    assert dilations(coarse_) == [[1], [1], [1, 1], [1, 2]]


@pytest.mark.parametrize("num_people", [0, 1, 7])
@pytest.mark.parametrize("size", [(33, 47), (64, 64)])
def test_any_number_of_people_and_any_size_will_do(num_people: int, size: tuple[int, int]) -> None:
    network = Holistic(TINY).eval()
    boxes = torch.rand(num_people, 2, 2).sort(dim=1).values.flatten(1) * torch.tensor([47, 33, 47, 33])
    output = network(torch.rand(1, 3, *size) * 2 - 1, boxes, torch.rand(num_people))
    assert output.part_logits_CHW.shape == (7, *size)
    cells = tuple(-(-side // 4) for side in size)
    assert output.log_q_Lhw.shape == (1 + 6 * num_people, *cells)
    torch.testing.assert_close(output.log_q_Lhw.exp().sum(dim=0), torch.ones(cells))


def test_several_pictures_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="one picture at a time"):
        Holistic(TINY)(torch.zeros(2, 3, 32, 32), torch.zeros(0, 4), torch.zeros(0))


def test_the_global_term_reaches_beyond_boxes_and_the_box_term_does_not() -> None:
    truth = draw()
    boxes = truth.boxes_D4 - torch.tensor([0, 0, 0, 14.0])  # no legs
    owned = []
    for global_term in (False, True):
        crf = CrfConfig(bilateral=0.0, spatial=0.0, global_term=global_term)
        network = Holistic(replace(TINY, crf=crf, crf_stride=1))
        log_q = network.instances(perfect(truth, 7), truth.image_1CHW, boxes, truth.scores_D)
        pants = (truth.parts_HW == 4) & (truth.people_HW > 0)
        owned.append(float((log_q.argmax(dim=0) > 0)[pants].float().mean()))
    assert owned == [0.0, 1.0]


@pytest.mark.parametrize("stage", list(Stage))
def test_each_stage_trains_what_it_says(stage: Stage) -> None:
    torch.manual_seed(0)
    network = Holistic(TINY)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    config = FitConfig(num_steps=2, learning_rate=1e-2, optimiser=Optimiser.ADAMW, weight_decay=0.0)
    task = HolisticTask(network, OneDraw(draw()), stage, hardest=500)
    list(Fit(task, config, name="x").steps())
    changed = {name.split(".")[0] for name, p in network.named_parameters() if not p.equal(before[name])}
    norms = [name for name, p in network.named_parameters() if "norm" in name and not p.equal(before[name])]
    assert changed == {Stage.PARTS: {"parts"}, Stage.INSTANCES: {"crf"}, Stage.WHOLE: {"parts", "crf"}}[stage]
    assert norms == []


def test_end_to_end_learns_a_picture() -> None:
    torch.manual_seed(0)
    network = Holistic(TINY)
    config = FitConfig(num_steps=60, learning_rate=5e-3, optimiser=Optimiser.ADAMW)
    task = HolisticTask(network, OneDraw(draw()), Stage.WHOLE)
    reports = list(Fit(task, config, name="x").steps())
    assert reports[-1].terms["total"] < 0.3 * reports[0].terms["total"]


def test_the_hardest_pixels_alone_count_where_it_is_asked_for() -> None:
    logits = torch.zeros(3, 4, 5)
    logits[0] = 5.0
    truth = torch.zeros(4, 5, dtype=torch.int64)
    truth[0, :2] = 1
    truth[3] = VOID
    hard = float(part_loss(logits, truth, 2))
    assert hard == pytest.approx(5 + np.log(1 + 2 * np.exp(-5)), abs=1e-4)
    assert float(part_loss(logits, truth, None)) < hard / 4
    assert float(part_loss(logits, torch.full((4, 5), VOID), None)) == 0.0


def test_detections_are_the_true_boxes_where_nothing_is_off() -> None:
    exact = draw()
    assert exact.boxes_D4.tolist() == [[8, 8, 30, 44], [30, 8, 60, 44]]
    rng = np.random.default_rng(0)
    nobody = draw_of(scene(), 7, DetectorNoise(side=0.0, missed=1.0, false=1.0), rng)
    assert len(nobody.boxes_D4) == 1 and float(nobody.scores_D) < 0.6


def test_groups_hold_every_part_once() -> None:
    table = classes_of(7)
    assert sorted(set(table[1:NUM_PARTS].tolist())) == [1, 2, 3, 4, 5, 6]
    assert table[0] == 0 and (table[NUM_PARTS:] == VOID).all()
    assert classes_of(NUM_PARTS)[:NUM_PARTS].tolist() == list(range(NUM_PARTS))
    with pytest.raises(ValueError, match="num_classes must be 20 or 7, got 5"):
        classes_of(5)


def test_a_coarse_map_takes_the_middle_of_each_cell() -> None:
    fine = torch.arange(35).reshape(5, 7)
    assert coarse(fine, 1).equal(fine)
    assert coarse(fine, 3).tolist() == [[8, 11, 13], [29, 32, 34]]


class _Known(PartModule):
    """A part module that gives one answer."""

    def __init__(self, logits_CHW: Tensor) -> None:
        super().__init__(TINY.parts)
        self._logits_CHW = logits_CHW

    def forward(self, image_BCHW: Tensor) -> Tensor:  # noqa: ARG002 - one answer
        """The answer."""
        return self._logits_CHW[None]


def test_a_right_parsing_with_right_boxes_has_full_marks() -> None:
    truth = draw()
    network = Holistic(replace(TINY, crf_stride=1))
    network.parts = _Known(perfect(truth, 7))
    scores = holistic_scores(network, [truth])
    assert scores == dict.fromkeys(scores, 1.0)
    missing = replace(truth, boxes_D4=truth.boxes_D4[:1], scores_D=truth.scores_D[:1])
    assert holistic_scores(network, [missing])["people_ap_r_50"] < 1.0


@pytest.mark.parametrize("name", list(HOLISTIC_RECIPES))
def test_every_recipe_builds_the_network_that_it_names(name: str) -> None:
    recipe = HOLISTIC_RECIPES[name]()
    with torch.device("meta"):
        network = recipe.build(PaperOptions(output_dir=Path("unused")))
    assert network.config == recipe.network


def test_weights_of_other_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="--dla"):
        HOLISTIC_RECIPES["holistic"]().build(PaperOptions(output_dir=Path("o"), dla=Path("w")))


def test_the_polynomial_policy_is_the_paper_s() -> None:
    config = FitConfig(num_steps=100, learning_rate=0.1, power=0.9)
    assert [config.rate(step) for step in (0, 50, 99)] == pytest.approx(
        [0.1, 0.1 * 0.5**0.9, 0.1 * 0.01**0.9]
    )
