"""`partstream-evaluate composite`: people, parts and identities in made clips of the validation people."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from partstream_core.results import FrameResult
from partstream_core.results_io import read_ndjson
from partstream_evaluation.composite.recipe import Clip, published
from partstream_evaluation.composite.score import (
    ClipOverlaps,
    CompositeScores,
    clip_overlaps,
    score,
    truth_frames,
)
from partstream_evaluation.composite.source import read_source
from partstream_evaluation.composite.truth import Benchmark, make_benchmark
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, part_map_of
from partstream_evaluation.report.collect import Collector

AP_THRESHOLD: Final = 0.05
"""AP asks for everything that may be a person; all else is measured with the command's defaults."""
HEADLINE: Final = "easy+medium"


@dataclass(frozen=True, slots=True)
class CompositeReport:
    """Figures by level, and what they were measured on and with."""

    groups: dict[str, CompositeScores]
    """By level, and of easy and medium together."""
    commands: tuple[str, ...]
    recipe_sha256: str
    truth_sha256: dict[str, str]
    """By name of the clip."""
    truth_published: bool
    """Whether the clips' truth is, to the bit, the one that the package was published with."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object; the figures of easy and medium stand first; figures that do not exist are null."""
        groups = {name: _without_nan(asdict(scores)) for name, scores in self.groups.items()}
        return {
            **groups.get(HEADLINE, {}),
            "levels": groups,
            "commands": list(self.commands),
            "recipe_sha256": self.recipe_sha256,
            "truth_sha256": self.truth_sha256,
            "truth_published": self.truth_published,
        }


def evaluate(
    data_dir: Path,
    command: PartstreamCommand,
    *,
    clips_dir: Path | None = None,
    select: Callable[[Clip], bool] = lambda _: True,
    collector: Collector | None = None,
) -> CompositeReport:
    """Make the clips, run `partstream` on them twice, and compare what it writes with the truth.

    Args:
        data_dir: The CCP folder.
        command: How to call `partstream`.
        clips_dir: Where clips are kept for the next time; by default they are thrown away.
        select: Which clips to measure on.
        collector: Takes every frame in, as users get it, for a report.

    Raises:
        EvaluationError: The command failed, or its results are not those of the clips.
        ValueError: The photos or labels are not the published ones, or there is no clip.
    """
    known = published()
    recipe = known.recipe
    chosen = [clip for clip in recipe.clips() if select(clip)]
    if not chosen:
        raise ValueError("no clip of the benchmark is selected")
    with TemporaryDirectory(prefix="partstream-composite-") as folder:
        benchmark = make_benchmark(
            clips_dir or Path(folder) / "benchmark",
            recipe,
            lambda: read_source(data_dir, recipe),
            clips=chosen,
        )
        found, tracked = Path(folder) / "found", Path(folder) / "tracked"
        lines = (
            _parse(command, benchmark, found, ["--score-threshold", str(AP_THRESHOLD)]),
            _parse(command, benchmark, tracked, []),
        )
        compared = [(clip, _compare(benchmark, clip, found, tracked)) for clip in benchmark.clips]
        if collector is not None:
            for clip in benchmark.clips:
                _collect(collector, benchmark, clip, _read(tracked, clip))
    as_published = all(known.truth_sha256.get(name) == each for name, each in benchmark.truth_sha256.items())
    return CompositeReport(_grouped(compared), lines, recipe.sha256(), benchmark.truth_sha256, as_published)


def _parse(command: PartstreamCommand, benchmark: Benchmark, output: Path, options: Sequence[str]) -> str:
    """Parse all clips into folders of their names; the command line that did it."""
    return command.parse([benchmark.frames(clip) for clip in benchmark.clips], output, *options)


def _compare(benchmark: Benchmark, clip: Clip, found: Path, tracked: Path) -> ClipOverlaps:
    truth = truth_frames(benchmark.truth(clip), benchmark.recipe)
    try:
        return clip_overlaps(truth, _read(found, clip), _read(tracked, clip))
    except (ValueError, OSError) as error:
        raise EvaluationError(f"clip {clip.name}: {error}") from error


def _read(output: Path, clip: Clip) -> list[FrameResult]:
    return list(read_ndjson(output / clip.name / "results.ndjson"))


def _collect(collector: Collector, benchmark: Benchmark, clip: Clip, frames: Sequence[FrameResult]) -> None:
    truth = benchmark.truth(clip).parts_THW
    for number, (truth_HW, frame) in enumerate(zip(truth, frames, strict=True)):
        predicted_HW = part_map_of(frame, height=truth_HW.shape[0], width=truth_HW.shape[1])
        picture = benchmark.frames(clip) / f"{number:06d}.jpg"
        collector.add(clip.name, f"{clip.name}, frame {number}", picture, truth_HW, predicted_HW)


def _grouped(compared: Sequence[tuple[Clip, ClipOverlaps]]) -> dict[str, CompositeScores]:
    names = list(dict.fromkeys(clip.level.name for clip, _ in compared))
    groups = {name: [each for clip, each in compared if clip.level.name == name] for name in names}
    headline = [each for name in HEADLINE.split("+") for each in groups.get(name, [])]
    scored = {name: score(clips) for name, clips in groups.items()}
    is_whole = all(name in groups for name in HEADLINE.split("+"))  # else the name would promise too much
    return {HEADLINE: score(headline), **scored} if is_whole else scored


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
