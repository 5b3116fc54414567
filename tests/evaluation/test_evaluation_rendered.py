"""The benchmark of rendered people: its files, and figures of results made up on the spot."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from partstream_core.joints import JOINTS
from partstream_core.labels import PARTS
from partstream_core.results import FrameResult, JointResult, PartResult, PersonResult
from partstream_core.results_io import ndjson_line
from partstream_core.rle import encode
from partstream_evaluation.evaluate.cli import app
from partstream_evaluation.rendered.benchmark import (
    BenchmarkPicture,
    PersonFacts,
    PictureTruth,
    read_benchmark,
    write_index,
    write_truth,
)
from partstream_evaluation.rendered.score import compare, summarise

FACE, COAT = PARTS.index("face"), PARTS.index("coat")
FACTS = (
    PersonFacts(body=3, kind="handstand", age=8, gender=0.1, skin_tone=0.1, build=0.5),
    PersonFacts(body=4, kind="lying", age=70, gender=0.9, skin_tone=0.9, build=0.9),
)
COMMAND = """#!{python}
import pathlib, shutil, sys
verb, *rest = sys.argv[1:]
kind = "found" if "--score-threshold" in rest else "shown"
at = rest.index("-o")
for picture in map(pathlib.Path, rest[:at]):
    folder = pathlib.Path(rest[at + 1]) / picture.stem
    folder.mkdir(parents=True)
    shutil.copy(pathlib.Path({answers!r}) / kind, folder / "results.ndjson")
"""


def truth() -> PictureTruth:
    """One who stands and one who lies, of a face and a coat."""
    parts, instances = np.zeros((2, 96, 128), np.uint8)
    parts[10:20, 10:30], parts[20:80, 10:30] = FACE, COAT
    parts[60:80, 60:70], parts[60:80, 70:120] = FACE, COAT
    instances[10:80, 10:30], instances[60:80, 60:120] = 1, 2
    joints = np.ones((2, len(JOINTS), 3), np.float32)
    joints[0, :, 0], joints[0, :, 1] = 20, np.linspace(12, 78, len(JOINTS))
    joints[1, :, 1], joints[1, :, 0] = 70, np.linspace(62, 118, len(JOINTS))
    return PictureTruth(parts, instances, joints)


def answer(number: int, *, score: float = 0.9, with_joints: bool = True) -> PersonResult:
    """A person exactly as in the truth."""
    true = truth()
    here = true.instances_HW == number
    parts = tuple(
        PartResult(PARTS[part], score, 1, encode(here & (true.parts_HW == part))) for part in (FACE, COAT)
    )
    joints = tuple(
        JointResult(name, float(x), float(y), 0.9)
        for name, (x, y, _) in zip(JOINTS, true.joints_NJ3[number - 1], strict=True)
    )
    return PersonResult(
        number, score, (0.0, 0.0, 1.0, 1.0), encode(here), parts, joints if with_joints else ()
    )


def frame(*people: PersonResult) -> FrameResult:
    return FrameResult(0, 0.0, True, people)


PICTURE = BenchmarkPicture("000000", FACTS, truth().sha256())


def test_perfect_results_have_perfect_figures() -> None:
    both = frame(answer(1), answer(2))
    scores = summarise([compare(PICTURE, truth(), both, both)])
    assert (scores.person_iou, scores.miou) == (1, 1)
    assert (scores.instances.ap_r_50, scores.instances.ap_r_vol) == (1, 1)
    assert scores.joints.pck == 1
    assert scores.groups["skin_tone"]["dark"].mask_iou == 1
    assert scores.groups["pose"]["handstand"].num_people == 1
    assert np.isnan(scores.groups["gender"]["between"].found)
    json.dumps(scores.to_json(), allow_nan=False)


def test_somebody_who_is_not_found_lowers_the_figures_of_their_groups_only() -> None:
    one = frame(answer(1))
    scores = summarise([compare(PICTURE, truth(), one, one)])
    assert scores.instances.ap_r_50 == pytest.approx(0.5)
    assert scores.person_iou == pytest.approx(1400 / 2600)
    assert scores.joints.pck == 0.5
    assert (scores.groups["age"]["under 13"].found, scores.groups["age"]["60 and more"].found) == (1, 0)
    assert scores.groups["build"]["heavy"].part_accuracy == 0


def test_ap_is_of_the_run_with_nearly_no_threshold() -> None:
    scores = summarise([compare(PICTURE, truth(), frame(answer(1), answer(2, score=0.06)), frame(answer(1)))])
    assert scores.instances.ap_r_50 == 1
    assert scores.groups["pose"]["lying"].found == 0


def test_results_without_joints_have_none_right() -> None:
    bare = frame(answer(1, with_joints=False), answer(2, with_joints=False))
    assert summarise([compare(PICTURE, truth(), bare, bare)]).joints.pck == 0


def test_people_too_small_to_demand_are_left_out() -> None:
    true = truth()
    small = np.where(true.instances_HW == 2, 0, true.instances_HW).astype(np.uint8)
    parts = np.where(small == 0, 0, true.parts_HW).astype(np.uint8)
    small[90:93, 60:63], parts[90:93, 60:63] = 2, FACE
    shrunk = replace(true, instances_HW=small, parts_HW=parts)
    one = frame(answer(1))
    scores = summarise([compare(PICTURE, shrunk, one, one)])
    assert (scores.instances.ap_r_50, scores.joints.num_people, scores.person_iou) == (1, 1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benchmark of one picture, and a command that finds the first person always, the second hardly."""
    made = tmp_path / "benchmark"
    (made / "pictures").mkdir(parents=True)
    Image.new("RGB", (128, 96)).save(made / "pictures/000000.jpg")
    sha256 = write_truth(made, "000000", truth())
    write_index(made, {"seed": 5}, [BenchmarkPicture("000000", FACTS, sha256)])
    (tmp_path / "found").write_text(ndjson_line(frame(answer(1), answer(2, score=0.1))))
    (tmp_path / "shown").write_text(ndjson_line(frame(answer(1))))
    command = tmp_path / "partstream"
    command.write_text(COMMAND.format(python=sys.executable, answers=str(tmp_path)))
    command.chmod(0o755)
    return made


def measured(folder: Path, *options: str) -> Result:
    command = folder.parent / "partstream"
    return CliRunner().invoke(
        app, ["rendered", "--benchmark", str(folder), "--partstream", str(command), *options]
    )


def test_the_command_is_run_twice_and_the_recipe_is_named(folder: Path) -> None:
    done = measured(folder, "--json", "--report", str(folder.parent / "page.html"))
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["ap_r_50"], report["joints"]["pck"], report["num_people"]) == (1, 0.5, 2)
    assert report["groups"]["skin_tone"]["medium"]["found"] is None
    assert report["recipe_sha256"] == read_benchmark(folder).recipe_sha256
    assert ["--score-threshold 0.05" in line for line in report["commands"]] == [True, False]
    assert "000000" in (folder.parent / "page.html").read_text()
    assert "skin_tone: dark" in measured(folder).stdout


def lost_index(folder: Path) -> None:
    (folder / "benchmark.json").unlink()


def cut_index(folder: Path) -> None:
    (folder / "benchmark.json").write_text('{"format": 1')


def changed_recipe(folder: Path) -> None:
    document = json.loads((folder / "benchmark.json").read_text())
    document["recipe"]["seed"] = 6
    (folder / "benchmark.json").write_text(json.dumps(document))


def lost_picture(folder: Path) -> None:
    (folder / "pictures/000000.jpg").unlink()


def other_truth(folder: Path) -> None:
    true = truth()
    write_truth(folder, "000000", replace(true, parts_HW=np.zeros_like(true.parts_HW)))


def cut_truth(folder: Path) -> None:
    (folder / "truth/000000.npz").write_bytes(b"PK")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lost_index, "benchmark.json is missing"),
        (cut_index, "is damaged"),
        (changed_recipe, "its recipe was changed"),
        (lost_picture, "1 pictures of the benchmark are missing"),
        (other_truth, "its hash differs"),
        (cut_truth, "cannot read the truth"),
    ],
)
def test_a_benchmark_that_is_not_whole_is_a_clear_error(
    folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder)
    done = measured(folder, "--json")
    assert done.exit_code == 1
    assert message in done.stderr and "Traceback" not in done.stderr


def test_truth_that_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    true = truth()
    with pytest.raises(ValueError, match="must fit together"):
        write_truth(tmp_path, "a", replace(true, parts_HW=true.parts_HW[1:]))
    with pytest.raises(ValueError, match="a person or a part that is not there"):
        write_truth(tmp_path, "a", replace(true, joints_NJ3=true.joints_NJ3[:1]))
