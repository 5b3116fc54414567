"""Pictures without people: how they are cut, and who is counted in them."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from partstream_core.results import FrameResult, PartResult, PersonResult
from partstream_core.results_io import ndjson_line
from partstream_evaluation.ccp import validation_part_maps
from partstream_evaluation.empty.evaluate import EmptyReport, evaluate
from partstream_evaluation.empty.frames import EmptySources, draw, largest_rectangle
from partstream_evaluation.empty.recipe import ClipCrop, EmptyRecipe
from partstream_evaluation.evaluate.cli import app
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand

CLIP = ClipCrop("hall", "hall.gif", (10, 4, 30, 20), (1, 3))
MADE_ONLY = EmptyRecipe(clips=(CLIP,), photos=(), num_textures=2, num_gradients=1)
COMMAND = """#!{python}
import pathlib, shutil, sys
verb, *rest = sys.argv[1:]
assert verb == "parse" and "--independent" in rest
at = rest.index("-o")
for picture in map(pathlib.Path, rest[:at]):
    assert picture.stat().st_size
    folder = pathlib.Path(rest[at + 1]) / picture.stem
    folder.mkdir(parents=True)
    kind = picture.stem.split("-")[0]
    shutil.copy(pathlib.Path({answers!r}) / (kind + ".ndjson"), folder / "results.ndjson")
"""


def ghost(score: float) -> PersonResult:
    """Somebody who is not there."""
    return PersonResult(1, score, (1.0, 2.0, 3.0, 4.0), None, (PartResult("coat", score, 7, None),))


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, PartstreamCommand]:
    """A folder with a clip, and a command that sees two people in every texture and nobody elsewhere."""
    frames = [Image.new("RGB", (40, 24), (60 * number, 0, 0)) for number in range(4)]
    frames[0].save(tmp_path / "hall.gif", save_all=True, append_images=frames[1:])
    answers = {"hall": (), "texture": (ghost(0.5), ghost(0.8)), "gradient": ()}
    for kind, people in answers.items():
        (tmp_path / f"{kind}.ndjson").write_text(ndjson_line(FrameResult(0, 0.0, True, people)))
    path = tmp_path / "partstream"
    path.write_text(COMMAND.format(python=sys.executable, answers=str(tmp_path)))
    path.chmod(0o755)
    return tmp_path, PartstreamCommand(path)


def only(folder: Path) -> EmptySources:
    """One folder for everything."""
    return EmptySources(ccp=folder, videos=folder)


def measured(world: tuple[Path, PartstreamCommand], recipe: EmptyRecipe) -> EmptyReport:
    folder, command = world
    return evaluate(only(folder), command, recipe=recipe, pictures_dir=folder / "pictures")


def test_false_people_are_counted_by_kind_and_the_most_certain_stands_first(
    world: tuple[Path, PartstreamCommand],
) -> None:
    report = measured(world, MADE_ONLY)
    assert (report.num_pictures, report.num_false_people, report.num_pictures_with_people) == (5, 4, 2)
    assert report.false_people_per_100 == pytest.approx(80)
    assert report.by_kind == {"hall": (0, 2), "texture": (4, 2), "gradient": (0, 1)}
    assert [each.score for each in report.false_people] == [0.8, 0.8, 0.5, 0.5]
    assert report.false_people[0].area == 7
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["by_kind"]["texture"] == {"num_false_people": 4, "num_pictures": 2}


def test_the_same_recipe_draws_the_same_pictures_and_another_seed_draws_others(
    world: tuple[Path, PartstreamCommand],
) -> None:
    first, second = (measured(world, MADE_ONLY) for _ in range(2))
    assert replace(first, command="") == replace(second, command="")
    other = measured(world, replace(MADE_ONLY, seed=8))
    assert (other.recipe_sha256 != first.recipe_sha256) and (other.pictures_sha256 != first.pictures_sha256)


def test_crops_of_clips_are_the_frames_and_pixels_that_the_recipe_names(
    world: tuple[Path, PartstreamCommand],
) -> None:
    crops = list(draw(MADE_ONLY, only(world[0])))[:2]
    assert [each.name for each in crops] == ["hall-10-4-0001", "hall-10-4-0003"]
    assert all(each.image_HWC.shape == (16, 20, 3) for each in crops)
    assert [int(each.image_HWC[0, 0, 0]) for each in crops] == [60, 180]


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        (replace(CLIP, file="gone.gif"), "there is no clip"),
        (replace(CLIP, file="texture.ndjson"), "cannot decode"),
        (replace(CLIP, frames=(1, 4)), "ends before frame 4"),
        (replace(CLIP, box=(0, 0, 41, 10)), "is 24x40: too small for the crop"),
    ],
)
def test_another_clip_than_the_recipes_is_named(
    world: tuple[Path, PartstreamCommand], crop: ClipCrop, message: str
) -> None:
    pytest.importorskip("av", reason="videos are decoded by PyAV")
    with pytest.raises(ValueError, match=message):
        measured(world, replace(MADE_ONLY, clips=(crop,)))


@pytest.fixture
def one_photo(tmp_path: Path, data_dir: Path) -> Path:
    """A data folder of one photo, whose brightness is its column, with somebody in columns 100 to 149."""
    source = data_dir / "ccp"
    for name in ("photos", "labels"):
        (tmp_path / name).mkdir()
    shutil.copy(source / "label_list.txt", tmp_path)
    (tmp_path / "val.txt").write_text("0010\n")
    height, width = np.asarray(Image.open(source / "labels/0010.png")).shape
    labels = np.zeros((height, width), np.uint8)
    labels[:, 100:150] = 41
    Image.fromarray(labels).save(tmp_path / "labels/0010.png")
    columns = np.tile(np.arange(width) // 4, (height, 1)).astype(np.uint8)
    Image.fromarray(columns).convert("RGB").save(tmp_path / "photos/0010.jpg", quality=100)
    return tmp_path


def test_crops_of_photos_keep_away_from_everything_that_is_labelled_or_void(one_photo: Path) -> None:
    recipe = EmptyRecipe(clips=(), photos=("0010",), num_textures=0, num_gradients=0, photo_sides=(40, 40))
    (picture,) = draw(recipe, only(one_photo))
    ((_, parts),) = validation_part_maps(one_photo)
    left, right = (round(4 * float(picture.image_HWC[:, at].mean())) for at in (0, -1))
    assert right < 100 - 12 or left > 150 + 12, "brightness tells the column"
    assert picture.image_HWC.shape[1] >= 40
    assert (parts[:, 100:150] > 0).all()


def test_a_photo_that_is_not_in_the_list_is_named(one_photo: Path) -> None:
    with pytest.raises(ValueError, match=r"lacks 9999"):
        list(draw(EmptyRecipe(clips=(), photos=("9999",)), only(one_photo)))


def test_a_photo_that_is_damaged_is_named(one_photo: Path) -> None:
    (one_photo / "photos/0010.jpg").write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"0010\.jpg"):
        list(draw(EmptyRecipe(clips=(), photos=("0010",), photo_sides=(40, 40)), only(one_photo)))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_largest_rectangle_agrees_with_trying_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    free: NDArray[np.bool_] = rng.random((5, 6)) < 0.75
    best = 0
    for top, left in np.ndindex(5, 6):
        for bottom in range(top + 1, 6):
            for right in range(left + 1, 7):
                if free[top:bottom, left:right].all():
                    best = max(best, (bottom - top) * (right - left))
    top, left, bottom, right = largest_rectangle(free)
    assert (bottom - top) * (right - left) == best
    assert free[top:bottom, left:right].all()


def test_no_data_is_one_line_of_error(world: tuple[Path, PartstreamCommand]) -> None:
    folder, command = world
    line = ["empty", "--data", str(folder), "--videos", str(folder), "--partstream", str(command.executable)]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: there is no clip")


def test_a_command_that_leaves_nothing_is_an_error(
    world: tuple[Path, PartstreamCommand],
) -> None:
    command = world[1]
    command.executable.write_text(f"#!{sys.executable}\n")
    with pytest.raises(EvaluationError, match="no results for"):
        measured(world, MADE_ONLY)


def test_clips_of_things_and_backdrops_are_taken_in_where_their_folders_are_given(
    world: tuple[Path, PartstreamCommand],
) -> None:
    folder = world[0]
    (folder / "backdrops/views").mkdir(parents=True)
    for name in ("wood", "far_01", "far_02"):
        Image.new("RGB", (30, 20)).save(folder / f"backdrops/views/{name}.jpg")
    Image.new("RGBA", (30, 20)).save(folder / "backdrops/thing.png")
    recipe = replace(MADE_ONLY, clips=(), nobody_clips=(CLIP,), backdrops_left_out=("far_",), num_textures=0)
    sources = replace(only(folder), nobody=folder, backdrops=folder / "backdrops")
    kinds = [each.kind for each in draw(recipe, sources)]
    assert kinds == ["hall", "hall", "views", "gradient"]
    assert [each.kind for each in draw(recipe, only(folder))] == ["gradient"]
    (folder / "backdrops/views/wood.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"cannot read the backdrop .*wood\.jpg"):
        list(draw(recipe, sources))
    with pytest.raises(ValueError, match="there is no backdrop"):
        list(draw(recipe, replace(sources, backdrops=folder / "nowhere")))


@pytest.mark.long
def test_all_sources_together_are_more_than_three_hundred_pictures(data_dir: Path) -> None:
    pytest.importorskip("av", reason="videos are decoded by PyAV")
    folders = EmptySources(
        ccp=data_dir / "ccp",
        videos=data_dir / "videos",
        nobody=data_dir / "videos/more/nobody",
        backdrops=data_dir / "backdrops",
    )
    names = [picture.name for picture in draw(EmptyRecipe(), folders)]
    assert len(names) == len(set(names)) >= 300
    assert sum(name.startswith(("bolt", "bottle", "car", "fruit")) for name in names) > 100


def test_the_recipe_of_the_package_has_more_than_a_hundred_pictures() -> None:
    recipe = EmptyRecipe()
    made = recipe.num_textures + recipe.num_gradients
    assert sum(len(crop.frames) for crop in recipe.clips) + len(recipe.photos) + made > 100
