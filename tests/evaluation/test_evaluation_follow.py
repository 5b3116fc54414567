"""Scores of `partstream follow` on clips with masks, with a stand-in for the command."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from partstream_core.rle import encode
from partstream_evaluation.evaluate.cli import app
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand
from partstream_evaluation.follow.evaluate import evaluate_follow

SIZE = (60, 80)
PROGRAM = """#!{python}
import json, sys
from pathlib import Path
words = sys.argv[1:]
assert words[0] == "follow" and words[4] == "--person" and words[5].startswith("target@0:"), words
(Path(words[3])).mkdir(parents=True)
frames = sorted(Path(words[1]).iterdir())
lines = json.loads(Path({answers!r}).read_text())
written = "".join(json.dumps(line) + "\\n" for line in lines[: len(frames)])
(Path(words[3]) / "follow.ndjson").write_text(written)
"""


def square(left: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[20:40, left : left + 20] = True
    return mask


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """A clip of five frames with a square that moves by four pixels a frame."""
    folder = tmp_path / "truth" / "clip"
    folder.mkdir(parents=True)
    for frame in range(5):
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / f"{frame:05}.jpg")
        Image.fromarray(square(10 + 4 * frame).astype(np.uint8) * 255).save(folder / f"{frame:05}.png")
    return folder.parent


def command(tmp_path: Path, masks: list[NDArray[np.bool_] | None]) -> PartstreamCommand:
    lines = []
    for mask in masks:
        target: dict[str, object] = {"name": "target", "status": "gone"}
        if mask is not None:
            rle = encode(mask)
            target |= {"status": "seen", "mask": {"size": [rle.height, rle.width], "counts": rle.counts}}
        lines.append({"targets": [target]})
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(lines))
    program = tmp_path / "partstream"
    program.write_text(PROGRAM.format(python=sys.executable, answers=str(answers)))
    program.chmod(0o755)
    return PartstreamCommand(program)


def test_a_follow_that_is_right_has_full_scores(truth: Path, tmp_path: Path) -> None:
    report = evaluate_follow(truth, command(tmp_path, [square(10 + 4 * frame) for frame in range(5)]))
    scores = report.clips["clip"]
    assert (scores.j.mean, scores.f.mean, scores.g, report.g) == (1, 1, 1, 1)
    assert (scores.num_seen, scores.num_frames) == (3, 3)


def test_lost_frames_and_shifted_masks_cost_what_davis_says(truth: Path, tmp_path: Path) -> None:
    masks = [None, square(14), square(28), None, None]
    report = evaluate_follow(truth, command(tmp_path, masks))
    scores = report.clips["clip"]
    assert scores.num_seen == 2
    assert scores.j.mean == pytest.approx((1 + 10 / 30 + 0) / 3)
    assert scores.j.recall == pytest.approx(1 / 3)
    assert report.to_json()["clips"]["clip"]["g"] == pytest.approx((scores.j.mean + scores.f.mean) / 2)


def test_a_clip_of_two_frames_leaves_nothing_to_count(truth: Path, tmp_path: Path) -> None:
    for frame in range(2, 5):
        for suffix in ("jpg", "png"):
            (truth / "clip" / f"{frame:05}.{suffix}").unlink()
    with pytest.raises(ValueError, match="clip has fewer than 3 frames"):
        evaluate_follow(truth, command(tmp_path, []))


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ([square(10)] * 4, "is 5 frames, its follow has 4"),
        ([square(10)[:50]] * 5, r"is \(60, 80\), its mask \(50, 80\)"),
    ],
)
def test_a_follow_of_another_clip_is_refused(
    truth: Path, tmp_path: Path, masks: list[NDArray[np.bool_] | None], said: str
) -> None:
    with pytest.raises(EvaluationError, match=said):
        evaluate_follow(truth, command(tmp_path, masks))


def test_a_missing_command_is_one_line(truth: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["follow", "--truth", str(truth), "--partstream", str(tmp_path / "none")]
    )
    assert result.exit_code == 1
    assert "there is no command" in result.output
