"""Joints: the share within reach, people matched by their boxes, and the command that asks a teacher."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from partstream_core.joints import FLIPPED, JOINTS
from partstream_core.results import FrameResult, JointResult, PersonResult
from partstream_core.results_io import ndjson_line
from partstream_evaluation.evaluate.cli import app
from partstream_evaluation.keypoints.evaluate import match
from partstream_evaluation.metrics.joints import JointsPair, score_joints

FloatArray = NDArray[np.float64]
BOX = (100.0, 100.0, 150.0, 300.0)
COMMAND = """#!{python}
import pathlib, shutil, sys
verb, *rest = sys.argv[1:]
at = rest.index("-o")
folder = pathlib.Path(rest[at + 1]) / pathlib.Path(rest[0]).stem
folder.mkdir(parents=True)
shutil.copy({found!r}, folder / "results.ndjson")
"""


def body(left: float = 100.0, top: float = 100.0) -> FloatArray:
    """Joints that lie apart, all to be judged."""
    places = np.array([[left + 6 * (at % 8), top + 90 * (at // 8)] for at in range(len(JOINTS))])
    return np.concatenate([places, np.ones((len(JOINTS), 1))], axis=1)


def test_joints_within_a_tenth_of_the_longer_side_are_right() -> None:
    found = body()
    found[0, 0] += 19.9
    found[5, 1] += 20.1
    scores = score_joints([JointsPair(body(), BOX, found)])
    assert scores.pck == scores.pck_found == pytest.approx(16 / 17)
    assert (scores.per_joint["nose"], scores.per_joint["left_shoulder"]) == (1, 0)
    assert scores.mean_distance == pytest.approx(40 / 200 / 17)


def test_somebody_who_lies_is_measured_by_their_length() -> None:
    lying = (100.0, 100.0, 300.0, 150.0)
    found = body()
    found[:, 0] += 19
    assert score_joints([JointsPair(body(), lying, found)]).pck == 1


def test_people_who_are_not_found_cost_all_their_joints() -> None:
    scores = score_joints([JointsPair(body(), BOX, body()), JointsPair(body(), BOX, None)])
    assert (scores.pck, scores.pck_found, scores.num_found, scores.num_people) == (0.5, 1, 1, 2)


def test_joints_that_are_not_judged_count_for_nothing() -> None:
    true, found = body(), body()
    true[3, 2], found[3, 0] = 0, -500
    scores = score_joints([JointsPair(true, BOX, found)])
    assert scores.pck == 1 and np.isnan(scores.per_joint["left_ear"])


def test_left_and_right_that_changed_places_are_told() -> None:
    true = body()
    true[:, 0] += 60 * (np.arange(17) % 2)  # left is far from right
    found = true[list(FLIPPED)]
    scores = score_joints([JointsPair(true, (0, 0, 100, 200), found)])
    assert scores.pck == pytest.approx(1 / 17), "only the nose is its own mirror image"
    assert scores.swapped == pytest.approx(16 / 17)


def test_nobody_is_no_division_by_zero() -> None:
    document = score_joints([]).to_json()
    assert (document["pck"], document["num_people"]) == (None, 0)
    json.dumps(document, allow_nan=False)


def person(left: float, *, score: float = 0.9, with_joints: bool = True) -> PersonResult:
    """Somebody at a place."""
    joints = tuple(JointResult(name, x, y, score) for name, (x, y, _) in zip(JOINTS, body(left), strict=True))
    return PersonResult(1, 0.9, (left, 100.0, left + 50, 300.0), None, (), joints if with_joints else ())


def frame(index: int, *people: PersonResult) -> FrameResult:
    return FrameResult(index, index / 25, True, people)


def test_people_are_matched_by_boxes_at_the_greatest_sum() -> None:
    pairs, extra = match(
        frame(0, person(100), person(130)), frame(0, person(132), person(104), person(900)), least_score=0.3
    )
    assert extra == 1
    scores = score_joints(pairs)
    assert scores.num_found == 2
    assert scores.mean_distance == pytest.approx((4 + 2) / 2 / 200)


def test_joints_that_the_teacher_is_unsure_of_are_not_judged() -> None:
    pairs, _ = match(frame(0, person(100, score=0.2)), frame(0), least_score=0.3)
    assert np.isnan(score_joints(pairs).pck)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A clip's name, a teacher who sees one person in frames 0 and 2, and a command that sees them too."""
    write(tmp_path / "teacher.ndjson", frame(0, person(100)), frame(2, person(110)))
    write(tmp_path / "found.ndjson", frame(0, person(102)), frame(1), frame(2, person(400)))
    command = tmp_path / "partstream"
    command.write_text(COMMAND.format(python=sys.executable, found=str(tmp_path / "found.ndjson")))
    command.chmod(0o755)
    return tmp_path / "clip.mp4"


def write(path: Path, *frames: FrameResult) -> None:
    path.write_text("".join(ndjson_line(each) for each in frames))


def measured(clip: Path, *options: str) -> Result:
    given = ["joints", "--clip", str(clip), "--teacher", str(clip.parent / "teacher.ndjson")]
    return CliRunner().invoke(app, [*given, "--partstream", str(clip.parent / "partstream"), *options])


def test_a_clip_is_compared_with_its_teacher_frame_by_frame(clip: Path) -> None:
    done = measured(clip, "--json", "--schedule", "causal")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["pck"], report["num_found"], report["num_people"], report["num_extra"]) == (0.5, 1, 2, 1)
    assert report["num_frames"] == 2
    assert "--schedule causal" in report["command"]
    assert "within a tenth" in measured(clip).stdout


def test_what_cannot_be_compared_is_one_line_of_error(clip: Path) -> None:
    write(clip.parent / "teacher.ndjson", frame(7, person(100)))
    assert "holds frame 7, which the results of" in measured(clip).stderr
    write(clip.parent / "teacher.ndjson", frame(0, person(100, with_joints=False)))
    assert "holds no joints" in measured(clip).stderr
    (clip.parent / "teacher.ndjson").write_text("{")
    assert measured(clip).stderr.startswith("error: cannot read results")
