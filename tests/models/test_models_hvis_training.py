"""HVISNet's training: losses against loops, sampling, draws, recipes, and a clip that is learned."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from partstream_core.labels import VOID
from partstream_models.commands.train import main
from partstream_models.data.batches import People
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.clips.views import ViewConfig
from partstream_models.data.inner_center import inner_center
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.readers.record import Frame, Recording
from partstream_models.data.scenes.scene import Scene
from partstream_models.networks.checkpoints import load_network
from partstream_models.networks.fcos import SamplingConfig, all_locations, assign
from partstream_models.networks.hvisnet import HVIS_LEVELS, HVISNET_REDUCED, HVISNet, HVISOutputs, Masks
from partstream_models.training.fit import Optimiser
from partstream_models.training.hvis_identity import HVISIdentityLoss, triplet_loss
from partstream_models.training.hvis_loss import HVISLoss, HVISLossConfig, HVISTruth, grid_truth
from partstream_models.training.hvis_recipes import HVIS_RECIPES, HVISRecipe, hvisnet_overfit
from partstream_models.training.hvis_scores import truth_of_scene
from partstream_models.training.hvis_sources import ComposedFrames, RecordedFrames
from partstream_models.training.hvis_task import Center, draw_of, truth_of_frame
from partstream_models.training.paper import DataSet, PaperOptions, train_paper

SMALL = replace(
    HVISNET_REDUCED, channels=16, num_convs=1, num_groups=4, mask_channels=8,
    trunk=replace(HVISNET_REDUCED.trunk, widths=(4, 4, 8, 8, 8, 8)),
)  # fmt: skip


def scene_of_two() -> Scene:
    """Two people side by side, one of them no rectangle, and a corner of void."""
    instances = np.zeros((64, 96), np.uint8)
    instances[10:50, 10:20] = 1
    instances[40:50, 10:40] = 1
    instances[8:60, 50:70] = 2
    instances[:6, :6] = VOID
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    return Scene(image, np.zeros_like(instances), instances, np.array([4, 7]))


def truth_of(scenes: list[Scene]) -> HVISTruth:
    return draw_of(scenes, Center.INNER).truth


def empty_scene() -> Scene:
    scene = scene_of_two()
    return Scene(scene.image_HWC, scene.parts_HW, scene.parts_HW, np.zeros(0, np.int64))


def test_triplets_cost_what_loops_over_them_say() -> None:
    torch.manual_seed(0)
    embeddings = F.normalize(torch.randn(9, 4), dim=1)
    label = torch.tensor([1, 2, 1, 3, 2, 1, 3, 2, 5])
    costs = []
    for a, p, n in itertools.product(range(9), repeat=3):
        if a != p and label[a] == label[p] and label[a] != label[n]:
            near = (embeddings[a] - embeddings[p]).square().sum()
            far = (embeddings[a] - embeddings[n]).square().sum()
            costs.append(max(float(near - far) + 0.3, 0.0))
    positive = [cost for cost in costs if cost > 0]
    expected = sum(positive) / len(positive)
    assert float(triplet_loss(embeddings, label, margin=0.3)) == pytest.approx(expected, rel=1e-4)


def test_people_who_are_well_apart_cost_no_triplet() -> None:
    apart = torch.eye(3)[[0, 0, 1, 1, 2]]
    assert triplet_loss(apart, torch.tensor([1, 1, 2, 2, 3]), margin=0.3) == 0
    assert triplet_loss(apart[:2], torch.tensor([1, 1]), margin=0.3) == 0
    assert triplet_loss(apart[:0], torch.zeros(0, dtype=torch.int64), margin=0.3) == 0


def test_the_classifier_has_a_class_more_than_identities_and_leaves_the_unknown_out() -> None:
    torch.manual_seed(0)
    loss = HVISIdentityLoss(channels=4, num_identities=3)
    assert loss.classify.weight.shape == (4, 4)
    embeddings = torch.randn(5, 4)
    known = loss(embeddings[:3], torch.tensor([0, 3, 1]))
    all_ = loss(embeddings, torch.tensor([0, 3, 1, -1, -1]))
    logits = loss.classify(F.normalize(embeddings[:3], dim=1) * 16)
    assert torch.allclose(all_.classification, F.cross_entropy(logits, torch.tensor([0, 3, 1])))
    assert torch.equal(all_.triplet, known.triplet)
    nobody = loss(embeddings[:1], torch.tensor([-1]))
    assert (nobody.triplet, nobody.classification) == (0, 0)


def ideal(truth: HVISTruth, network: HVISNet, *, sampling: SamplingConfig) -> HVISOutputs:
    """Outputs without fault for the dense terms."""
    height, width = truth.instances_BHW.shape[-2:]
    locations, level = all_locations(height, width, levels=HVIS_LEVELS)
    targets = [
        assign(locations, level, one.boxes_N4, one.centers_N2, config=sampling, levels=HVIS_LEVELS)
        for one in truth.people
    ]
    some: HVISOutputs = network(torch.zeros(len(truth.people), 3, height, width))
    center = torch.stack([target.centerness_L for target in targets]).clamp(1e-6, 1 - 1e-6)
    return some._replace(
        person_logits=torch.stack([torch.where(t.person_L >= 0, 20.0, -20.0) for t in targets]),
        distances=torch.stack([target.distances_L4 for target in targets]),
        centerness_logits=center.logit(),
    )


@pytest.mark.parametrize("masks", list(Masks))
def test_dense_terms_of_faultless_outputs_are_zero(masks: Masks) -> None:
    torch.manual_seed(0)
    config = replace(SMALL, masks=masks)
    network = HVISNet(config)
    loss = HVISLoss(config=HVISLossConfig(), network=config, num_identities=9)
    truth = truth_of([scene_of_two(), empty_scene()])
    outputs = ideal(truth, network, sampling=HVISLossConfig().sampling)
    terms = loss(torch.randn(2, 16, 8, 12), outputs, truth, torch.Generator().manual_seed(0))
    assert set(terms) == {"score", "box", "center", "mask", "segmentation", "triplet", "identity"}
    for name in ("score", "box", "center"):
        assert float(terms[name]) == pytest.approx(0, abs=1e-4), name
    assert terms["mask"] > 0.1
    worse = outputs._replace(person_logits=-outputs.person_logits, distances=outputs.distances * 2)
    again = loss(torch.randn(2, 16, 8, 12), worse, truth, torch.Generator().manual_seed(0))
    assert again["score"] > 1
    assert again["box"] > 0.3


@pytest.mark.parametrize("masks", list(Masks))
def test_frames_without_people_give_finite_losses_and_gradients(masks: Masks) -> None:
    torch.manual_seed(0)
    config = replace(SMALL, masks=masks)
    network = HVISNet(config)
    loss = HVISLoss(config=HVISLossConfig(), network=config, num_identities=9)
    draw = draw_of([empty_scene()], Center.INNER)
    levels = network.backbone(draw.images)
    terms = loss(levels[0], network.heads(levels), draw.truth, torch.Generator().manual_seed(0))
    assert terms["box"] == terms["mask"] == terms["center"] == terms["triplet"] == 0
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_void_places_teach_nothing_about_scores() -> None:
    torch.manual_seed(0)
    network, truth = HVISNet(SMALL), truth_of([scene_of_two()])
    loss = HVISLoss(config=HVISLossConfig(), network=SMALL, num_identities=9)
    outputs = ideal(truth, network, sampling=HVISLossConfig().sampling)
    wrong = outputs.person_logits.clone()
    wrong[0, 0] = 20  # the first place of the finest level lies in the corner of void
    for logits, expected in ((wrong, True), (wrong.roll(3, dims=1), False)):
        terms = loss(
            torch.randn(1, 16, 8, 12), outputs._replace(person_logits=logits), truth, torch.Generator()
        )
        assert (float(terms["score"]) < 1e-3) is expected


def test_ambiguous_places_are_background_in_the_score_and_in_no_other_term() -> None:
    boxes = torch.tensor([[10.0, 10, 50, 60], [14.0, 8, 54, 58]])
    centers = torch.tensor([[30.0, 34], [33.0, 32]])
    places, level = all_locations(64, 96, levels=HVIS_LEVELS)
    both = {}
    for ambiguous in (False, True):
        sampling = SamplingConfig(ambiguous_negative=ambiguous)
        found = assign(places, level, boxes, centers, config=sampling, levels=HVIS_LEVELS)
        both[ambiguous] = found.person_L
    lost = (both[False] >= 0) & (both[True] < 0)
    assert lost.any()
    instances = torch.zeros(1, 64, 96, dtype=torch.uint8)
    people = People(boxes, centers, torch.tensor([0, 1]), torch.tensor([1, 2]))
    truth = HVISTruth(instances, (people,))
    config = HVISLossConfig()
    assert config.sampling.ambiguous_negative
    network = HVISNet(SMALL)
    outputs = ideal(truth, network, sampling=config.sampling)
    loss = HVISLoss(config=config, network=SMALL, num_identities=9)
    distances = torch.where(lost[None, :, None], 1000.0, outputs.distances)
    terms = loss(torch.randn(1, 16, 8, 12), outputs._replace(distances=distances), truth, torch.Generator())
    assert float(terms["box"]) == pytest.approx(0, abs=1e-4)
    assert float(terms["score"]) == pytest.approx(0, abs=1e-4)


def test_mask_truth_has_56_cells_a_side_and_agrees_with_looking_at_each() -> None:
    truth = truth_of([scene_of_two()])
    masks = (truth.instances_BHW == torch.tensor([1, 2])[:, None, None]).float()
    boxes = truth.people[0].boxes_N4
    grid = grid_truth(masks, boxes)
    assert grid.shape == (2, 56, 56)
    left, top, right, bottom = boxes[0].tolist()
    for row, column in itertools.product(range(2, 56, 9), repeat=2):
        y = int(top + (row + 0.5) / 56 * (bottom - top))
        x = int(left + (column + 0.5) / 56 * (right - left))
        around = masks[0, y - 1 : y + 2, x - 1 : x + 2]
        if around.min() == around.max():
            assert grid[0, row, column] == around[0, 0]
    assert grid[1].min() == 1  # a rectangle fills its box


def test_sampling_centers_are_those_of_table_v() -> None:
    scene = scene_of_two()
    mask = scene.instances_HW == 1
    middle = {center: truth_of_frame(scene, center)[0].centers_N2[0].tolist() for center in Center}
    assert middle[Center.BOX] == [25, 30]
    rows, columns = np.nonzero(mask)
    assert middle[Center.MASK] == pytest.approx([columns.mean() + 0.5, rows.mean() + 0.5])
    place = inner_center(mask)
    assert place is not None
    assert middle[Center.INNER] == [place[1] + 0.5, place[0] + 0.5]
    assert mask[int(middle[Center.INNER][1]), int(middle[Center.INNER][0])]
    assert not mask[int(middle[Center.BOX][1]), int(middle[Center.BOX][0])]


def test_a_draw_shows_the_same_people_more_than_once(photos: PhotoCache) -> None:
    recipe = hvisnet_overfit()
    clips = ClipDraws(photos=photos, size=recipe.size, clip=recipe.clip, one_clip=True)
    source = ComposedFrames(clips.of_draw, 2, Center.INNER)
    draw = source.draw(5)
    assert draw.images.shape == (2, 3, 128, 192)
    assert draw.images.abs().max() <= 1
    identities = [set(people.identities_N.tolist()) for people in draw.truth.people]
    assert identities[0] & identities[1]
    assert torch.equal(draw.images, source.draw(5).images)
    assert any(not torch.equal(draw.images, source.draw(number).images) for number in range(6, 12))


def recordings() -> tuple[Recording, ...]:
    """Two recordings with two people each, whose numbers begin anew, and a photo of people without any."""
    scene = scene_of_two()

    def frame(_: int) -> Frame:
        return Frame(scene.image_HWC, None, scene.instances_HW, np.array([1, 2]))

    clips = [Recording(name, 3, (0, 1, 2), frame, num_people=2) for name in "ab"]
    return (*clips, Recording("photo", 1, (0,), frame))


def test_people_of_different_recordings_are_different_people() -> None:
    source = RecordedFrames(recordings(), ViewConfig(longer_side=96), 2, Center.INNER)
    assert source.num_identities == 4
    seen = set()
    for number in range(7):
        draw = source.draw(number)
        identities = {tuple(people.identities_N.tolist()) for people in draw.truth.people}
        assert len(identities) == 1
        assert len(draw.images) == (1 if identities == {(-1, -1)} else 2)
        seen |= identities
    assert seen == {(0, 1), (2, 3), (-1, -1)}


def test_truth_for_scores_ignores_void_and_people_of_few_pixels() -> None:
    scene = scene_of_two()
    scene.instances_HW[scene.instances_HW == 2] = 0
    scene.instances_HW[0, 90] = 2
    frame = truth_of_scene(scene)
    assert frame.identities == (4,)
    assert frame.ignored is not None


def short(num_steps: int) -> HVISRecipe:
    recipe = hvisnet_overfit()
    return replace(recipe, fit=replace(recipe.fit, num_steps=num_steps), size=(64, 64), network=SMALL)


def test_a_run_leaves_the_network_alone_and_goes_on(photos: PhotoCache, tmp_path: Path) -> None:
    options = PaperOptions(output_dir=tmp_path)
    first = train_paper(short(2), photos, options)
    assert set(first.scores) == {"smotsa", "motsa", "motsp", "idf1"}
    load_network(HVISNet(SMALL), first.weights)
    before = first.weights.read_bytes()
    second = train_paper(short(3), photos, options)
    assert second.weights.read_bytes() != before


def test_half_precision_training_and_a_data_set_give_finite_losses(tmp_path: Path) -> None:
    recipe = replace(short(2), view=ViewConfig(longer_side=96))
    recipe = recipe.with_fit(replace(recipe.fit, bf16=True))
    material = DataSet(recordings(), recordings()[:1])
    result = train_paper(recipe, material, PaperOptions(output_dir=tmp_path))
    assert result.weights.is_file()
    assert '"skipped": true' not in (tmp_path / "log.jsonl").read_text()


def test_recipes_have_names_and_the_published_schedule() -> None:
    assert set(HVIS_RECIPES) == {make().name for make in HVIS_RECIPES.values()}
    recipe = HVIS_RECIPES["hvisnet"]()
    assert recipe.epochs == 12
    assert recipe.fit.optimiser is Optimiser.SGD
    rates = [recipe.fit.rate(int(recipe.fit.num_steps * epoch / 12)) for epoch in (0, 7.9, 8.1, 10.9, 11.1)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])
    assert recipe.center is Center.INNER
    assert recipe.loss.sampling.ambiguous_negative


def test_weights_for_another_network_are_refused(tmp_path: Path) -> None:
    options = PaperOptions(output_dir=tmp_path, resnet=tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match="--resnet"):
        hvisnet_overfit().build(options)
    with pytest.raises(ValueError, match="num_identities"):
        HVISIdentityLoss(channels=4, num_identities=-1)


def test_the_command_knows_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--list"])
    assert left.value.code in (0, None)
    listed = capsys.readouterr().out
    assert all(name in listed for name in HVIS_RECIPES)


@pytest.mark.long
def test_one_clip_is_learned_by_heart(photos: PhotoCache, tmp_path: Path) -> None:
    recipe = hvisnet_overfit()
    result = train_paper(recipe, photos, PaperOptions(output_dir=tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [row["terms"]["total"] for row in rows if "terms" in row]
    assert np.mean(losses[-3:]) < 0.05 * losses[0]
    assert result.scores["motsp"] > 0.9
    assert result.scores["motsa"] == result.scores["idf1"] == 1
