"""People found again after an interruption: who counts, and how a follow is judged."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from partstream_evaluation.composite.recipe import Clip, Format, Level, Recipe
from partstream_evaluation.composite.source import Source
from partstream_evaluation.composite.truth import ClipTruth
from partstream_evaluation.evaluate.cli import app
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand
from partstream_evaluation.follow.refind import (
    Interruption,
    RefindCounts,
    evaluate_refind,
    judge,
    people_to_find,
)

HEIGHT, WIDTH, NUM_FRAMES = 60, 80, 12
RECIPE = Recipe(
    num_frames=NUM_FRAMES,
    levels=(Level(name="easy", people=(1, 1), height=(0.5, 0.9), occluded=(0.0, 0.1)),),
    formats=(Format("first", HEIGHT, WIDTH), Format("second", HEIGHT, WIDTH)),
    attempts=(0, 0),
)
FOLLOWER = """#!{python}
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
from partstream_core.rle import encode
words = sys.argv[1:]
pictures, output, person = Path(words[1]), Path(words[3]), words[5]
if {refusal!r}:
    sys.exit({refusal!r})
assert person.startswith("target@0.12:"), person
lines = []
for path in sorted(pictures.iterdir()):
    image = np.asarray(Image.open(path)).astype(int)
    mask = (image[..., 0] > 200) & (image[..., 2] < 60)
    target = {{"name": "target", "status": "hidden"}}
    if mask.any():
        rle = encode(mask)
        target |= {{"status": "seen", "mask": {{"size": [rle.height, rle.width], "counts": rle.counts}}}}
    lines.append(json.dumps({{"targets": [target]}}) + "\\n")
output.mkdir(parents=True)
(output / "follow.ndjson").write_text("".join(lines))
"""


def people(*, at: tuple[int, ...]) -> NDArray[np.uint8]:
    """Identities 1, 2 ... of squares of 30 pixels at these columns."""
    labels_HW = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, left in enumerate(at, 1):
        labels_HW[20:50, left : left + 30] = number
    return labels_HW


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two clips: identity 1 is red in the first, blue in the second."""
    folder = tmp_path / "clips-kept"
    hashes = {}
    for clip, colour in zip(RECIPE.clips(), ((230, 20, 20), (20, 20, 230)), strict=True):
        pictures = folder / "clips" / clip.name
        pictures.mkdir(parents=True)
        labels_HW = people(at=(10,))
        image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        image[labels_HW == 1] = colour
        for frame in range(NUM_FRAMES):
            Image.fromarray(image).save(pictures / f"{frame:06d}.jpg", quality=95, subsampling=0)
        truth = ClipTruth(np.zeros((NUM_FRAMES, HEIGHT, WIDTH), np.uint8), np.stack([labels_HW] * NUM_FRAMES))
        path = folder / "truth" / f"{clip.name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, parts_THW=truth.parts_THW, instances_THW=truth.instances_THW)
        hashes[clip.name] = truth.sha256()
    index = {"recipe_sha256": RECIPE.sha256(), "truth_sha256": hashes}
    (folder / "benchmark.json").write_text(json.dumps(index))
    return folder


def refind(
    clips: Path, *, refusal: str = "", interruption: Interruption = Interruption.CUT
) -> dict[str, RefindCounts]:
    program = clips / "partstream"
    program.write_text(FOLLOWER.format(python=sys.executable, refusal=refusal))
    program.chmod(0o755)
    chosen: tuple[Clip, ...] = RECIPE.clips()
    return evaluate_refind(
        clips, RECIPE, _no_photos, PartstreamCommand(program), clips=chosen, interruption=interruption
    )


def _no_photos() -> Source:
    raise AssertionError("the clips are there already")


@pytest.mark.parametrize("interruption", list(Interruption))
def test_a_follow_of_one_colour_finds_that_person_and_misses_the_other(
    clips: Path, interruption: Interruption
) -> None:
    found = refind(clips, interruption=interruption)
    assert found == {"00-easy-first": RefindCounts(right=1), "01-easy-second": RefindCounts(missed=1)}


def test_a_person_whom_the_command_does_not_find_is_no_case(clips: Path) -> None:
    found = refind(clips, refusal="person: target at 0.12 s: no person fits\nthe mask; nobody is there")
    assert found["00-easy-first"] == RefindCounts(not_named=1)
    assert found["00-easy-first"].num_cases == 0


def test_another_failure_of_the_command_ends_the_measurement(clips: Path) -> None:
    with pytest.raises(EvaluationError, match="no bundle"):
        refind(clips, refusal="no bundle")


def test_the_first_mask_that_shows_a_person_decides() -> None:
    truth_THW = np.stack([people(at=(0, 40))] * 4)
    nothing, first, second = np.zeros((HEIGHT, WIDTH), bool), truth_THW[0] == 1, truth_THW[0] == 2
    assert judge(truth_THW, [None, nothing, first, second], 1) == RefindCounts(right=1)
    assert judge(truth_THW, [None, second, first, first], 1) == RefindCounts(wrong=1)
    assert judge(truth_THW, [None, None, nothing, nothing], 1) == RefindCounts(missed=1)
    with pytest.raises(EvaluationError, match=r"truth is \(60, 80\), the mask \(60, 40\)"):
        judge(truth_THW, [nothing[:, :40]] * 4, 1)


def test_people_count_only_where_they_are_large_in_every_frame_that_decides() -> None:
    truth_THW = np.stack([people(at=(0, 40))] * NUM_FRAMES)
    assert people_to_find(truth_THW) == [1, 2]
    truth_THW[NUM_FRAMES // 2, :, 40:55] = 0
    assert people_to_find(truth_THW) == [1]


def test_a_cut_needs_another_clip(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2 are needed, got 1"):
        evaluate_refind(
            tmp_path,
            RECIPE,
            _no_photos,
            PartstreamCommand(tmp_path),
            clips=RECIPE.clips()[:1],
            interruption=Interruption.CUT,
        )


def test_a_missing_command_is_one_line(tmp_path: Path) -> None:
    words = ["refind", "--data", str(tmp_path), "--partstream", str(tmp_path / "none")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "there is no command" in result.output
