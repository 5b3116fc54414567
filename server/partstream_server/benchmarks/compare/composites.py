"""Variants on the composite benchmark: quality against the exact truth, flicker along the exact flow.

Shape suffixes: T frames, H height, W width; a last 2 is (x, y).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partstream_core.labels import NUM_PARTS
from partstream_evaluation.composite.evaluate import AP_THRESHOLD
from partstream_evaluation.composite.plan import draw_plan
from partstream_evaluation.composite.recipe import published
from partstream_evaluation.composite.render import render_flow
from partstream_evaluation.composite.score import ClipOverlaps, clip_overlaps, score, truth_frames
from partstream_evaluation.composite.source import read_source
from partstream_evaluation.composite.truth import ClipTruth, make_benchmark
from partstream_evaluation.metrics.flicker import Changes, changes, steady
from partstream_evaluation.metrics.semantic import confusion_matrix, mean_iou
from partstream_server.benchmarks.compare.ratio import with_ratios
from partstream_server.benchmarks.compare.run import ClipRun, Cost, run_clip
from partstream_server.benchmarks.compare.variants import Variant
from partstream_server.engine import Engine
from partstream_server.media import open_video

Flows = npt.NDArray[np.float32]


@dataclass(slots=True)
class Tally:
    """Measurements of a variant on a set of composite clips."""

    cost: Cost = field(default_factory=Cost)
    overlaps: list[ClipOverlaps] = field(default_factory=list)
    confusion_CC: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((NUM_PARTS, NUM_PARTS), np.int64)
    )
    flicker: Changes = field(default_factory=Changes)

    def figures(self) -> dict[str, float]:
        """The figures of a row of the table."""
        scores = score(self.overlaps)
        return {
            "miou": mean_iou(self.confusion_CC),
            "ap_r_50": scores.ap_r_50,
            "ap_r_vol": scores.ap_r_vol,
            "smotsa": scores.smotsa,
            "idf1": scores.idf1,
            "flicker": self.flicker.share,
            "ms": self.cost.ms,
            "backbone": self.cost.backbone,
        }


def compare_made(
    data_dir: Path,
    engine: Engine,
    chosen: Sequence[Variant],
    *,
    clips_dir: Path,
    levels: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by level of the benchmark (and `all`) and by name of the variant.

    Each clip is parsed by every variant before the next one, so a busy machine is busy for all of them.

    Args:
        data_dir: The CCP folder.
        engine: What parses.
        chosen: Ways to parse.
        clips_dir: Where clips are kept for the next time.
        levels: Only clips of these levels; all where empty.
        progress: Told what is being done.

    Raises:
        ValueError: The photos are not the published ones, or no clip is selected.
        OptionError: The bundle cannot follow a schedule.
    """
    recipe = published().recipe
    clips = [clip for clip in recipe.clips() if not levels or clip.level.name in levels]
    if not clips:
        raise ValueError("no clip of the benchmark is selected")
    source = read_source(data_dir, recipe)
    benchmark = make_benchmark(clips_dir, recipe, lambda: source, clips=clips)
    names = ["all", *dict.fromkeys(clip.level.name for clip in clips)]
    tallies = {name: {variant.name: Tally() for variant in chosen} for name in names}
    for clip in clips:
        truth = benchmark.truth(clip)
        asked = truth_frames(truth, recipe)
        plan = draw_plan(recipe, clip, source.people, recipe.attempts[clip.number])
        flows = np.stack([render_flow(plan, number, number - 1) for number in range(1, len(asked))])
        for variant in chosen:
            progress(f"{clip.name}: {variant.name}")
            run, found = (
                _run(benchmark.frames(clip), engine, variant, least) for least in (None, AP_THRESHOLD)
            )
            overlaps = clip_overlaps(asked, found.frames, run.frames)
            for name in ("all", clip.level.name):
                _count(tallies[name][variant.name], run, overlaps, truth, flows)
    return {
        name: with_ratios({variant: (tally.figures(), tally.cost) for variant, tally in rows.items()}, chosen)
        for name, rows in tallies.items()
    }


def _run(frames: Path, engine: Engine, variant: Variant, score_threshold: float | None) -> ClipRun:
    with open_video(frames) as reader:
        return run_clip(reader, engine, variant.schedule, score_threshold=score_threshold)


def _count(tally: Tally, run: ClipRun, overlaps: ClipOverlaps, truth: ClipTruth, flows: Flows) -> None:
    tally.cost.add(run.cost)
    tally.overlaps.append(overlaps)
    for true_HW, found_HW in zip(truth.parts_THW, run.parts_THW, strict=True):
        tally.confusion_CC += confusion_matrix(true_HW, found_HW)
    for changed in flickers(run.parts_THW, truth, flows):
        tally.flicker += changed


def flickers(found_THW: npt.NDArray[np.uint8], truth: ClipTruth, flows_THW2: Flows) -> Iterator[Changes]:
    """Changes from each frame to the next, where person and part are, by the truth, what they were."""
    who_THW = truth.instances_THW.astype(np.int64) * NUM_PARTS + truth.parts_THW
    who_THW[truth.parts_THW == 0] = 0
    for number, flow_HW2 in enumerate(flows_THW2, start=1):
        counted_HW = steady(who_THW[number], who_THW[number - 1], flow_HW2)
        yield changes(found_THW[number], found_THW[number - 1], flow_HW2, counted_HW)
