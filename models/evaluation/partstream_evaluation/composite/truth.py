"""The benchmark on disk: a folder of pictures and a truth file for each clip.

`clips/NAME/000000.jpg ...` are the frames, `truth/NAME.npz` holds `parts_THW` (0..19) and `instances_THW`
(identities from 1, 0 nobody), uint8. `benchmark.json` is written after each clip and names recipe and truth
by hash.

Shape suffixes: T frames, H height, W width.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from partstream_evaluation.composite.plan import draw_plan, generator
from partstream_evaluation.composite.recipe import Clip, Recipe
from partstream_evaluation.composite.render import draw_look, render
from partstream_evaluation.composite.source import Source, backdrop_of

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ClipTruth:
    """What is to be found in a clip."""

    parts_THW: UInt8Array
    """Parts 0..19."""
    instances_THW: UInt8Array
    """The identity at each pixel, from 1; 0 nobody."""

    def sha256(self) -> str:
        """SHA-256 over sizes and bytes."""
        digest = hashlib.sha256(repr(self.parts_THW.shape).encode())
        for array in (self.parts_THW, self.instances_THW):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark that is ready to be parsed."""

    folder: Path
    recipe: Recipe
    clips: tuple[Clip, ...]
    truth_sha256: dict[str, str]
    """By name of the clip."""

    def frames(self, clip: Clip) -> Path:
        """The folder of a clip's pictures."""
        return self.folder / "clips" / clip.name

    def truth(self, clip: Clip) -> ClipTruth:
        """The truth of a clip.

        Raises:
            ValueError: The file is missing, damaged or another one.
        """
        path = self.folder / "truth" / f"{clip.name}.npz"
        try:
            with np.load(path) as arrays:
                truth = ClipTruth(arrays["parts_THW"], arrays["instances_THW"])
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"cannot read the truth of clip {clip.name} from {path}: {error}") from error
        if truth.sha256() != self.truth_sha256[clip.name]:
            raise ValueError(f"{path} is not the truth that belongs to these clips: its hash differs")
        return truth


def make_benchmark(
    folder: Path,
    recipe: Recipe,
    read: Callable[[], Source],
    *,
    clips: Sequence[Clip] | None = None,
) -> Benchmark:
    """The benchmark in a folder; what lies there already is used if it is of the same recipe.

    Args:
        folder: Made if missing.
        recipe: What the clips consist of, with the attempts that keep its ranges.
        read: Reads the photos; not called where nothing is to be drawn.
        clips: Only these of the recipe's clips.

    Raises:
        ValueError: The recipe has no attempt for a clip, or the photos are not the published ones.
    """
    wanted = recipe.clips() if clips is None else tuple(clips)
    if len(recipe.attempts) < 1 + max((clip.number for clip in wanted), default=-1):
        raise ValueError(f"the recipe knows attempts of {len(recipe.attempts)} clips only")
    index = folder / "benchmark.json"
    known = _known(index, recipe)
    missing = [clip for clip in wanted if clip.name not in known]
    if missing:
        source = read()
        for clip in missing:
            known[clip.name] = _write_clip(folder, recipe, clip, source).sha256()
            _write_index(index, recipe, known)  # a drawing that is cut short goes on here the next time
    return Benchmark(folder, recipe, wanted, {clip.name: known[clip.name] for clip in wanted})


def _known(index: Path, recipe: Recipe) -> dict[str, str]:
    """Hashes of the clips that are there already, by name."""
    if not index.is_file():
        return {}
    try:
        document = json.loads(index.read_text())
        known = {str(name): str(value) for name, value in document["truth_sha256"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{index} is damaged: {error!r}; delete its folder to draw the clips anew"
        ) from error
    if document.get("recipe_sha256") != recipe.sha256():
        raise ValueError(f"{index.parent} holds a benchmark of another recipe: name another folder")
    return known


def _write_index(index: Path, recipe: Recipe, known: dict[str, str]) -> None:
    """Put the index in place at once: it is never seen half written."""
    document = {"recipe_sha256": recipe.sha256(), "truth_sha256": known}
    unfinished = index.with_suffix(".part")
    unfinished.write_text(json.dumps(document, indent=1))
    unfinished.replace(index)


def _write_clip(folder: Path, recipe: Recipe, clip: Clip, source: Source) -> ClipTruth:
    pictures = folder / "clips" / clip.name
    pictures.mkdir(parents=True, exist_ok=True)
    attempt = recipe.attempts[clip.number]
    plan = draw_plan(recipe, clip, source.people, attempt)
    rng = generator(recipe, clip, attempt, purpose=2)
    look = draw_look(rng)
    parts, instances = [], []
    for number, frame in enumerate(render(plan, backdrop_of(source, recipe, clip), look, rng)):
        picture = Image.fromarray(frame.image_HWC)
        picture.save(pictures / f"{number:06d}.jpg", quality=recipe.jpeg_quality, subsampling=0)
        parts.append(frame.parts_HW)
        instances.append(frame.instances_HW)
    truth = ClipTruth(np.stack(parts), np.stack(instances))
    path = folder / "truth" / f"{clip.name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, parts_THW=truth.parts_THW, instances_THW=truth.instances_THW)
    return truth


def small_people(instances_HW: UInt8Array, recipe: Recipe) -> Iterator[int]:
    """Identities of people too small to demand: regions to ignore.

    Sizes count at network resolution, where the longer side has `recipe.network_side` pixels.
    """
    scale = recipe.network_side / max(instances_HW.shape)
    for identity in np.unique(instances_HW[instances_HW > 0]).tolist():
        mask_HW = instances_HW == identity
        rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
        longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        area = np.count_nonzero(mask_HW)
        if longer * scale < recipe.ignored_below or area * scale * scale < recipe.ignored_area:
            yield identity
