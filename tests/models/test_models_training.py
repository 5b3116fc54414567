"""The training loop: it runs, goes on where it stood, and refuses what does not belong to it."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from partstream_models.data.batches import BatchConfig, CacheStatistics, cache_statistics
from partstream_models.data.photos.cache import HintSource, PhotoCache
from partstream_models.networks.checkpoints import load_network, load_tensors, save_tensors
from partstream_models.networks.live import LiveNetwork
from partstream_models.training import live_loop as loop
from partstream_models.training.live_loop import RunOptions, train
from partstream_models.training.live_recipes import RECIPES, Recipe
from partstream_models.training.live_tasks import make_live_task, pyramid_error
from partstream_models.training.log import RunLog

TINY = Recipe(name="tiny", num_steps=3, warmup_steps=1, batches=BatchConfig(batch_size=2, sizes=((64, 64),)))
Trainer = Callable[..., Path]


@pytest.fixture(scope="module")
def statistics(photos: PhotoCache, tmp_path_factory: pytest.TempPathFactory) -> CacheStatistics:
    return cache_statistics(photos, tmp_path_factory.mktemp("counts"))


@pytest.fixture(scope="module")
def run(photos: PhotoCache, statistics: CacheStatistics) -> Trainer:
    """Trains in a folder, in this process and on one thread."""

    def trainer(
        folder: Path,
        recipe: Recipe = TINY,
        *,
        minutes: float | None = None,
        start_from: Path | None = None,
        using: CacheStatistics = statistics,
    ) -> Path:
        options = RunOptions(
            output_dir=folder, minutes=minutes, start_from=start_from, num_threads=1, num_workers=0
        )
        return train(recipe, photos, using, options)

    return trainer


@pytest.fixture(scope="module")
def finished(run: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three steps."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


def state(folder: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    return load_tensors(folder / "state.safetensors")


def test_a_run_ends_after_its_steps_with_finite_weights(finished: Path) -> None:
    tensors, notes = state(finished)
    assert (notes["recipe"], notes["step"], notes["skipped"]) == ("tiny", 3, 0)
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values() if tensor.is_floating_point())


def test_the_averaged_weights_fit_the_network(finished: Path) -> None:
    network = LiveNetwork().eval()
    load_network(network, finished / "average.safetensors")
    with torch.no_grad():
        dense = network(torch.zeros(1, 3, 64, 64))
    assert all(torch.isfinite(output).all() for output in dense)


def test_training_changes_the_weights_that_may_change(finished: Path) -> None:
    torch.manual_seed(TINY.seed)
    fresh = LiveNetwork().state_dict()
    tensors, _ = state(finished)
    frozen = ("backbone.trunk.", "joints.")
    for name, before in fresh.items():
        if "num_batches_tracked" in name or name.startswith(
            "heads.detection."
        ):  # no large people at this size
            continue
        unchanged = torch.equal(tensors[f"network.{name}"], before)
        assert unchanged == name.startswith(frozen), name


def test_a_finished_run_goes_no_further_and_loses_nothing(
    finished: Path, run: Trainer, tmp_path: Path
) -> None:
    for name in ("state.safetensors", "average.safetensors"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    run(tmp_path)
    before, notes_before = state(finished)
    after, notes_after = state(tmp_path)
    assert notes_after == notes_before
    assert set(after) == set(before)
    assert any(name.startswith("optimiser.") and name.endswith("exp_avg_sq") for name in before)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    averages = (load_tensors(folder / "average.safetensors")[0] for folder in (finished, tmp_path))
    one, other = averages
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_was_cut_short_ends_where_one_in_a_piece_does(
    finished: Path, run: Trainer, tmp_path: Path
) -> None:
    run(tmp_path, minutes=1e-6)  # over after its first step
    assert state(tmp_path)[1]["step"] == 1
    run(tmp_path)
    tensors, notes = state(tmp_path)
    assert notes["step"] == 3
    whole, _ = state(finished)
    assert set(tensors) == set(whole)
    for name, tensor in whole.items():
        if name.endswith((".step", "num_batches_tracked")):
            assert torch.equal(tensors[name], tensor), name
    # The mask loss picks rows in a random order, so sums differ in their last bits and what follows a little.
    for ending in ("exp_avg", "running_mean", "weight", "bias"):
        one, other = (
            torch.cat([values[name].flatten() for name in sorted(whole) if name.endswith(ending)])
            for values in (whole, tensors)
        )
        assert (one - other).norm() < 0.1 * one.norm(), ending


@pytest.fixture(scope="module")
def movenet(data_dir: Path) -> Path:
    return data_dir / "weights" / "movenet_multipose.npz"


def test_a_trunk_learns_beside_the_public_one_which_holds_its_pyramid(
    photos: PhotoCache, statistics: CacheStatistics, movenet: Path, tmp_path: Path
) -> None:
    recipe = replace(TINY, name="trunk", trained_blocks=17)
    options = RunOptions(output_dir=tmp_path, pretrained=movenet, num_threads=1, num_workers=0)
    train(recipe, photos, statistics, options)
    public = LiveNetwork()
    public.load_pretrained(movenet)
    tensors, notes = state(tmp_path)
    assert (notes["step"], notes["skipped"]) == (3, 0)
    for name, before in public.state_dict().items():
        learns = name.startswith(("backbone.trunk.blocks.", "backbone.trunk.stem.", "backbone.trunk.last."))
        if name.startswith(("backbone.trunk.", "joints.")):
            assert torch.equal(tensors[f"network.{name}"], before) != learns, name


def test_a_trunk_that_learns_needs_the_public_one_beside_it(run: Trainer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs MoveNet's weights"):
        run(tmp_path, replace(TINY, name="trunk", trained_blocks=1))


def test_the_term_that_holds_the_pyramid_is_its_relative_error() -> None:
    public = torch.rand(2, 24, 8, 8) + 0.5
    assert pyramid_error(public, public) == 0
    moved = public.clone()
    moved[0] *= 1.5
    assert float(pyramid_error(moved, public)) == pytest.approx(0.25 / 2)


def test_the_pyramid_is_held_in_one_step_of_so_many_with_their_whole_weight(
    photos: PhotoCache, statistics: CacheStatistics, movenet: Path
) -> None:
    def terms(every: int) -> list[float]:
        recipe = replace(TINY, name="trunk", trained_blocks=17, keep_joints_every=every)
        task = make_live_task(recipe, photos, statistics, "cpu", pretrained=movenet)
        network = LiveNetwork().eval()
        network.load_pretrained(movenet)
        with torch.no_grad():
            network.backbone.trunk.stem.weight *= 1.01
            batch = next(task.stream(first=0, num_workers=0))
            return [float(task.terms(network, batch).get("joints", 0.0)) for _ in range(4)]

    always, once = terms(1), terms(4)
    assert min(always) > 0
    assert once == pytest.approx([0.0, 0.0, 0.0, sum(always)], rel=1e-4)


def test_another_recipe_is_refused_in_the_same_folder(finished: Path, run: Trainer) -> None:
    with pytest.raises(ValueError, match="belongs to recipe 'tiny', not 'other'"):
        run(finished, replace(TINY, name="other"))
    assert state(finished)[1]["recipe"] == "tiny"


def test_other_photos_are_refused_in_the_same_folder(
    finished: Path, ccp_tree: Path, tmp_path: Path, make_hints: HintSource, statistics: CacheStatistics
) -> None:
    few = PhotoCache(ccp_tree, tmp_path, ["0001", "0002"], make_hints)
    options = RunOptions(output_dir=finished, num_threads=1, num_workers=0)
    with pytest.raises(ValueError, match="another network or other data"):
        train(TINY, few, statistics, options)


def test_a_run_starts_from_a_checkpoint_if_asked(finished: Path, run: Trainer, tmp_path: Path) -> None:
    given = finished / "average.safetensors"
    still = replace(TINY, num_steps=1, learning_rate=1e-30)
    run(tmp_path, still, start_from=given)
    tensors, _ = load_tensors(tmp_path / "average.safetensors")
    for name, before in load_tensors(given)[0].items():
        if "running_" not in name and "num_batches" not in name:
            assert torch.allclose(tensors[name], before), name


def test_a_checkpoint_of_something_else_is_refused(run: Trainer, tmp_path: Path) -> None:
    save_tensors(tmp_path / "odd.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="does not fit LiveNetwork"):
        run(tmp_path / "run", start_from=tmp_path / "odd.safetensors")


def test_batches_without_a_finite_loss_are_skipped_and_counted(
    run: Trainer, statistics: CacheStatistics, tmp_path: Path
) -> None:
    spoilt = replace(statistics, class_weights=np.full_like(statistics.class_weights, np.nan))
    run(tmp_path, using=spoilt)
    tensors, notes = state(tmp_path)
    assert (notes["step"], notes["skipped"]) == (3, 3)
    torch.manual_seed(TINY.seed)
    for name, parameter in LiveNetwork().named_parameters():
        assert torch.equal(tensors[f"network.{name}"], parameter), name


def test_a_log_has_a_row_every_few_steps(
    run: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    run(tmp_path, replace(TINY, num_steps=2))
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert header.startswith("step,seconds,skipped,total,score,parts")
    assert [row.split(",")[0] for row in rows] == ["1", "2"]
    assert all(float(row.split(",")[3]) > 0 for row in rows)


def test_tensorboard_shows_the_losses_that_the_log_holds(tmp_path: Path) -> None:
    log = RunLog(tmp_path, tensorboard=True)
    for step in (20, 40):
        log.write(step, 1.0, 0, {"total": 1 / step, "score": 0.5})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(point.step, point.value) for point in events.Scalars("loss/total")] == [
        (20, pytest.approx(0.05)), (40, pytest.approx(0.025)),
    ]  # fmt: skip
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_tensorboard_that_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"partstream-models\[tensorboard\]"):
        RunLog(tmp_path, tensorboard=True)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_go_by_their_names_and_say_what_they_are_for(name: str) -> None:
    recipe = RECIPES[name]()
    assert recipe.name == name
    assert recipe == RECIPES[name]()
    assert RECIPES[name].__doc__


@pytest.mark.parametrize(("field", "value"), [("num_steps", 0), ("ema_decay", 1.0), ("ema_decay", -0.1)])
def test_a_recipe_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value}"):
        replace(TINY, **{field: value})  # type: ignore[arg-type]
