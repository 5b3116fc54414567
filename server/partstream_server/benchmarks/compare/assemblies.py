"""Rules of assembly side by side: `python -m partstream_server.benchmarks.compare.assemblies`.

The graphs run once a clip; what they found is assembled, tracked and encoded by every variant, so the figures
differ by the assembly alone. Times are of the process, of the stage `assemble`.

Shape suffixes: T frames, H height, W width.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from scipy.optimize import linear_sum_assignment

from partstream_core.assembly_config import AssemblyConfig, AssemblyKind, CrfSettings, Unary
from partstream_core.manifest import Manifest
from partstream_core.results import FrameResult
from partstream_core.rle import encode_label_map
from partstream_evaluation.composite.evaluate import AP_THRESHOLD
from partstream_evaluation.composite.plan import draw_plan
from partstream_evaluation.composite.recipe import published
from partstream_evaluation.composite.render import render_flow
from partstream_evaluation.composite.score import ClipOverlaps, clip_overlaps, score, truth_frames
from partstream_evaluation.composite.source import Source, read_source
from partstream_evaluation.composite.truth import Benchmark, ClipTruth, make_benchmark
from partstream_evaluation.metrics.davis import boundary_f, region_iou
from partstream_evaluation.metrics.flicker import Changes
from partstream_server.benchmarks.compare.composites import flickers
from partstream_server.engine import Engine, create_engine
from partstream_server.media import open_video
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.pipeline.session import FrameInference, Session, SessionConfig, drive
from partstream_server.pipeline.stage_times import StageClock
from partstream_server.pipeline.values import Inference

BOUND: Final = "greedy, true owners"
"""The row of what no rule can pass that only changes owners: each pixel that greedy gives to anybody is given
to whoever was matched with its true person."""
_EVERY: Final = 6
"""Boundaries are compared in every so many-th frame."""


@dataclass(slots=True)
class Tally:
    """Measurements of one rule on a set of clips."""

    overlaps: list[ClipOverlaps] = field(default_factory=list)
    flicker: Changes = field(default_factory=Changes)
    boundaries: list[float] = field(default_factory=list)
    seconds: float = 0.0
    num_frames: int = 0

    def figures(self) -> dict[str, float]:
        """The figures of a row of the table."""
        scores = score(self.overlaps)
        return {
            "AP^r .5": scores.ap_r_50,
            "AP^r vol": scores.ap_r_vol,
            "sMOTSA": scores.smotsa,
            "IDF1": scores.idf1,
            "boundary F": float(np.mean(self.boundaries)) if self.boundaries else float("nan"),
            "flicker %": 100 * self.flicker.share,
            "ms": self.seconds / max(self.num_frames, 1) * 1000,
        }

    def bound(self) -> dict[str, float]:
        """The same where only owners of pixels are known."""
        known = ("sMOTSA", "IDF1", "boundary F")
        return {name: value if name in known else float("nan") for name, value in self.figures().items()}


@dataclass(frozen=True, slots=True)
class Assembled:
    """A clip's results in order."""

    frames: tuple[FrameResult, ...]
    people_THW: npt.NDArray[np.uint8]
    parts_THW: npt.NDArray[np.uint8]
    seconds: float
    """In the stage `assemble`."""


def rules(crf: CrfSettings) -> dict[str, AssemblyConfig]:
    """What is compared: today's rule, and the Instance CRF with each kind of evidence.

    Args:
        crf: Weights of masks, as the bundle has them.
    """
    boxes = replace(crf, unary=Unary.BOXES, anywhere=max(crf.anywhere, 1.0))
    settings = {
        "CRF, boxes": boxes,
        "CRF, masks": crf,
        "CRF, masks, former frame": replace(crf, temporal=crf.temporal or 0.5),
        "CRF, masks, person and part": replace(crf, joint=True),
    }
    named = {name: AssemblyConfig(kind=AssemblyKind.CRF, crf=each) for name, each in settings.items()}
    return {"greedy": AssemblyConfig(), **named}


def compare_assemblies(
    benchmark: Benchmark,
    source: Source,
    engine: Engine,
    chosen: Mapping[str, AssemblyConfig],
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by level of the benchmark (and `all`) and by name of the rule.

    Args:
        benchmark: Clips and their truth.
        source: What the clips are made of, for the exact flow.
        engine: What parses.
        chosen: Rules by name.
        progress: Told what is being done.
    """
    names = ["all", *dict.fromkeys(clip.level.name for clip in benchmark.clips)]
    tallies = {name: {rule: Tally() for rule in [*chosen, BOUND]} for name in names}
    for clip in benchmark.clips:
        progress(clip.name)
        found = list(_inferences(benchmark.frames(clip), engine))
        truth = benchmark.truth(clip)
        asked = truth_frames(truth, benchmark.recipe)
        plan = draw_plan(benchmark.recipe, clip, source.people, benchmark.recipe.attempts[clip.number])
        flows = np.stack([render_flow(plan, number, number - 1) for number in range(1, len(asked))])
        for rule, config in [*chosen.items(), (BOUND, AssemblyConfig())]:
            everybody = assemble_clip(found, engine.bundle.manifest, config, least_score=AP_THRESHOLD)
            shown = assemble_clip(found, engine.bundle.manifest, config)
            if rule == BOUND:
                shown = with_true_owners(shown, truth)
            overlaps = clip_overlaps(asked, everybody.frames, shown.frames)
            changed = sum(flickers(shown.parts_THW, truth, flows), Changes())
            boundaries = list(_boundaries(shown, truth))
            for name in ("all", clip.level.name):
                tally = tallies[name][rule]
                tally.overlaps.append(overlaps)
                tally.flicker += changed
                tally.boundaries += boundaries
                tally.seconds += shown.seconds
                tally.num_frames += len(shown.frames)
    return {
        name: {rule: tally.bound() if rule == BOUND else tally.figures() for rule, tally in rows.items()}
        for name, rows in tallies.items()
    }


def _inferences(frames: Path, engine: Engine) -> Iterator[FrameInference]:
    """What the network finds in a clip, with nearly no threshold."""
    options = ParseOptions(score_threshold=AP_THRESHOLD)
    config = SessionConfig(score_threshold=AP_THRESHOLD, schedule=options.schedule_for(engine))
    session = Session(engine.bundle.manifest, config)
    with open_video(frames) as reader:
        for frame in reader:
            for ready in drive(session.compute_features(frame, frame.time_s * 1000), engine):
                yield drive(session.run_heads(ready), engine)
        for ready in drive(session.flush_features(), engine):
            yield drive(session.run_heads(ready), engine)


def assemble_clip(
    found: Sequence[FrameInference],
    manifest: Manifest,
    assembly: AssemblyConfig,
    *,
    least_score: float | None = None,
) -> Assembled:
    """Assemble, track and encode what the network found.

    Args:
        found: Frame by frame, with nearly no threshold.
        manifest: Of the bundle.
        assembly: The rule.
        least_score: Of a person; None takes the bundle's.
    """
    least = manifest.thresholds.score if least_score is None else least_score
    clock = StageClock()
    config = SessionConfig(score_threshold=least)
    session = Session(replace(manifest, assembly=assembly), config, clock=clock)
    parsed = [session.finish_frame(replace(each, inference=_above(each.inference, least))) for each in found]
    return Assembled(
        tuple(each.result for each in parsed),
        np.stack([each.maps.person_HW for each in parsed]),
        np.stack([each.maps.part_HW for each in parsed]),
        clock.cpu_s["assemble"],
    )


def with_true_owners(run: Assembled, truth: ClipTruth) -> Assembled:
    """A clip's people with each of their pixels given to whoever was matched with its true person.

    Pixels of nobody stay so, in the results and in the truth; people match by IoU, frame by frame.
    """
    people_THW = run.people_THW.copy()
    frames = []
    for frame, found_HW, true_HW in zip(run.frames, people_THW, truth.instances_THW, strict=True):
        numbers = np.arange(1, len(frame.people) + 1)
        identities = np.unique(true_HW[true_HW > 0])
        iou_PN = np.array(
            [[region_iou(found_HW == n, true_HW == each) for each in identities] for n in numbers]
        ).reshape(len(numbers), len(identities))
        is_somebody_HW = found_HW > 0
        for row, column in zip(*linear_sum_assignment(-iou_PN), strict=True):
            if iou_PN[row, column] > 0:
                found_HW[is_somebody_HW & (true_HW == identities[column])] = numbers[row]
        masks = encode_label_map(found_HW, [int(number) for number in numbers])
        kept = [
            replace(person, mask=masks[int(number)])
            for number, person in zip(numbers, frame.people, strict=True)
            if int(number) in masks
        ]
        frames.append(replace(frame, people=tuple(kept)))
    return Assembled(tuple(frames), people_THW, run.parts_THW, run.seconds)


def _above(inference: Inference, least: float) -> Inference:
    """The candidates from a score on; worse ones never suppressed a better one."""
    good_N = inference.scores_N >= least
    return Inference(
        boxes_N4=inference.boxes_N4[good_N],
        scores_N=inference.scores_N[good_N],
        embeddings_ND=None if inference.embeddings_ND is None else inference.embeddings_ND[good_N],
        masks_Nhw=inference.masks_Nhw[good_N],
        part_probabilities_Phw=inference.part_probabilities_Phw,
    )


def _boundaries(run: Assembled, truth: ClipTruth) -> Iterator[float]:
    """Boundary F of each true person against whoever overlaps them most; 0 where nobody does."""
    for true_HW, found_HW in zip(truth.instances_THW[::_EVERY], run.people_THW[::_EVERY], strict=True):
        for identity in np.unique(true_HW[true_HW > 0]):
            own_HW = true_HW == identity
            numbers = np.unique(found_HW[own_HW & (found_HW > 0)])
            best = max(
                (found_HW == number for number in numbers), key=lambda m: region_iou(own_HW, m), default=None
            )
            yield 0.0 if best is None else boundary_f(own_HW, np.ascontiguousarray(best))


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table, a rule a row."""
    columns = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for rule, figures in rows.items():
        cells = [_cell(name, figures[name]) for name in columns]
        lines.append(f"| {rule} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if math.isnan(value) else value


def _cell(name: str, value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2f}" if name in ("ms", "flicker %") else f"{value:.3f}"


def main(
    data: Annotated[Path, typer.Option(help="The CCP folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")],
    clips: Annotated[Path, typer.Option(help="Keep the made clips here for the next time.")],
    bundle: Annotated[Path | None, typer.Option(help="By default the one that ships.")] = None,
    level: Annotated[list[str] | None, typer.Option(help="Only clips of this level.")] = None,
) -> None:
    """Compare rules of assembly on the composite benchmark, one thread, f32."""
    cv2.setNumThreads(1)
    recipe = published().recipe
    wanted = [clip for clip in recipe.clips() if not level or clip.level.name in level]
    source = read_source(data, recipe)
    benchmark = make_benchmark(clips, recipe, lambda: source, clips=wanted)
    engine = create_engine(bundle, precision="f32", num_threads=1)
    chosen = rules(engine.bundle.manifest.assembly.crf)
    with Console(stderr=True).status("comparing") as status:
        found = compare_assemblies(benchmark, source, engine, chosen, progress=status.update)
    output.write_text(json.dumps(_without_nan(found), indent=1) + "\n")
    typer.echo("\n\n".join(f"### {name}\n\n{table(rows)}" for name, rows in found.items()))


if __name__ == "__main__":
    typer.run(main)
