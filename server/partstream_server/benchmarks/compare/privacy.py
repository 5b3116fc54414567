"""How much `render=privacy` covers: `python -m partstream_server.benchmarks.compare.privacy`.

On the composite benchmark, whose truth says where faces and heads are, and whose people no training run saw.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from partstream_core.labels import PARTS
from partstream_core.schedule import ScheduleMode
from partstream_evaluation.composite.recipe import Clip, published
from partstream_evaluation.composite.source import read_source
from partstream_evaluation.composite.truth import Benchmark, make_benchmark
from partstream_server.engine import Engine, create_engine
from partstream_server.offline.parser import MediaParser
from partstream_server.offline.privacy import Effect, Hidden
from partstream_server.offline.rendering import Renderer, RenderKind, RenderOptions, options_for
from partstream_server.pipeline.parse_options import ParseOptions

_COVERED = 0.9
"""Share of a face from which it counts as covered."""
_LEAST_PIXELS = 12
"""Smaller faces show nobody."""
_FACE = PARTS.index("face")


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was covered of the faces of one level of the benchmark."""

    level: str
    hide: str
    faces: int
    """Faces in frames."""
    covered: float
    """Share of them of which at least nine tenths are covered."""
    pixels: float
    """Share of their pixels that are covered."""
    others: float
    """Share of the pixels outside of people that are covered, too."""


def measure(engine: Engine, benchmark: Benchmark, hide: Hidden, options: ParseOptions) -> Iterator[Coverage]:
    """Coverage by level, and of all levels."""
    counts: dict[str, npt.NDArray[np.float64]] = {}
    for clip in benchmark.clips:
        found = _count(engine, benchmark, clip, hide, options)
        for name in (clip.level.name, "all"):
            counts[name] = counts.get(name, np.zeros(6)) + found
    for name, (faces, covered, pixels, seen, outside, others) in counts.items():
        yield Coverage(
            name, hide.value, int(faces), covered / faces, seen / pixels, others / max(outside, 1.0)
        )


def _count(
    engine: Engine, benchmark: Benchmark, clip: Clip, hide: Hidden, options: ParseOptions
) -> npt.NDArray[np.float64]:
    """Faces, covered ones, their pixels, covered ones, pixels outside of people, covered ones."""
    truth = benchmark.truth(clip)
    total = np.zeros(6)
    for index, covered_HW in _covered(engine, benchmark.frames(clip), hide, options):
        parts_HW, people_HW = truth.parts_THW[index], truth.instances_THW[index]
        for identity in np.unique(people_HW[parts_HW == _FACE]):
            face_HW = (parts_HW == _FACE) & (people_HW == identity)
            size = np.count_nonzero(face_HW)
            if size >= _LEAST_PIXELS:
                seen = np.count_nonzero(covered_HW & face_HW)
                total[:4] += np.array([1, seen >= _COVERED * size, size, seen], np.float64)
        background_HW = people_HW == 0
        total[4] += np.count_nonzero(background_HW)
        total[5] += np.count_nonzero(covered_HW & background_HW)
    return total


def covered_share(engine: Engine, clip: Path, hide: Hidden, options: ParseOptions) -> float:
    """Share of a clip's pixels that are covered."""
    return float(np.mean([covered_HW.mean() for _, covered_HW in _covered(engine, clip, hide, options)]))


def _covered(
    engine: Engine, source: Path, hide: Hidden, options: ParseOptions
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Index and covered pixels, [H, W], of each frame of a clip."""
    # a colour that no frame has shows what is covered
    rendering = RenderOptions(render=RenderKind.PRIVACY, hide=hide, effect=Effect.FILL)
    renderer, options = Renderer(rendering), options_for(options, rendering)
    result, maps = None, None
    with MediaParser(source, engine, options, with_skipped=True) as parser:
        for picture in parser:
            if picture.result is not None:
                result, maps = picture.result, picture.maps
            blank = np.zeros_like(picture.frame.image)
            shown = renderer.render(blank, result, maps, time_s=picture.frame.time_s)
            yield picture.frame.index, shown[..., 0] > 0


def main(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The CCP folder.")],
    clips: Annotated[Path, typer.Option(file_okay=False, help="Folder of the clips; drawn where missing.")],
    bundle: Annotated[Path | None, typer.Option(file_okay=False, exists=True)] = None,
    every: Annotated[int, typer.Option(min=1, help="Parse every n-th frame.")] = 1,
    score_threshold: Annotated[
        float | None, typer.Option(help="Least score of a person.  [default: that of privacy]")
    ] = None,
    schedule: Annotated[
        ScheduleMode | None, typer.Option(help="Which frames are key frames.  [default: that of privacy]")
    ] = None,
    without_people: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of videos without people, measured, too."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print how many faces are covered, by level and by what is hidden."""
    recipe = published().recipe
    benchmark = make_benchmark(clips, recipe, lambda: read_source(data, recipe))
    engine = create_engine(bundle, num_threads=1)
    options = ParseOptions(every=every, score_threshold=score_threshold, schedule=schedule)
    rows = [row for hide in Hidden for row in measure(engine, benchmark, hide, options)]
    videos = sorted(without_people.glob("*.mp4")) if without_people else []
    shares = {
        f"{hide} {video.stem}": covered_share(engine, video, hide, options)
        for hide in Hidden
        for video in videos
    }
    engine.close()
    if as_json:
        typer.echo(json.dumps({"levels": [asdict(row) for row in rows], "without_people": shares}))
        return
    typer.echo("hide    level    faces  covered  pixels  pixels of nobody")
    for row in rows:
        typer.echo(
            f"{row.hide:7} {row.level:8} {row.faces:5}  {row.covered:7.3f}  {row.pixels:6.3f}  "
            f"{row.others:16.3f}"
        )
    for name, share in shares.items():
        typer.echo(f"{name}: {share:.4f} of the pixels")


if __name__ == "__main__":
    typer.run(main)
