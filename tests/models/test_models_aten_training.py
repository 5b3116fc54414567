"""ATEN's training: frames of a step, truth, losses, the loop, and a clip that is learned."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partstream_core.labels import VOID
from partstream_models.commands.train import main
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import Clip, draw_clip
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.networks.aten import ATEN, ATEN_REDUCED
from partstream_models.networks.checkpoints import save_tensors
from partstream_models.training.aten_recipes import ATEN_RECIPES, AtenRecipe, aten_overfit
from partstream_models.training.aten_sources import ClipSource
from partstream_models.training.aten_task import (
    AtenDraw,
    AtenTask,
    SamplingConfig,
    StackedDraws,
    draw_frames,
    image_of,
    truth_of,
)
from partstream_models.training.fit import Fit, FitConfig, Optimiser
from partstream_models.training.paper import PaperOptions, scheduled, train_paper
from partstream_models.training.parsing_rcnn_loss import FrameTruth, parsing_loss, parsing_rcnn_losses


def plain_clip(photos: PhotoCache) -> Clip:
    recipe = aten_overfit()
    height, width = recipe.size
    return draw_clip(photos, seed=1, number=0, height=height, width=width, config=recipe.clip)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_drawn_frames_lie_as_section_4_4_says(length: int) -> None:
    rng, config = np.random.default_rng(0), SamplingConfig(length=length, encoding_range=2)
    offsets, fronts = set(), set()
    for _ in range(400):
        frames = draw_frames(15, config, rng)
        offsets.add(frames.target - frames.key)
        assert frames.key not in frames.neighbours
        assert list(frames.neighbours) == sorted(frames.neighbours)
        if frames.key >= 2 * length:
            assert frames.neighbours == (frames.key - 2 * length, frames.key - length)
        else:
            fronts.add(frames.neighbours)
    assert offsets == set(range(-(length // 2), length - length // 2))
    assert all(len(neighbours) == 2 for neighbours in fronts)


def test_a_clip_of_one_frame_is_its_own_key_and_target() -> None:
    frames = draw_frames(1, SamplingConfig(), np.random.default_rng(0))
    assert (frames.key, frames.neighbours, frames.target) == (0, (), 0)


def test_truth_has_everybody_s_box_and_mask(photos: PhotoCache) -> None:
    clip = plain_clip(photos)
    for frame in range(len(clip.images_THWC)):
        truth = truth_of(clip, frame)
        owned = torch.from_numpy(clip.instances_THW[frame] > 0)
        assert truth.masks_NHW.sum() <= owned.sum()
        for box, mask in zip(truth.boxes_N4.tolist(), truth.masks_NHW, strict=True):
            rows, columns = mask.nonzero().unbind(dim=1)
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        two = truth_of(clip, frame, two_classes=True)
        assert set(two.parts_HW.flatten().tolist()) <= {0, 1, VOID}
    image = image_of(clip, 0)
    assert image.shape == (1, 3, *clip.parts_THW.shape[1:])
    assert image.abs().max() <= 1


def test_void_pixels_cost_nothing() -> None:
    logits = torch.randn(1, 4, 6, 6)
    parts = torch.randint(0, 4, (1, 24, 24))
    half = parts.clone()
    half[:, :12] = VOID
    up = nn.functional.interpolate(logits, size=(24, 24), mode="bilinear")
    expected = nn.functional.cross_entropy(up[:, :, 12:], parts[:, 12:])
    assert torch.allclose(parsing_loss(logits, half), expected, atol=1e-6)
    assert parsing_loss(logits, torch.full_like(parts, VOID)) == 0


@pytest.mark.parametrize("num_people", [0, 2])
def test_losses_are_finite_with_and_without_people(num_people: int) -> None:
    torch.manual_seed(0)
    heads = ATEN(ATEN_REDUCED).heads
    boxes = torch.tensor([[4.0, 4, 24, 44], [30, 10, 50, 50]])[:num_people]
    masks = torch.zeros(num_people, 64, 64)
    for mask, box in zip(masks, boxes.int().tolist(), strict=True):
        mask[box[1] : box[3], box[0] : box[2]] = 1
    truth = FrameTruth(torch.zeros(64, 64, dtype=torch.int64), boxes, masks)
    feature = torch.randn(1, 32, 16, 16, requires_grad=True)
    assert not isinstance(heads, nn.Conv2d)
    losses = parsing_rcnn_losses(heads, feature, [truth], torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    assert set(losses) == {"parsing", "rpn_class", "rpn_box", "class", "box", "mask"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    if num_people == 0:
        assert losses["mask"] == losses["box"] == losses["rpn_box"] == 0
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    assert feature.grad is not None
    assert torch.isfinite(feature.grad).all()


def test_truth_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="masks are"):
        FrameTruth(torch.zeros(4, 4), torch.zeros(1, 4), torch.zeros(1, 5, 5))


class Line:
    """A task of two parameters, with a loss that is not finite now and then."""

    def __init__(self, *, broken_at: int = -1) -> None:
        torch.manual_seed(3)
        self.network: nn.Module = nn.Linear(1, 1)
        self._broken_at = broken_at

    def losses(self, step: int) -> dict[str, Tensor]:
        x = torch.tensor([[step % 5 - 2.0]])
        error: Tensor = (self.network(x) - 3 * x - 1).square().mean()
        return {"error": error * float("nan") if step == self._broken_at else error}


@pytest.mark.parametrize("optimiser", list(Optimiser))
def test_a_run_that_was_cut_short_goes_on_as_if_it_had_not_been(tmp_path: Path, optimiser: Optimiser) -> None:
    config = FitConfig(num_steps=30, learning_rate=0.02, drops=(0.5,), optimiser=optimiser)
    whole, first, second = Line(), Line(), Line()
    losses = [report.terms["total"] for report in Fit(whole, config, name="line").steps()]
    assert losses[25] < losses[0]  # of the same input
    run = Fit(first, config, name="line")
    steps = run.steps()
    for _ in range(11):
        next(steps)
    run.save(tmp_path / "state.safetensors")
    rest = Fit(second, config, name="line")
    rest.resume(tmp_path / "state.safetensors")
    assert [report.step for report in rest.steps()] == list(range(12, 31))
    for a, b in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.allclose(a, b)
    with pytest.raises(ValueError, match="belongs to recipe"):
        Fit(Line(), config, name="other").resume(tmp_path / "state.safetensors")
    with pytest.raises(ValueError, match="was begun with a batch of 1, not 2"):
        Fit(Line(), replace(config, batch=2), name="line").resume(tmp_path / "state.safetensors")


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    task = Line(broken_at=0)
    before = [p.clone() for p in task.network.parameters()]
    steps = Fit(task, FitConfig(num_steps=2), name="line").steps()
    assert next(steps).skipped
    assert all(torch.equal(a, b) for a, b in zip(before, task.network.parameters(), strict=True))
    assert not next(steps).skipped


class Root:
    """The gradient of a square root at 0 is not finite, though the root is; a norm counts what it saw."""

    def __init__(self) -> None:
        self.network: nn.Module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))

    def losses(self, step: int) -> dict[str, Tensor]:
        seen: Tensor = self.network(torch.tensor([[float(step)], [step + 1.0]]))
        return {"root": (seen[0, 0] * 0 if step == 0 else seen[0, 0].abs()).sqrt()}


def test_a_gradient_that_is_not_finite_leaves_weights_statistics_and_average() -> None:
    task = Root()
    fit = Fit(task, FitConfig(num_steps=2, ema_decay=0.9), name="root")
    assert fit.average is not None
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    steps = fit.steps()
    report = next(steps)
    assert report.skipped
    assert report.terms["root"] == 0
    for state in (task.network.state_dict(), fit.average.state_dict()):
        assert all(torch.equal(before[name], value) for name, value in state.items())
    assert not next(steps).skipped
    assert fit.skipped == 1
    assert any(not torch.equal(before[name], value) for name, value in fit.average.state_dict().items())


def test_the_average_follows_the_weights_and_parameters_of_the_loss_learn() -> None:
    task, own = Line(), nn.Linear(1, 1)
    task.losses = lambda step: {"error": own(Line.losses(task, step)["error"].reshape(1)).square()[0]}  # type: ignore[method-assign]
    before = own.weight.detach().clone()
    fit = Fit(task, FitConfig(num_steps=1, ema_decay=0.5), name="line", loss=own)
    assert fit.average is not None
    start = fit.average.state_dict()["weight"].clone()
    list(fit.steps())
    assert not torch.equal(own.weight, before)
    # the decay grows with the steps up to what was asked for: it begins at a tenth
    expected = start * 0.1 + task.network.state_dict()["weight"] * 0.9
    torch.testing.assert_close(fit.average.state_dict()["weight"], expected)


def test_the_rate_warms_up_falls_along_a_cosine_and_ends_with_the_minutes() -> None:
    config = FitConfig(num_steps=100, learning_rate=2.0, warmup_steps=10, cosine_floor=0.5)
    assert config.rate(0) == pytest.approx(0.2)
    assert config.rate(50) == pytest.approx(2 * 0.75)
    assert config.rate(100) == pytest.approx(1.0)
    timed = replace(config, minutes=2.0)
    assert timed.rate(20, seconds=60) == pytest.approx(2 * 0.75)
    assert timed.progress(20, seconds=120) == 1
    assert len(list(Fit(Line(), replace(config, minutes=1e-9), name="line").steps())) == 1


def test_a_share_of_the_rate_belongs_to_parameters_by_their_names() -> None:
    task = Line()
    fit = Fit(task, FitConfig(num_steps=2, rate_factors=(("bias", 0.0),)), name="line")
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    list(fit.steps())
    after = task.network.state_dict()
    assert torch.equal(after["bias"], before["bias"])
    assert not torch.equal(after["weight"], before["weight"])


class HalfFrozen(Line):
    """Its first draw is one that nothing which learns takes part in."""

    def losses(self, step: int) -> dict[str, Tensor]:
        return {"error": torch.ones(())} if step == 0 else super().losses(step)


def test_a_draw_that_teaches_nothing_changes_nothing() -> None:
    task = HalfFrozen()
    before = [p.clone() for p in task.network.parameters()]
    steps = Fit(task, FitConfig(num_steps=2), name="line").steps()
    report = next(steps)
    assert (report.skipped, report.terms["total"]) == (False, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, task.network.parameters(), strict=True))
    next(steps)
    assert any(not torch.equal(a, b) for a, b in zip(before, task.network.parameters(), strict=True))


def test_minutes_that_are_over_end_the_run() -> None:
    assert (
        len(list(Fit(Line(), FitConfig(num_steps=10_000_000), name="line").steps(minutes=1e-4))) < 10_000_000
    )


def few_steps(num_steps: int) -> AtenRecipe:
    recipe = aten_overfit()
    return replace(recipe, fit=replace(recipe.fit, num_steps=num_steps), size=(64, 64))


def test_a_clip_is_being_learned_through_encoding_and_propagation(photos: PhotoCache) -> None:
    torch.manual_seed(0)
    recipe, clip = few_steps(60), plain_clip(photos)
    task = AtenTask(ATEN(recipe.network), ClipSource(lambda _: clip, recipe.sampling))
    totals = [report.terms["total"] for report in Fit(task, recipe.fit, name=recipe.name).steps()]
    assert np.mean(totals[-10:]) < 0.5 * np.mean(totals[:5])


def clip_to_stack(photos: PhotoCache) -> Clip:
    """A small clip without void pixels, in which every key frame has two neighbours."""
    config = ClipConfig(num_frames=9, max_people=1, empty_share=0.0, cut_share=0.0)
    return draw_clip(photos, seed=2, number=0, height=64, width=96, config=config)


def test_stacked_draws_cost_what_they_cost_one_by_one(photos: PhotoCache) -> None:
    torch.manual_seed(0)
    heads = replace(ATEN_REDUCED.heads, num_classes=2)
    network, clip = ATEN(replace(ATEN_REDUCED, instances=False, heads=heads)), clip_to_stack(photos)
    finest = network.flow.predict[-1]
    assert isinstance(finest, nn.Conv2d)
    nn.init.normal_(finest.weight, std=0.2)  # flow of some cells
    source = ClipSource(lambda _: clip, SamplingConfig(length=3, encoding_range=2), two_classes=True)
    stacked = StackedDraws(source, 6)
    draws = stacked.draw(1)
    assert {draw.target is None for draw in draws} == {True, False}
    assert all(len(draw.neighbours) == 2 for draw in draws)
    with torch.no_grad():
        alone = [AtenTask(network, source).losses(number)["parsing"].item() for number in range(6, 12)]
        together = AtenTask(network, stacked).losses(1)["parsing"].item()
    assert together == pytest.approx(np.mean(alone), rel=1e-4)
    assert np.std(alone) > 1e-3


def test_stacked_draws_of_parts_and_people_have_all_terms(photos: PhotoCache) -> None:
    recipe, clip = few_steps(1), clip_to_stack(photos)
    source = ClipSource(lambda _: clip, replace(recipe.sampling, encoding_range=0))
    network = ATEN(recipe.network)
    losses = AtenTask(network, StackedDraws(source, 3)).losses(0)
    assert losses.keys() == AtenTask(network, source).losses(0).keys()
    assert all(loss.isfinite() for loss in losses.values())


def test_draws_with_different_numbers_of_neighbours_cannot_be_stacked(photos: PhotoCache) -> None:
    clip = clip_to_stack(photos)
    ranges = iter([0, 1])

    class Uneven:
        def draw(self, number: int) -> AtenDraw:
            return ClipSource(lambda _: clip, SamplingConfig(length=2, encoding_range=next(ranges))).draw(
                number
            )

    with pytest.raises(ValueError, match="numbers of neighbours"):
        AtenTask(ATEN(few_steps(1).network), StackedDraws(Uneven(), 2)).losses(0)


def test_half_precision_training_has_finite_losses(photos: PhotoCache) -> None:
    recipe, clip = few_steps(2), plain_clip(photos)
    task = AtenTask(ATEN(recipe.network), ClipSource(lambda _: clip, recipe.sampling))
    fit = Fit(task, replace(recipe.fit, bf16=True), name=recipe.name)
    assert not any(report.skipped for report in fit.steps())


def test_a_run_leaves_weights_scores_and_a_log_and_goes_on(photos: PhotoCache, tmp_path: Path) -> None:
    options = PaperOptions(output_dir=tmp_path, evaluate_every=2)
    first = train_paper(few_steps(2), photos, options)
    assert 0 <= first.scores["mean_iou"] <= 1
    before = first.weights.read_bytes()
    assert train_paper(few_steps(3), photos, options).weights.read_bytes() != before
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "scores" in line] == [2, 3]


def test_recipes_have_names_and_the_published_schedules() -> None:
    assert set(ATEN_RECIPES) == {make().name for make in ATEN_RECIPES.values()}
    vip, davis = ATEN_RECIPES["aten-r50"](), ATEN_RECIPES["aten-r101-davis"]()
    for recipe, epochs, num_labelled in ((vip, 40, 18_468), (davis, 50, 2079)):
        planned = scheduled(recipe, num_labelled).fit
        steps_an_epoch = planned.num_steps / epochs
        assert steps_an_epoch == pytest.approx(num_labelled / 8, abs=1)
        assert planned.optimiser is Optimiser.SGD
        assert planned.rate(int(19.9 * steps_an_epoch)) == pytest.approx(1e-3)
        assert planned.rate(int(20.1 * steps_an_epoch)) == pytest.approx(1e-4)
        assert planned.rate(planned.num_steps - 1) == pytest.approx(1e-4)
    assert max(vip.size) == vip.view.longer_side == 512
    assert davis.size == davis.view.crop == (384, 640)
    assert davis.needs < vip.needs


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such"], "no recipe named 'no-such'"),
        (["aten-overfit", "--resnet", "CHECKPOINT"], "stride_on_3x3"),
        (["aten-r50", "--resnet", "CHECKPOINT"], "does not fit ResNet"),
        (["aten-overfit", "--flownet", "CHECKPOINT"], "does not fit FlowNetS"),
        (["aten-overfit", "--from", "CHECKPOINT"], "does not fit ATEN"),
        (["flownet-s-reduced", "--resnet", "CHECKPOINT"], "has no ResNet"),
        (["aten-overfit", "--dla", "CHECKPOINT"], "has no DLA"),
        (["hvisnet-overfit", "--dla", "CHECKPOINT"], "does not fit DLA"),
        (["live-image", "--dla", "CHECKPOINT"], "--dla is for the papers' networks"),
        (["aten-r50", "--resnet", "nowhere.pth"], "nowhere.pth"),
        (["aten-overfit", "--steps", "0"], "num_steps"),
        (["aten-overfit", "--batch", "0"], "batch must be"),
        (["aten-overfit", "--minutes", "0"], "--minutes must be positive"),
        (["aten-overfit", "--tensorboard"], "--tensorboard is for the live network"),
        (["aten-overfit", "--videos", "."], "--videos is for the live network"),
        (["live-clip", "--videos", "."], "--videos is for live-flow"),
        (["aten-r50", "--format", "vip"], "no folder"),
        (["aten-r50", "--format", "coco"], "coco has no parts"),
        (["flownet-s", "--format", "davis"], "davis has no flow"),
        (["aten-r50", "--format", "imagenet"], "imagenet"),
        (["live-image", "--format", "vip"], "--format is for the papers' networks"),
    ],
)
def test_mistakes_end_with_status_2_and_say_what_is_wrong(
    arguments: list[str], told: str, ccp_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    save_tensors(checkpoint, {"x": torch.zeros(2)})
    given = [str(checkpoint) if argument == "CHECKPOINT" else argument for argument in arguments]
    with pytest.raises(SystemExit) as left:
        main(
            [*given, "--data", str(ccp_tree), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "c")]
        )
    assert left.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_said(ccp_tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["aten-overfit", "--device", "cuda", "--data", str(ccp_tree)])
    assert "this machine has 0 CUDA devices" in capsys.readouterr().err


@pytest.mark.parametrize(
    "bad", [{"num_steps": 0}, {"num_steps": 1, "drops": (0.5, 0.2)}, {"num_steps": 1, "learning_rate": 0}]
)
def test_schedules_that_cannot_be_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=list(bad)[-1]):
        FitConfig(**bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="segments"):
        SamplingConfig(length=0)
