"""The composite benchmark as recordings: made clips of people whom no training run ever sees.

For judging only: `partstream_evaluation.composite` draws the clips from the validation photos.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from partstream_evaluation.composite.recipe import Clip, published
from partstream_evaluation.composite.source import read_source
from partstream_evaluation.composite.truth import Benchmark, ClipTruth, make_benchmark
from partstream_models.data.readers.files import read_image
from partstream_models.data.readers.record import Frame, Recording, rows_of


def open_benchmark(
    ccp: Path, clips: Path, *, select: Callable[[Clip], bool] = lambda _: True, num_frames: int | None = None
) -> tuple[Recording, ...]:
    """The clips of the benchmark, drawn into a folder if they do not lie there yet.

    Args:
        ccp: The CCP folder.
        clips: Where the drawn clips are kept.
        select: Which of them.
        num_frames: Only the first so many of each; all where None.

    Raises:
        ValueError: The photos are not the published ones, or no clip is selected.
    """
    recipe = published().recipe
    chosen = [clip for clip in recipe.clips() if select(clip)]
    if not chosen:
        raise ValueError("no clip of the benchmark is selected")
    benchmark = make_benchmark(clips, recipe, lambda: read_source(ccp, recipe), clips=chosen)
    return tuple(_recording(benchmark, clip, num_frames) for clip in benchmark.clips)


def _recording(benchmark: Benchmark, clip: Clip, num_frames: int | None) -> Recording:
    truth = benchmark.truth(clip)
    count = min(len(truth.parts_THW), num_frames or len(truth.parts_THW))
    people = int(truth.instances_THW.max())
    load = partial(_frame, benchmark.frames(clip), truth)
    return Recording(clip.name, count, tuple(range(count)), load, people)


def _frame(folder: Path, truth: ClipTruth, number: int) -> Frame:
    instances_HW, identities = rows_of(truth.instances_THW[number])
    parts_HW = np.ascontiguousarray(truth.parts_THW[number])
    return Frame(read_image(folder / f"{number:06d}.jpg"), parts_HW, instances_HW, identities)
