"""Person IoU and milliseconds of bundles and public networks in one table."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from PIL import Image

from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand
from partstream_evaluation.masks.evaluate import evaluate
from partstream_evaluation.masks.score import FolderScores, score_picture, summarise
from partstream_evaluation.masks.truth import LabelledFolder, read_folders
from partstream_export.compare.methods import PeopleMasks
from partstream_export.compare.scenes import people_of, scene, write_scene

COUNTS: Final = (1, 2, 5)
"""People in the scenes that are timed."""
_REPEATS: Final = 8
_FRAMES: Final = 12


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a scene takes."""

    ms: float
    """One thread: all networks and what makes masks of their answers; not decoding, not encoding."""
    num_found: float
    """People found in the scene."""


@dataclass(frozen=True, slots=True)
class Row:
    """One method."""

    name: str
    folders: dict[str, FolderScores]
    timings: dict[int, Timing]
    """By number of people."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def compare(
    truth_dir: Path,
    bundles: Mapping[str, Path],
    methods: Sequence[PeopleMasks],
    executable: Path,
    *,
    tell: Callable[[str], None],
    with_times: bool = True,
) -> list[Row]:
    """Measure every method on the same pictures, and time it on the same scenes.

    Args:
        truth_dir: Folders of pictures and masks.
        bundles: Bundles by the name that they get in the table.
        methods: Public networks.
        executable: The `partstream` command.
        tell: Takes what is done now.
        with_times: Whether to time.

    Raises:
        EvaluationError: The command failed.
        ValueError: A picture or a mask is missing or damaged.
    """
    folders = read_folders(truth_dir)
    rows = []
    with TemporaryDirectory(prefix="partstream-compare-") as temporary:
        scenes = {}
        for count in COUNTS if with_times else ():
            pictures = [picture for folder in folders for picture in folder.pictures]
            image_HWC = scene(people_of(pictures, count))
            scenes[count] = image_HWC, write_scene(Path(temporary) / str(count), image_HWC, _FRAMES)
        for name, bundle in bundles.items():
            tell(name)
            report = evaluate(truth_dir, PartstreamCommand(executable, bundle))
            times = {count: time_bundle(executable, bundle, folder) for count, (_, folder) in scenes.items()}
            rows.append(Row(name, report.folders, times))
        for method in methods:
            tell(method.name)
            scores = {folder.name: _score(method, folder) for folder in folders}
            times = {count: time_method(method, image) for count, (image, _) in scenes.items()}
            rows.append(Row(method.name, scores, times))
    return rows


def _score(method: PeopleMasks, folder: LabelledFolder) -> FolderScores:
    scores = []
    for picture in folder.pictures:
        with Image.open(picture.image) as opened:
            image_HWC = np.asarray(opened.convert("RGB"))
        scores.append(score_picture(picture.read_mask(), method(image_HWC)))
    return summarise(scores)


def time_method(method: PeopleMasks, image_HWC: np.ndarray[Any, np.dtype[np.uint8]]) -> Timing:
    """The median time of a picture, after one that compiles."""
    num_found = len(method(image_HWC))
    spent = []
    for _ in range(_REPEATS):
        start_s = time.perf_counter()
        method(image_HWC)
        spent.append(time.perf_counter() - start_s)
    return Timing(1000 * statistics.median(spent), num_found)


def time_bundle(executable: Path, bundle: Path, clip: Path) -> Timing:
    """Output of `partstream bench` for a clip whose frames are parsed one by one, on one thread.

    Raises:
        EvaluationError: The command failed.
    """
    line = [str(executable), "bench", "--bundle", str(bundle), "--video", str(clip), "--json"]
    line += ["--frames", str(_FRAMES), "--schedule", "every-frame"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode != 0:
        raise EvaluationError(f"{executable} bench failed: {done.stderr.strip().splitlines()[-1:]}")
    runs = json.loads(done.stdout)["runs"]
    run = next(run for run in runs if run["threads"] == 1 and run["precision_asked"] == "auto")
    ms = run["network_ms"] + run["stages"]["infer"] + run["stages"]["assemble"]
    return Timing(ms, run["people_per_frame"])
