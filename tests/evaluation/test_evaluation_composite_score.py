"""Figures of the composite benchmark, from results made up on the spot, and the command that prints them."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from partstream_core.labels import PARTS
from partstream_core.results import FrameResult, PartResult, PersonResult
from partstream_core.results_io import ndjson_line
from partstream_core.rle import encode
from partstream_evaluation.composite.cli import composite_command
from partstream_evaluation.composite.evaluate import evaluate
from partstream_evaluation.composite.recipe import Recipe, published
from partstream_evaluation.composite.score import ClipOverlaps, clip_overlaps, joined, score, truth_frames
from partstream_evaluation.composite.source import read_source
from partstream_evaluation.composite.truth import ClipTruth, make_benchmark
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, parse_options
from partstream_evaluation.metrics.tracking import mots_scores
from partstream_evaluation.report.collect import Collector

UInt8Array = NDArray[np.uint8]
RECIPE = Recipe(network_side=128)
FACE, COAT = PARTS.index("face"), PARTS.index("coat")
NUM_FRAMES = 6
COMMAND = """#!{python}
import pathlib, shutil, sys
verb, *rest = sys.argv[1:]
assert verb == "parse" and "--no-overlay" in rest and "--no-part-maps" in rest
kind = "found" if "--score-threshold" in rest else "tracked"
at = rest.index("-o")
for clip in map(pathlib.Path, rest[:at]):
    assert len(list(clip.glob("*.jpg"))) == 48
    folder = pathlib.Path(rest[at + 1]) / clip.name
    folder.mkdir(parents=True)
    shutil.copy(pathlib.Path({results!r}) / kind / (clip.name + ".ndjson"), folder / "results.ndjson")
print("out of memory", file=sys.stderr)
sys.exit({exit_code})
"""


def walkers(num_frames: int = NUM_FRAMES) -> ClipTruth:
    """Two people of a face and a coat who walk apart, and a third of nine pixels' height."""
    parts = np.zeros((num_frames, 96, 128), np.uint8)
    instances = np.zeros_like(parts)
    for frame in range(num_frames):
        for identity, left in ((1, 40 - 3 * (frame % 9)), (2, 70 + 3 * (frame % 9))):
            parts[frame, 20:35, left : left + 15], parts[frame, 35:80, left : left + 15] = FACE, COAT
            instances[frame, 20:80, left : left + 15] = identity
        parts[frame, 2:11, 2:8], instances[frame, 2:11, 2:8] = COAT, 3
    return ClipTruth(parts, instances)


def answer(truth: ClipTruth, frame: int, identity: int, score: float = 0.9) -> PersonResult:
    """A person exactly as in the truth."""
    instances, parts = truth.instances_THW[frame], truth.parts_THW[frame]
    here = instances == identity
    found = tuple(
        PartResult(PARTS[part], score, 1, encode(here & (parts == part)))
        for part in np.unique(parts[here]).tolist()
    )
    return PersonResult(identity, score, (0.0, 0.0, 1.0, 1.0), encode(here), found)


def answers(truth: ClipTruth, identities: tuple[int, ...] = (1, 2)) -> list[FrameResult]:
    return [
        FrameResult(frame, frame / 25, True, tuple(answer(truth, frame, each) for each in identities))
        for frame in range(len(truth.parts_THW))
    ]


def compared(found: list[FrameResult], tracked: list[FrameResult] | None = None) -> ClipOverlaps:
    return clip_overlaps(truth_frames(walkers(), RECIPE), found, tracked if tracked is not None else found)


def test_perfect_results_have_perfect_figures() -> None:
    figures = score([compared(answers(walkers()))])
    assert (figures.ap_r_50, figures.ap_r_vol, figures.ap_r_50_compat, figures.ap_r_vol_compat) == (
        1,
        1,
        1,
        1,
    )
    assert (figures.smotsa, figures.idf1, figures.num_switches) == (1, 1, 0)
    assert figures.hota == pytest.approx(1)
    assert figures.per_part == {"face": 1, "coat": 1}


def test_a_person_who_is_never_found_halves_recall() -> None:
    figures = score([compared(answers(walkers(), (1,)))])
    assert figures.ap_r_50 == pytest.approx(0.5)
    assert figures.smotsa == pytest.approx(0.5)


def test_a_person_too_small_to_demand_may_be_found_or_not() -> None:
    with_small, without = (score([compared(answers(walkers(), who))]) for who in ((1, 2, 3), (1, 2)))
    assert with_small == without


def test_a_person_where_nobody_is_costs_precision() -> None:
    truth, ghost = walkers(), np.zeros((96, 128), bool)
    ghost[85:95, 100:120] = True
    nobody = PersonResult(9, 0.95, (0, 0, 1, 1), encode(ghost), ())
    frames = [replace(frame, people=(*frame.people, nobody)) for frame in answers(truth)]
    figures = score([compared(frames)])
    assert figures.ap_r_50 < 1 and figures.smotsa == pytest.approx(0.5)


def test_identities_that_change_places_cost_switches_and_idf1_but_no_ap() -> None:
    frames = answers(walkers())
    for number in range(3, NUM_FRAMES):
        one, other = frames[number].people
        frames[number] = replace(
            frames[number], people=(replace(one, identity=2), replace(other, identity=1))
        )
    figures = score([compared(frames)])
    assert figures.ap_r_50 == 1 and figures.num_switches == 2
    assert figures.smotsa == pytest.approx(1 - 2 / 12)
    assert figures.idf1 == pytest.approx(0.5)


def test_ap_and_identities_come_from_different_runs() -> None:
    figures = score([compared(answers(walkers()), answers(walkers(), (1,)))])
    assert figures.ap_r_50 == 1 and figures.smotsa == pytest.approx(0.5)


def test_clips_joined_count_like_their_sum() -> None:
    """The same identities in two clips are not the same people."""
    whole, half = compared(answers(walkers())), compared(answers(walkers(), (2,)))
    together = mots_scores(joined([whole.tracks, half.tracks]))
    each = [mots_scores(clip.tracks) for clip in (whole, half)]
    assert together.num_true_positives == sum(one.num_true_positives for one in each) == 18
    assert together.num_switches == 0
    assert together.smotsa == pytest.approx(18 / 24)


def test_results_of_another_length_or_without_masks_are_refused() -> None:
    frames = answers(walkers())
    with pytest.raises(ValueError, match="6 frames, the results 5"):
        compared(frames[:5])
    bare = replace(frames[0].people[0], mask=None)
    with pytest.raises(ValueError, match="as RLE"):
        compared([replace(frames[0], people=(bare,)), *frames[1:]])


def test_clips_without_anybody_have_no_figures_but_no_error_either() -> None:
    empty = ClipTruth(np.zeros((2, 32, 32), np.uint8), np.zeros((2, 32, 32), np.uint8))
    nothing = [FrameResult(number, 0.0, True, ()) for number in range(2)]
    figures = score([clip_overlaps(truth_frames(empty, RECIPE), nothing, nothing)])
    assert np.isnan([figures.ap_r_50, figures.ap_r_vol, figures.smotsa]).all()


@pytest.fixture
def benchmark(tmp_path: Path) -> tuple[Path, Callable[[int], PartstreamCommand]]:
    """Two clips of the published recipe that lie ready, and a command that knows the answers."""
    recipe = published().recipe
    hashes = {}
    for clip in recipe.clips()[:2]:
        truth = walkers(48)
        truth = ClipTruth(
            truth.parts_THW.clip(0, 19), np.where(truth.instances_THW == 3, 0, truth.instances_THW)
        )
        (tmp_path / "clips" / "clips" / clip.name).mkdir(parents=True)
        (tmp_path / "clips" / "truth").mkdir(exist_ok=True)
        for number in range(48):
            (tmp_path / "clips" / "clips" / clip.name / f"{number:06d}.jpg").touch()
        path = tmp_path / "clips" / "truth" / f"{clip.name}.npz"
        np.savez_compressed(path, parts_THW=truth.parts_THW, instances_THW=truth.instances_THW)
        hashes[clip.name] = truth.sha256()
        for kind, who in (("found", (1, 2)), ("tracked", (1,))):
            (tmp_path / kind).mkdir(exist_ok=True)
            lines = "".join(ndjson_line(frame) for frame in answers(truth, who))
            (tmp_path / kind / f"{clip.name}.ndjson").write_text(lines)
    document = {"recipe_sha256": recipe.sha256(), "truth_sha256": hashes}
    (tmp_path / "clips" / "benchmark.json").write_text(json.dumps(document))

    def command(exit_code: int) -> PartstreamCommand:
        path = tmp_path / "partstream"
        path.write_text(COMMAND.format(python=sys.executable, results=str(tmp_path), exit_code=exit_code))
        path.chmod(0o755)
        return PartstreamCommand(path)

    return tmp_path, command


def test_the_command_is_run_twice_and_its_lines_are_reported(
    benchmark: tuple[Path, Callable[[int], PartstreamCommand]],
) -> None:
    folder, command = benchmark
    report = evaluate(
        folder, command(0), clips_dir=folder / "clips", select=lambda clip: clip.number < 2
    ).to_json()
    figures = report["levels"]["easy"]
    assert figures["ap_r_50"] == 1 and figures["num_clips"] == 2
    assert figures["smotsa"] == pytest.approx(0.5)
    assert set(report["levels"]) == {"easy"}, "no figure of easy and medium without medium clips"
    assert "ap_r_50" not in report
    assert "--score-threshold 0.05" in report["commands"][0]
    assert "--score-threshold" not in report["commands"][1]
    assert report["truth_published"] is False
    json.dumps(report, allow_nan=False)


def test_a_schedule_is_passed_on_to_every_call(
    benchmark: tuple[Path, Callable[[int], PartstreamCommand]],
) -> None:
    folder, command = benchmark
    scheduled = replace(command(0), options=parse_options("causal", 3))
    report = evaluate(folder, scheduled, clips_dir=folder / "clips", select=lambda clip: clip.number < 1)
    assert len(report.commands) == 2
    assert all("--schedule causal --interval 3" in line for line in report.commands)
    assert parse_options(None, None) == ()


def test_two_runs_give_the_same_figures_and_their_worst_frames_are_collected(
    benchmark: tuple[Path, Callable[[int], PartstreamCommand]],
) -> None:
    folder, command = benchmark
    collectors = (Collector(), Collector())
    documents = []
    for collector in collectors:
        report = evaluate(
            folder,
            command(0),
            clips_dir=folder / "clips",
            select=lambda clip: clip.number < 2,
            collector=collector,
        ).to_json()
        del report["commands"]  # they name a folder that is another each time
        documents.append(report)
    assert documents[0] == documents[1]
    names = [[sample.name for sample in collector.worst()] for collector in collectors]
    assert names[0] == names[1]
    assert len(names[0]) == 4, "two frames of each clip"
    assert names[0][0].startswith("00-easy-upright, frame")
    found = collectors[0].confusions().sum(axis=0)
    assert 0 < found[COAT, COAT] < found[COAT].sum(), "one of two people is tracked"


@pytest.mark.parametrize("content", ["{", "[]", '{"truth_sha256": 1}'])
def test_a_damaged_index_of_clips_is_named(
    benchmark: tuple[Path, Callable[[int], PartstreamCommand]], content: str
) -> None:
    folder, command = benchmark
    (folder / "clips/benchmark.json").write_text(content)
    with pytest.raises(ValueError, match=r"benchmark\.json is damaged"):
        evaluate(folder, command(0), clips_dir=folder / "clips", select=lambda clip: clip.number < 2)


def test_a_command_that_fails_is_an_error_with_its_last_words(
    benchmark: tuple[Path, Callable[[int], PartstreamCommand]],
) -> None:
    folder, command = benchmark
    with pytest.raises(EvaluationError, match=r"(?s)exit code 3.*out of memory"):
        evaluate(folder, command(3), clips_dir=folder / "clips", select=lambda clip: clip.number < 2)


def test_no_level_of_that_name_is_one_line_of_error(
    benchmark: tuple[Path, Callable[[int], PartstreamCommand]],
) -> None:
    folder, command = benchmark
    app = typer.Typer()
    app.command()(composite_command)
    line = ["--data", str(folder), "--partstream", str(command(0).executable), "--level", "absurd"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no clip of the benchmark")


@pytest.mark.slow
def test_the_published_clips_come_out_to_the_bit_on_this_machine(data_dir: Path, tmp_path: Path) -> None:
    known = published()
    recipe = known.recipe
    chosen = [recipe.clips()[number] for number in (3, 10, 16)]
    made = make_benchmark(tmp_path, recipe, lambda: read_source(data_dir / "ccp", recipe), clips=chosen)
    assert made.truth_sha256 == {clip.name: known.truth_sha256[clip.name] for clip in chosen}
