"""The commands of partstream-models: what they write, and how they tell a mistake."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from partstream_core.labels import PALETTE
from partstream_evaluation.ccp import sha256_of, validation_ids, validation_part_maps
from partstream_models.commands import body_hints as validation_hints
from partstream_models.commands import contact_sheet, part_labels, train
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.networks.checkpoints import load_tensors, save_tensors
from partstream_models.networks.live import LiveNetwork
from partstream_models.training.live_recipes import RECIPES

Command = Callable[[list[str]], None]


def status(command: Command, *arguments: str | Path) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        command([str(argument) for argument in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_the_list_of_recipes_needs_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(train.main, "--list") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in RECIPES)


@pytest.mark.parametrize("command", [train.main, contact_sheet.main, part_labels.main, validation_hints.main])
def test_every_command_has_help_and_misses_its_options(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(command, "--help") == 0
    assert "--data" in capsys.readouterr().out
    assert status(command) == 2


def test_a_missing_data_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--data", tmp_path / "none", "--out", tmp_path / "out")
    assert status(part_labels.main, *arguments) == 2
    assert status(contact_sheet.main, *arguments) == 2
    assert status(train.main, "live-image", *arguments, "--weights", tmp_path) == 2
    assert capsys.readouterr().err.count("--data") >= 3
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def plain_train(ccp_tree: Path, photo_cache_dir: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    """Options of a training run that would work but for weights that are not there."""
    return (
        "--data", ccp_tree, "--weights", tmp_path, "--cache", photo_cache_dir, "--out", tmp_path / "run",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "more", "message"),
    [
        ("life-image", (), "no recipe named 'life-image'; there are live-image"),
        ("live-image", ("--minutes", "0"), "--minutes must be positive"),
        ("live-image", ("--device", "toaster"), "no such device: 'toaster'"),
        ("live-image", ("--device", "cuda:99"), "this machine has"),
        ("live-image", ("--device", "meta"), "must be cpu, cuda or cuda:N"),
        ("live-image", (), "no pretrained weights at"),
    ],
)
def test_a_mistake_in_a_training_command_is_one_line_and_status_2(
    recipe: str,
    more: tuple[str, ...],
    message: str,
    plain_train: tuple[str | Path, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status(train.main, recipe, *plain_train, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_does_not_fit_is_told_before_anything_starts(
    plain_train: tuple[str | Path, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "odd.safetensors"
    save_tensors(checkpoint, {"x": torch.zeros(1)})
    assert status(train.main, "live-image", *plain_train, "--from", checkpoint) == 2
    assert "does not fit LiveNetwork" in capsys.readouterr().err
    checkpoint.write_bytes(b"something else")
    assert status(train.main, "live-image", *plain_train, "--from", checkpoint) == 2
    assert "is not a checkpoint" in capsys.readouterr().err
    assert status(train.main, "live-image", *plain_train, "--from", tmp_path / "none") == 2


def test_a_folder_that_is_not_ccp_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(part_labels.main, "--data", tmp_path, "--out", tmp_path / "out") == 2
    assert "label list" in capsys.readouterr().err
    assert status(contact_sheet.main, "--data", tmp_path, "--out", tmp_path / "sheet.png") == 2
    assert "val.txt" in capsys.readouterr().err


@pytest.mark.slow
def test_a_training_command_leaves_weights_and_a_log(
    data_dir: Path, ccp_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "live-image-quick", "--data", ccp_tree, "--weights", data_dir / "weights", "--out", tmp_path / "run",
        "--cache", tmp_path / "cache", "--minutes", "0.0001", "--threads", "1", "--workers", "0",
    )  # fmt: skip
    assert status(train.main, *arguments) == 0
    assert "8 photos, 0 skipped" in capsys.readouterr().out
    tensors, notes = load_tensors(tmp_path / "run" / "average.safetensors")
    assert notes["step"] == 1
    assert set(tensors) == set(LiveNetwork().state_dict())


def test_a_contact_sheet_depends_on_its_seed_alone(
    ccp_tree: Path, photo_cache_dir: Path, tmp_path: Path
) -> None:
    def sheet(seed: int, name: str) -> bytes:
        arguments = ("--seed", str(seed), "--scenes", "4", "--size", "64", "--cache", photo_cache_dir)
        out = tmp_path / "sheets" / name
        assert status(contact_sheet.main, "--data", ccp_tree, "--out", out, *arguments) == 0
        with Image.open(out) as picture:
            assert (picture.size, picture.mode) == ((2 * 3 * 64, 2 * 64), "RGB")
        return out.read_bytes()

    first = sheet(1, "a.png")
    assert first == sheet(1, "b.png")
    assert first != sheet(2, "c.png")


def test_a_contact_sheet_shows_the_clip_of_a_number(
    ccp_tree: Path, photo_cache_dir: Path, tmp_path: Path
) -> None:
    found = []
    for number in ("3", "3", "4"):
        out = tmp_path / "clip.png"
        arguments = ("--clip", number, "--size", "64", "--cache", photo_cache_dir, "--out", out)
        assert status(contact_sheet.main, "--data", ccp_tree, *arguments) == 0
        with Image.open(out) as picture:
            assert picture.size == (ClipConfig().num_frames * 64, 4 * 64)
        found.append(out.read_bytes())
    assert found[0] == found[1] != found[2]


def test_a_sheet_shows_the_scene_its_parts_and_its_people(photos: PhotoCache) -> None:
    scenes = contact_sheet.draw_scenes(photos, seed=5, num_scenes=4, size=64)
    picture = contact_sheet.sheet(scenes)
    for number, scene in enumerate(scenes):
        row, column = divmod(number, 2)
        cell = picture[64 * row : 64 * row + 64, 192 * column : 192 * column + 192]
        assert np.array_equal(cell[:, :64], scene.image_HWC)
        known = scene.parts_HW < 20
        assert np.array_equal(cell[:, 64:128][known], PALETTE[scene.parts_HW][known])


def test_a_sheet_of_an_odd_number_is_refused(
    ccp_tree: Path, photo_cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--data", ccp_tree, "--cache", photo_cache_dir, "--out", tmp_path / "a.png")
    assert status(contact_sheet.main, *arguments, "--scenes", "3") == 2
    assert "must be even, got 3" in capsys.readouterr().err


def test_without_a_cache_a_sheet_asks_for_the_weights(
    ccp_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--data", ccp_tree, "--cache", tmp_path / "cache", "--out", tmp_path / "a.png")
    assert status(contact_sheet.main, *arguments) == 2
    assert "--weights" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def few_validation_photos(data_dir: Path, folder: Path, count: int) -> tuple[str, ...]:
    """The real CCP folder with a list of a few of its validation photos."""
    folder.mkdir()
    for name in ("photos", "labels", "label_list.txt"):
        (folder / name).symlink_to(data_dir / "ccp" / name)
    ids = validation_ids(data_dir / "ccp")[:count]
    (folder / "val.txt").write_text("\n".join(ids))
    return ids


def read_map(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.mode == "P"
        palette = picture.getpalette()
        assert palette is not None
        assert palette[: 20 * 3] == PALETTE[:20].ravel().tolist()
        return np.array(picture)


def test_validation_labels_are_written_hashed_and_held_against_the_record(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = few_validation_photos(data_dir, tmp_path / "ccp", 2)
    arguments = ("--data", tmp_path / "ccp", "--out", tmp_path / "maps")
    assert status(part_labels.main, *arguments) == 1  # the recorded hash is that of all 100
    printed = capsys.readouterr()
    truth = dict(validation_part_maps(tmp_path / "ccp"))
    assert sorted(path.stem for path in (tmp_path / "maps").iterdir()) == sorted(ids)
    assert all(np.array_equal(read_map(tmp_path / "maps" / f"{name}.png"), truth[name]) for name in ids)
    assert f"sha256 {sha256_of(truth.items())}" in printed.out
    assert "the recorded maps have sha256" in printed.err


def test_training_labels_need_the_weights(
    data_dir: Path, ccp_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--data", ccp_tree, "--out", tmp_path, "--split", "train")
    assert status(part_labels.main, *arguments) == 2
    assert "--weights" in capsys.readouterr().err
    assert status(part_labels.main, *arguments, "--weights", data_dir / "weights") == 0
    assert "8 part maps" in capsys.readouterr().out
    assert read_map(tmp_path / "0001.png").shape == (176, 112)
    assert not (tmp_path / "0003.png").exists()


def test_hints_are_made_anew_and_held_against_the_shipped_ones(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = few_validation_photos(data_dir, tmp_path / "ccp", 1)
    out = tmp_path / "hints.npz"
    arguments = ("--data", tmp_path / "ccp", "--weights", data_dir / "weights", "--out", out)
    assert status(validation_hints.main, *arguments) == 0
    assert "1 hint grids" in capsys.readouterr().out
    first = out.read_bytes()
    with np.load(out) as grids:
        made = {name: grids[name] for name in grids.files}
    assert tuple(made) == ids
    total = sum(grid.size for grid in made.values())
    assert validation_hints.num_different(made, validation_hints.shipped_hints()) <= 0.002 * total
    assert status(validation_hints.main, *arguments) == 0
    assert out.read_bytes() == first
