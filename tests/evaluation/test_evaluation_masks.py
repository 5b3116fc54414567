"""`partstream-evaluate masks` with pictures, masks and a partstream command made up on the spot."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from partstream_evaluation.evaluate.cli import app
from partstream_evaluation.masks.score import score_picture, summarise
from partstream_evaluation.masks.truth import read_folders
from partstream_evaluation.metrics.davis import region_iou

BoolArray = NDArray[np.bool_]
SIZE = (24, 40)
# Its answer for a picture is what is brighter than a level: one person for each of two levels.
COMMAND = """#!{python}
import pathlib, sys
import numpy as np
from PIL import Image
from partstream_core.results import FrameResult, PersonResult
from partstream_core.results_io import ndjson_line
from partstream_core.rle import encode

verb, *rest = sys.argv[1:]
at = rest.index("-o")
output = pathlib.Path(rest[at + 1])
pathlib.Path({log!r}).write_text(" ".join(rest[at + 2:]))

def people(path):
    grey = np.asarray(Image.open(path).convert("L"))
    masks = [(grey > 200), (grey > 80) & (grey < 200)]
    return tuple(
        PersonResult(number, 0.9, (0.0, 0.0, 1.0, 1.0), encode(mask), ())
        for number, mask in enumerate(masks, start=1) if mask.any()
    )

def write(name, frames):
    (output / name).mkdir(parents=True)
    lines = [ndjson_line(FrameResult(at, 0.0, True, each)) for at, each in enumerate(frames)]
    (output / name / "results.ndjson").write_text("".join(lines[:{most}]))

for folder in map(pathlib.Path, rest[:at]):
    paths = sorted(folder.iterdir())
    if "--independent" in rest:
        for path in paths:
            write(path.stem, [people(path)])
    else:
        write(folder.name, [people(path) for path in paths])
"""


def box(left: int, right: int) -> BoolArray:
    """Some columns of the picture."""
    mask = np.zeros(SIZE, bool)
    mask[:, left:right] = True
    return mask


@dataclass(frozen=True)
class World:
    """Folders of pictures and masks, and a command that sees what is bright."""

    root: Path
    command: Path
    log: Path

    def add(self, name: str, *people: BoolArray, truth: BoolArray) -> None:
        """A picture in which the command will find these people."""
        grey = np.zeros(SIZE, np.uint8)
        for level, mask in zip((255, 140), people, strict=False):
            grey[mask] = level
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).convert("RGB").save(path.with_suffix(".bmp"))
        Image.fromarray(truth.astype(np.uint8) * 255).save(path.with_suffix(".png"))

    def write_command(self, *, most: int = 99) -> None:
        """Put the command where it is looked for; it writes at most so many frames of each source."""
        self.command.write_text(COMMAND.format(python=sys.executable, log=str(self.log), most=most))
        self.command.chmod(0o755)

    def evaluate(self, *options: str) -> Result:
        """Run the evaluation."""
        given = ["masks", "--truth", str(self.root), "--partstream", str(self.command), *options]
        return CliRunner().invoke(app, given, env={"COLUMNS": "200"})


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A clip of an annotated person with a passer-by, and a folder of one still."""
    made = World(tmp_path / "truth", tmp_path / "partstream", tmp_path / "options.txt")
    for number in (2, 10):
        made.add(f"davis/walk/{number}", box(0, 10), box(20, 40), truth=box(0, 10))
    made.add("stills/a", box(0, 10), truth=box(0, 20))
    made.write_command()
    return made


def test_people_whom_the_truth_does_not_know_count_in_one_figure_only(world: World) -> None:
    done = world.evaluate("--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    walk, stills = report["folders"]["davis/walk"], report["folders"]["stills"]
    assert (walk["person_iou"], walk["single"], walk["num_pictures"]) == (1, 1, 2)
    assert walk["everybody"] == pytest.approx(10 / 30)
    assert (stills["person_iou"], stills["everybody"], stills["num_missed"]) == (0.5, 0.5, 0)
    assert report["pictures"]["stills/a"]["num_people"] == 1
    assert list(report["pictures"]) == ["davis/walk/2", "davis/walk/10", "stills/a"], "10 is after 2"
    assert "--independent" in world.log.read_text()


def test_a_folder_can_be_a_clip_and_schedules_are_passed_on(world: World) -> None:
    report = json.loads(world.evaluate("--json", "--clips", "--schedule", "every-frame").stdout)
    assert report["folders"]["davis/walk"]["person_iou"] == 1
    assert report["as_clips"] is True
    options = world.log.read_text()
    assert "--independent" not in options and "--schedule every-frame" in options


@pytest.mark.parametrize("turn", ["90", "180", "270"])
def test_a_turned_picture_is_compared_with_its_turned_mask(world: World, turn: str) -> None:
    upright, turned = (
        json.loads(world.evaluate("--json", *given).stdout) for given in ((), ("--turn", turn))
    )
    assert turned["folders"] == upright["folders"]
    assert turned["truth_sha256"] == upright["truth_sha256"]
    assert (turned["turn"], upright["turn"]) == (int(turn), 0)


def test_the_report_draws_the_worst_first(world: World, tmp_path: Path) -> None:
    world.add("stills/b", truth=box(0, 20))
    page = tmp_path / "report" / "page.html"
    done = world.evaluate("--report", str(page))
    assert done.exit_code == 0, done.stderr
    text = page.read_text()
    assert text.count("<figure>") == 4
    assert text.index("stills/b, person IoU 0.000") < text.index("stills/a, person IoU 0.500")
    assert "stills/b" in done.stdout


def fault_cut_short(world: World) -> None:
    world.write_command(most=0)


def fault_no_mask(world: World) -> None:
    (world.root / "stills/a.png").unlink()


def fault_no_picture(world: World) -> None:
    (world.root / "stills/a.bmp").unlink()


def fault_two_pictures(world: World) -> None:
    (world.root / "stills/a.jpg").write_bytes((world.root / "stills/a.bmp").read_bytes())


def fault_damaged_mask(world: World) -> None:
    (world.root / "stills/a.png").write_bytes(b"no mask")


def fault_other_size(world: World) -> None:
    Image.new("L", (7, 5)).save(world.root / "stills/a.png")


FAULTS = {
    "its results hold 0": fault_cut_short,
    "has no mask a.png": fault_no_mask,
    "has no picture beside it": fault_no_picture,
    "have one name": fault_two_pictures,
    "cannot read the label map": fault_damaged_mask,
    "is 24x40, its mask": fault_other_size,
}


@pytest.mark.parametrize("message", FAULTS)
@pytest.mark.parametrize("options", [(), ("--clips",)])
def test_what_cannot_be_measured_is_a_clear_error(
    world: World, message: str, options: tuple[str, ...]
) -> None:
    FAULTS[message](world)
    done = world.evaluate("--json", *options)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_turn_that_is_no_quarter_and_an_empty_folder_are_refused(world: World, tmp_path: Path) -> None:
    assert "pictures can be turned by" in world.evaluate("--turn", "45").stderr
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="holds no pictures"):
        read_folders(tmp_path / "bare")
    with pytest.raises(ValueError, match="there is no folder"):
        read_folders(tmp_path / "nowhere")


def test_one_person_found_in_pieces_loses_nothing_but_counts_once_as_a_single() -> None:
    score = score_picture(box(0, 20), [box(0, 12), box(12, 20)])
    assert (score.person.iou, score.single.iou, score.num_counted) == (1, 0.6, 2)


def test_the_person_who_overlaps_best_counts_although_mostly_outside() -> None:
    score = score_picture(box(0, 10), [box(0, 30), box(30, 40)])
    assert score.person.iou == pytest.approx(1 / 3)
    assert score.num_counted == 1


def test_people_beside_the_truth_never_count() -> None:
    score = score_picture(box(0, 10), [box(20, 40)])
    assert (score.person.iou, score.num_counted, score.everybody.iou) == (0, 0, 0)


def test_where_nobody_is_everybody_found_is_wrong() -> None:
    nobody = np.zeros(SIZE, bool)
    assert score_picture(nobody, []).person.iou == 1
    assert score_picture(nobody, [box(0, 3)]).person.iou == 0


def test_folders_are_means_over_pictures_and_pools_sums_over_pixels() -> None:
    scores = [score_picture(box(0, 40), [box(0, 40)]), score_picture(box(0, 4), [box(0, 1)])]
    summary = summarise(scores)
    assert summary.person_iou == pytest.approx((1 + 0.25) / 2)
    assert summary.pooled == pytest.approx(41 / 44)
    assert summary.num_missed == 1
    with pytest.raises(ValueError, match="no picture"):
        summarise([])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_single_and_everybody_agree_with_the_region_metric(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((6, 7)) < 0.5
    owner = rng.integers(0, 4, (6, 7))
    masks = [owner == person for person in (1, 2, 3)]
    score = score_picture(truth, masks)
    if truth.any():
        assert score.single.iou == pytest.approx(max(region_iou(truth, mask) for mask in masks))
    assert score.everybody.iou == pytest.approx(region_iou(truth, owner > 0))
    assert score.num_counted <= score.num_people == 3


@pytest.mark.slow
def test_the_shipped_bundle_finds_the_hiker(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("partstream_server", reason="the partstream command is the server's")
    for name in ("00000", "00040"):
        for suffix in (".jpg", ".png"):
            source = data_dir / "check/davis/hike" / f"{name}{suffix}"
            (tmp_path / source.name).symlink_to(source)
    done = CliRunner().invoke(app, ["masks", "--truth", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["folders"][tmp_path.name]["person_iou"] > 0.7
