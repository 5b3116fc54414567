"""`partstream-evaluate ccp` with photos, labels and a partstream command made up on the spot."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from partstream_core.labels import PARTS
from partstream_core.results import FrameResult, PartResult, PersonResult
from partstream_core.results_io import ndjson_line
from partstream_core.rle import encode, encode_label_map
from partstream_evaluation import ccp
from partstream_evaluation.evaluate.cli import app

PHOTOS = ("0010", "0020", "0030")
SIZE = (96, 64)
CLASSES = ("null", "hair", "shirt", "jeans", "hat", "scarf")
COMMAND = """#!{python}
import pathlib, shutil, sys
verb, *rest = sys.argv[1:]
assert verb == "parse" and {{"--independent", "--no-overlay", "--no-part-maps"}} <= set(rest)
at = rest.index("-o")
for photo in rest[:at]:
    folder = pathlib.Path(rest[at + 1]) / pathlib.Path(photo).stem
    folder.mkdir()
    source = pathlib.Path({results!r}) / (folder.name + ".ndjson")
    if source.exists():
        shutil.copy(source, folder / "results.ndjson")
print("the engine is on fire", file=sys.stderr)
sys.exit({exit_code})
"""


def frame_of(parts_HW: NDArray[np.uint8]) -> FrameResult:
    """What a person's results are if they are exactly this part map."""
    masks = encode_label_map(parts_HW, range(1, len(PARTS)))
    parts = tuple(PartResult(PARTS[part], 0.9, 1, mask) for part, mask in masks.items())
    return FrameResult(0, 0.0, True, (PersonResult(1, 0.9, (0.0, 0.0, 1.0, 1.0), None, parts),))


@dataclass(frozen=True)
class World:
    """A data folder, and a command that has its answers ready."""

    data: Path
    results: Path
    command: Path

    def answer(self, photo: str, *frames: FrameResult) -> None:
        """What the command will say of a photo."""
        (self.results / f"{photo}.ndjson").write_text("".join(ndjson_line(frame) for frame in frames))

    def truth(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """The truth, without void."""
        for photo, parts in ccp.validation_part_maps(self.data):
            yield photo, np.where(parts == 255, 0, parts).astype(np.uint8)

    def answer_well(self) -> None:
        """Have the command know the truth."""
        for photo, parts in self.truth():
            self.answer(photo, frame_of(parts))

    def write_command(self, *, exit_code: int = 0) -> None:
        """Put the command where it is looked for."""
        text = COMMAND.format(python=sys.executable, results=str(self.results), exit_code=exit_code)
        self.command.write_text(text)
        self.command.chmod(0o755)

    def evaluate(self, *options: str) -> Result:
        """Run the evaluation."""
        given = ["ccp", "--data", str(self.data), "--partstream", str(self.command), *options]
        return CliRunner().invoke(app, given, env={"COLUMNS": "200"})


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three small photos and a command that answers them perfectly."""
    made = World(tmp_path / "ccp", tmp_path / "results", tmp_path / "partstream")
    for folder in (made.data / "photos", made.data / "labels", made.results):
        folder.mkdir(parents=True)
    names = list(CLASSES) + sorted({*ccp.PART_OF_CLASS, *ccp._ON_TOP, *ccp._SHOES, "skin"} - {*CLASSES})
    (made.data / "label_list.txt").write_text("".join(f"{n}\t{name}\n" for n, name in enumerate(names)))
    (made.data / "val.txt").write_text("\n".join(PHOTOS))
    rng = np.random.default_rng(0)
    for photo in PHOTOS:
        labels = rng.integers(0, len(CLASSES), (SIZE[0] // 8, SIZE[1] // 8), np.uint8)
        Image.fromarray(labels.repeat(8, 0).repeat(8, 1)).save(made.data / "labels" / f"{photo}.png")
        Image.new("RGB", (SIZE[1], SIZE[0])).save(made.data / "photos" / f"{photo}.jpg")
    made.write_command()
    made.answer_well()
    return made


def test_a_command_that_knows_the_truth_scores_one(world: World) -> None:
    done = world.evaluate("--json", "--bundle", "some/bundle")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert [report[key] for key in ("miou", "person_iou", "num_photos")] == [1, 1, 3]
    assert report["intervals"]["miou"] == {"low": 1, "high": 1}
    assert report["miou_common"] is None, "no class is in 20 of 3 photos"
    assert list(report["per_class"]) == list(PARTS)
    assert (report["per_class"]["hair"], report["per_class"]["skirt"]) == (1, None)
    assert report["labels_sha256"] == ccp.validation_sha256(world.data)
    assert report["labels_published"] is False
    assert "not the published" in done.stderr
    photos = [str(world.data / "photos" / f"{photo}.jpg") for photo in PHOTOS]
    assert report["command"].split()[:5] == [str(world.command), "parse", *photos]
    assert report["command"].endswith("--bundle some/bundle")


def test_what_is_lost_and_what_is_confused_is_counted(world: World) -> None:
    """In the first photo nobody is found, in the second all hair is taken for a hat."""
    hair, hat = PARTS.index("hair"), PARTS.index("hat")
    truth = dict(world.truth())
    world.answer(PHOTOS[0], FrameResult(0, 0.0, True, ()))
    world.answer(
        PHOTOS[1], frame_of(np.where(truth[PHOTOS[1]] == hair, hat, truth[PHOTOS[1]]).astype(np.uint8))
    )
    report = json.loads(world.evaluate("--json").stdout)
    num_people = [int((parts > 0).sum()) for parts in truth.values()]
    num_hair = [int((parts == hair).sum()) for parts in truth.values()]
    assert report["person_iou"] == pytest.approx(sum(num_people[1:]) / sum(num_people))
    assert report["per_class"]["hair"] == pytest.approx(num_hair[2] / sum(num_hair))
    assert report["intervals"]["person_iou"]["low"] < report["person_iou"] < 1


def test_a_limit_measures_the_first_photos_only(world: World) -> None:
    world.answer(PHOTOS[2], FrameResult(0, 0.0, True, ()))
    report = json.loads(world.evaluate("--json", "--limit", "2").stdout)
    assert (report["num_photos"], report["miou"], report["labels_published"]) == (2, 1, None)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_photos_are_compared_with_turned_truth(world: World, turn: int) -> None:
    for photo, parts in world.truth():
        world.answer(photo, frame_of(np.rot90(parts, turn // 90)))
    report = json.loads(world.evaluate("--json", "--turn", str(turn)).stdout)
    assert (report["miou"], report["person_iou"], report["turn"]) == (1, 1, turn)
    assert report["labels_sha256"] == ccp.validation_sha256(world.data), "the truth is the same"
    assert ".png" in report["command"]


def test_upright_answers_to_turned_photos_are_wrong(world: World) -> None:
    done = world.evaluate("--json", "--turn", "90")
    assert done.exit_code == 1
    assert "has a mask of 96x64, but the labels are 64x96" in done.stderr
    assert json.loads(world.evaluate("--json", "--turn", "180").stdout)["miou"] < 0.5
    assert "pictures can be turned by" in world.evaluate("--turn", "30").stderr


def test_without_json_there_is_a_table(world: World) -> None:
    done = world.evaluate()
    assert done.exit_code == 0
    for text in ("CCP, 3 photos", "person_iou", "1.000 to 1.000", *PARTS):
        assert text in done.stdout


def test_a_report_is_written_with_every_photo_and_the_command_lines(world: World, tmp_path: Path) -> None:
    world.answer(PHOTOS[1], FrameResult(0, 0.0, True, ()))
    done = world.evaluate("--json", "--report", str(tmp_path / "report.html"))
    assert done.exit_code == 0, done.stderr
    text = (tmp_path / "report.html").read_text("utf-8")
    order = [text.index(f"{photo}.jpg, mean IoU") for photo in (PHOTOS[1], PHOTOS[0])]
    assert order == sorted(order), "the worst stands first"
    assert "parse --independent" not in text and "--independent" in text


def test_the_same_command_gives_the_same_figures_twice(world: World) -> None:
    world.answer(PHOTOS[1], FrameResult(0, 0.0, True, ()))
    first, second = (json.loads(world.evaluate("--json").stdout) for _ in range(2))
    assert first["intervals"]["miou"]["low"] < first["intervals"]["miou"]["high"]
    for report in (first, second):
        del report["command"]  # names a folder that is another each time
    assert first == second


def changed(parts: NDArray[np.uint8], change: Callable[[PartResult], PartResult]) -> FrameResult:
    """A frame whose parts were tampered with."""
    frame = frame_of(parts)
    (person,) = frame.people
    return replace(frame, people=(replace(person, parts=tuple(change(part) for part in person.parts)),))


def whole(part: PartResult) -> PartResult:
    """The part, as if it covered the whole photo."""
    return replace(part, mask=encode(np.ones(SIZE, bool)))


FAULTS: dict[str, tuple[Callable[[World], object], str]] = {
    "photo missing": (lambda w: (w.data / "photos/0020.jpg").unlink(), "photos/0020.jpg"),
    "label missing": (lambda w: (w.data / "labels/0030.png").unlink(), "labels/0030.png"),
    "no list": (lambda w: (w.data / "val.txt").unlink(), "val.txt"),
    "empty list": (lambda w: (w.data / "val.txt").write_text(""), "names no photo"),
    "unknown photo": (lambda w: (w.data / "val.txt").write_text("nobody"), "nobody.jpg"),
    "command fails": (lambda w: w.write_command(exit_code=3), "exit code 3:\nthe engine is on fire"),
    "command gone": (lambda w: w.command.unlink(), "there is no command"),
    "no results": (lambda w: (w.results / "0020.ndjson").unlink(), "no results for"),
    "two frames": (
        lambda w: w.answer("0020", *[frame_of(np.zeros(SIZE, np.uint8))] * 2),
        "must hold one frame",
    ),
    "other size": (
        lambda w: w.answer("0020", frame_of(np.ones((9, 9), np.uint8))),
        "9x9, but the labels are 96x64",
    ),
    "broken line": (lambda w: (w.results / "0020.ndjson").write_text("{"), "results.ndjson, line 1"),
    "no masks": (
        lambda w: w.answer("0020", changed(np.ones(SIZE, np.uint8), lambda part: replace(part, mask=None))),
        "the hat of person 1 has no RLE mask",
    ),
    "unknown part": (
        lambda w: w.answer("0020", changed(np.ones(SIZE, np.uint8), lambda part: replace(part, part="tail"))),
        "the tail of person 1",
    ),
    "two parts on a pixel": (
        lambda w: w.answer("0020", changed(np.eye(*SIZE, dtype=np.uint8) + 1, whole)),
        "claims pixels that another part has",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_measured_is_a_clear_error(world: World, name: str) -> None:
    spoil, message = FAULTS[name]
    spoil(world)
    done = world.evaluate("--json")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_split_is_refused(world: World) -> None:
    assert world.evaluate("--split", "train").exit_code == 2


@pytest.mark.slow
def test_the_real_command_gives_the_same_figures_twice(data_dir: Path) -> None:
    """Threads and bf16 as the command chooses them."""
    pytest.importorskip("partstream_server", reason="the partstream command is the server's")
    documents = []
    for _ in range(2):
        done = CliRunner().invoke(app, ["ccp", "--data", str(data_dir / "ccp"), "--limit", "3", "--json"])
        assert done.exit_code == 0, done.stderr
        documents.append(json.loads(done.stdout))
        del documents[-1]["command"]
    assert documents[0] == documents[1]
    assert documents[0]["person_iou"] > 0.5, "else sameness says nothing"
