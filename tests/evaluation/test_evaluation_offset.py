"""The offset of masks: the translation between two, and the command that mirrors and flips pictures."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from partstream_evaluation.evaluate.cli import app
from partstream_evaluation.offset.measure import translation

BoolArray = NDArray[np.bool_]
SIZE = (120, 160)
# It finds what is bright, and moves every mask by a fixed number of pixels.
COMMAND = """#!{python}
import pathlib, sys
import numpy as np
from PIL import Image
from partstream_core.results import FrameResult, PersonResult
from partstream_core.results_io import ndjson_line
from partstream_core.rle import encode

verb, *rest = sys.argv[1:]
at = rest.index("-o")
for path in map(pathlib.Path, rest[:at]):
    mask = np.roll(np.asarray(Image.open(path).convert("L")) > 128, {moved}, axis=(0, 1))
    people = (PersonResult(1, 0.9, (0.0, 0.0, 1.0, 1.0), encode(mask), ()),) if mask.any() else ()
    folder = pathlib.Path(rest[at + 1]) / path.stem
    folder.mkdir(parents=True)
    (folder / "results.ndjson").write_text(ndjson_line(FrameResult(0, 0.0, True, people)))
"""


def figure(seed: int, right: float = 0.0, down: float = 0.0) -> BoolArray:
    """Overlapping ellipses, moved by any distance."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    mask = np.zeros(SIZE, bool)
    for _ in range(4):
        x, y = rng.uniform(60, 100), rng.uniform(45, 75)
        wide, high = rng.uniform(12, 32, 2)
        mask |= ((columns - right - x) / wide) ** 2 + ((rows - down - y) / high) ** 2 < 1
    return mask


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(-3, 3), st.floats(-3, 3))
def test_a_translation_is_found_to_a_fraction_of_a_pixel(seed: int, right: float, down: float) -> None:
    found = translation(figure(seed), figure(seed, right, down))
    assert found is not None
    assert found.x == pytest.approx(right, abs=0.2)
    assert found.y == pytest.approx(down, abs=0.2)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000))
def test_what_one_mask_has_more_hardly_counts(seed: int) -> None:
    first, second = figure(seed), figure(seed, 1.0, -0.5)
    second[50:70, 110:140] = True
    found = translation(first, second)
    assert found is not None
    assert (found.x, found.y) == pytest.approx((1.0, -0.5), abs=0.25)


def test_masks_without_contours_tell_nothing() -> None:
    nobody, everywhere = np.zeros(SIZE, bool), np.ones(SIZE, bool)
    assert translation(nobody, nobody) is None
    assert translation(everywhere, everywhere) is None
    stripe = np.zeros(SIZE, bool)
    stripe[:, 40:80] = True
    assert translation(stripe, stripe) is None, "it may have moved up or down"
    with pytest.raises(ValueError, match="one size"):
        translation(nobody, np.zeros((3, 4), bool))


def measured(tmp_path: Path, moved: tuple[int, int], *options: str) -> dict[str, object]:
    """The report on three figures, of a command that moves masks down and to the right."""
    (tmp_path / "pictures").mkdir()
    for seed in range(3):
        picture = Image.fromarray(figure(seed).astype(np.uint8) * 255)
        picture.convert("RGB").save(tmp_path / f"pictures/{seed}.bmp")
        picture.save(tmp_path / f"pictures/{seed}.png")
    command = tmp_path / "partstream"
    command.write_text(COMMAND.format(python=sys.executable, moved=moved))
    command.chmod(0o755)
    line = ["offset", "--pictures", str(tmp_path / "pictures"), "--partstream", str(command), "--json"]
    done = CliRunner().invoke(app, [*line, *options])
    assert done.exit_code == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


def axis(document: dict[str, object], name: str) -> dict[str, float]:
    """The figures of one axis."""
    found = document[name]
    assert isinstance(found, dict)
    return found


def test_masks_that_lie_left_and_low_are_told_in_network_pixels(tmp_path: Path) -> None:
    document = measured(tmp_path, (1, -2), "--network-side", "80")
    assert axis(document, "x")["median"] == pytest.approx(-2 * 80 / 160, abs=0.05)
    assert axis(document, "y")["median"] == pytest.approx(1 * 80 / 160, abs=0.05)
    assert axis(document, "x")["num_people"] == axis(document, "y")["num_people"] == 3
    assert document["num_pictures"] == 3, "PNG files may be masks"
    assert document["holds"] is False


def test_masks_that_lie_right_hold(tmp_path: Path) -> None:
    document = measured(tmp_path, (0, 0))
    assert abs(axis(document, "x")["mean"]) < 0.01
    assert document["holds"] is True


def test_nobody_found_is_null_and_does_not_hold(tmp_path: Path) -> None:
    (tmp_path / "blank").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "blank/a.bmp")
    measured(tmp_path, (0, 0))
    line = ["offset", "--pictures", str(tmp_path / "blank"), "--partstream", str(tmp_path / "partstream")]
    document = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)
    assert axis(document, "x") == {"median": None, "mean": None, "standard_error": None, "num_people": 0}
    assert document["holds"] is False


def test_no_pictures_or_damaged_ones_are_one_line_of_error(tmp_path: Path) -> None:
    (tmp_path / "partstream").write_text("")
    (tmp_path / "partstream").chmod(0o755)
    line = ["offset", "--pictures", str(tmp_path), "--partstream", str(tmp_path / "partstream")]
    assert CliRunner().invoke(app, line).stderr.startswith("error: there is no picture in")
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    assert "cannot read the picture" in CliRunner().invoke(app, line).stderr
