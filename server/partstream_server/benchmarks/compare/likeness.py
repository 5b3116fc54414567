"""Embeddings of one person and of others: `python -m partstream_server.benchmarks.compare.likeness`.

On the composite benchmark, whose people no training run saw: a few frames of each clip, far apart. It says at
which distance a track should be found again across a gap or a scene cut (`TrackerConfig.refind_distance`).

Shape suffixes: H height, W width of the frame; h, w of the network's masks; E embedding channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image

from partstream_core.tracker.match import cosine_distance
from partstream_evaluation.composite.recipe import published
from partstream_evaluation.composite.source import read_source
from partstream_evaluation.composite.truth import Benchmark, make_benchmark
from partstream_server.engine import Engine, create_engine
from partstream_server.pipeline.inference import InferConfig, infer
from partstream_server.pipeline.session import drive

DISTANCES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
_LEAST_OVERLAP = 0.5
"""IoU from which a found person is one of the truth."""
_FRAMES = 5
"""Of each clip, equally far apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One person found in one frame."""

    clip: str
    frame: int
    person: int
    embedding_E: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Likeness:
    """Shares of pairs of sightings that are nearer than a cosine distance."""

    distance: float
    same_person: float
    """Of one person in two frames of a clip."""
    same_clip: float
    """Of two people in two frames of a clip."""
    other_clip: float
    """Of people of two clips, as on both sides of a scene cut."""


def sightings(engine: Engine, benchmark: Benchmark) -> Iterator[Sighting]:
    """People found in a few frames of each clip, told by the truth who they are."""
    manifest = engine.bundle.manifest
    config = InferConfig(
        score_threshold=manifest.thresholds.score, nms_threshold=manifest.thresholds.nms, max_people=20
    )
    for clip in benchmark.clips:
        truth_THW = benchmark.truth(clip).instances_THW
        paths = sorted(benchmark.frames(clip).iterdir())
        for at in np.linspace(0, len(paths) - 1, _FRAMES).astype(int).tolist():
            with Image.open(paths[at]) as picture:
                image = np.asarray(picture.convert("RGB"), np.uint8)
            found = drive(infer(image, manifest, config), engine)
            if found.embeddings_ND is None:
                raise ValueError(f"the bundle {manifest.name} has no embeddings")
            for mask_hw, embedding_E in zip(found.masks_Nhw, found.embeddings_ND, strict=True):
                person = whose(mask_hw > manifest.thresholds.mask, truth_THW[at])
                if person:
                    yield Sighting(clip.name, at, person, embedding_E)


def whose(mask_hw: npt.NDArray[np.bool_], instances_HW: npt.NDArray[np.uint8]) -> int:
    """The person of the truth whom a mask overlaps enough; 0 for nobody."""
    (height, width), (rows, columns) = mask_hw.shape, instances_HW.shape
    y = ((np.arange(height) + 0.5) * rows / height).astype(int)
    x = ((np.arange(width) + 0.5) * columns / width).astype(int)
    small_hw = instances_HW[y][:, x]
    for person in np.unique(small_hw[mask_hw]).tolist():
        own_hw = small_hw == person
        overlap = np.count_nonzero(mask_hw & own_hw) / np.count_nonzero(mask_hw | own_hw)
        if person and overlap > _LEAST_OVERLAP:
            return int(person)
    return 0


def compare(seen: Sequence[Sighting]) -> list[Likeness]:
    """Shares of pairs that are nearer than each distance; NaN where there is no pair.

    Raises:
        ValueError: Nobody was seen.
    """
    if not seen:
        raise ValueError("nobody was found in the clips")
    embeddings = np.stack([each.embedding_E for each in seen])
    distances = cosine_distance(embeddings, embeddings)
    clips = np.array([each.clip for each in seen])
    frames = np.array([each.frame for each in seen])
    people = np.array([each.person for each in seen])
    upper = np.triu(np.ones(distances.shape, np.bool_), k=1)
    one_clip = clips[:, None] == clips[None]
    two_frames = upper & one_clip & (frames[:, None] != frames[None])
    one_person = people[:, None] == people[None]
    kinds = (two_frames & one_person, two_frames & ~one_person, upper & ~one_clip)
    return [Likeness(limit, *(_share(distances[kind] < limit) for kind in kinds)) for limit in DISTANCES]


def _share(nearer: npt.NDArray[np.bool_]) -> float:
    return float(nearer.mean()) if nearer.size else float("nan")


def main(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The CCP folder.")],
    clips: Annotated[Path, typer.Option(file_okay=False, help="Folder of the clips; drawn where missing.")],
    bundle: Annotated[Path | None, typer.Option(file_okay=False, exists=True)] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print, for a few distances, how many pairs of sightings are nearer."""
    recipe = published().recipe
    benchmark = make_benchmark(clips, recipe, lambda: read_source(data, recipe))
    engine = create_engine(bundle, num_threads=1)
    rows = compare(list(sightings(engine, benchmark)))
    engine.close()
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows]))
        return
    typer.echo("distance  same person  others of the clip  people of other clips")
    for row in rows:
        typer.echo(
            f"{row.distance:8.2f}  {row.same_person:11.3f}  {row.same_clip:18.4f}  {row.other_clip:21.4f}"
        )


if __name__ == "__main__":
    typer.run(main)
