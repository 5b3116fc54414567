"""Predictions from the `partstream` command itself: what is measured is what users get."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partstream_core.labels import PARTS
from partstream_core.results import FrameResult
from partstream_core.results_io import read_ndjson
from partstream_core.rle import Rle, decode
from partstream_evaluation.metrics.semantic import LabelMap

_LINES_OF_ERROR = 15


class EvaluationError(Exception):
    """The evaluation cannot be carried out; the message says why."""


@dataclass(frozen=True, slots=True)
class PartstreamCommand:
    """How `partstream` is called."""

    executable: Path
    bundle: Path | None = None
    options: tuple[str, ...] = ()
    """Given to every call, such as a schedule."""

    def parse(self, inputs: Sequence[Path], output: Path, *options: str) -> str:
        """Parse each input into `output/<its name>/`, nothing drawn; the command line that did it.

        Raises:
            EvaluationError: The command cannot be run, or failed.
        """
        flags = ["--no-overlay", "--no-part-maps", *options, *self.options]
        return self._run("parse", *map(str, inputs), "-o", str(output), *flags)

    def follow(self, source: Path, output: Path, person: str) -> str:
        """Follow one person of a clip into `output/follow.ndjson`; the command line that did it.

        Raises:
            EvaluationError: The command cannot be run, or failed.
        """
        return self._run("follow", str(source), "-o", str(output), "--person", person)

    def _run(self, name: str, *words: str) -> str:
        bundle = ["--bundle", str(self.bundle)] if self.bundle is not None else []
        command = [str(self.executable), name, *words, *bundle]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        except OSError as error:
            raise EvaluationError(f"cannot run {self.executable}: {error}") from error
        if done.returncode != 0:
            last = "\n".join((done.stderr or done.stdout).splitlines()[-_LINES_OF_ERROR:])
            raise EvaluationError(f"{self.executable} {name} ended with exit code {done.returncode}:\n{last}")
        return shlex.join(command)

    def parse_photos(self, photos: Sequence[Path], output: Path) -> str:
        """Parse photos, each on its own, into `output/<stem>/`; the command line that did it.

        Raises:
            EvaluationError: The command cannot be run, or failed.
        """
        return self.parse(photos, output, "--independent")


def parse_options(
    schedule: str | None = None,
    interval: int | None = None,
    flow: str | None = None,
    assembly: str | None = None,
) -> tuple[str, ...]:
    """Schedule and assembly as `partstream parse` takes them."""
    given = {"--schedule": schedule, "--interval": interval, "--flow": flow, "--assembly": assembly}
    return tuple(word for name, value in given.items() if value is not None for word in (name, str(value)))


def find_executable(given: str | None) -> Path:
    """The `partstream` command: the one given, or the one beside this Python, or the one on the path.

    Raises:
        EvaluationError: There is none.
    """
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise EvaluationError(f"there is no command {given!r}")
        return Path(found)
    folders = str(Path(sys.executable).parent)
    found = shutil.which("partstream", path=folders) or shutil.which("partstream")
    if found is None:
        raise EvaluationError("no partstream command: install partstream-server or give --partstream PATH")
    return Path(found)


def read_photo(output: Path, photo: Path) -> FrameResult:
    """What `partstream` found in a photo.

    Raises:
        EvaluationError: It left no results, or not those of one photo.
    """
    path = output / photo.stem / "results.ndjson"
    try:
        frames = list(read_ndjson(path))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"no results for {photo}: {error}") from error
    if len(frames) != 1:
        raise EvaluationError(f"{path} must hold one frame, as a photo does, got {len(frames)}")
    return frames[0]


def people_masks(frame: FrameResult, where: str) -> list[npt.NDArray[np.bool_]]:
    """The masks of a frame's people.

    Raises:
        EvaluationError: One is not RLE.
    """
    masks = []
    for person in frame.people:
        if not isinstance(person.mask, Rle):
            raise EvaluationError(f"{where}: person {person.identity} has no RLE mask")
        masks.append(decode(person.mask))
    return masks


def part_map_of(frame: FrameResult, *, height: int, width: int) -> LabelMap:
    """The frame's parts as one label map, uint8 [H, W], 0 where there is none.

    Raises:
        EvaluationError: A mask has another size or is not RLE, a part is unknown, or two claim one pixel.
    """
    labels_HW = np.zeros((height, width), np.uint8)
    for person in frame.people:
        for part in person.parts:
            where = f"the {part.part} of person {person.identity}"
            if part.part not in PARTS[1:]:
                raise EvaluationError(f"{where} is no part of the label set")
            if not isinstance(part.mask, Rle):
                raise EvaluationError(f"{where} has no RLE mask")
            if (part.mask.height, part.mask.width) != (height, width):
                size = f"{part.mask.height}x{part.mask.width}"
                raise EvaluationError(f"{where} has a mask of {size}, but the labels are {height}x{width}")
            mask_HW = decode(part.mask)
            if labels_HW[mask_HW].any():
                raise EvaluationError(f"{where} claims pixels that another part has")
            labels_HW[mask_HW] = PARTS.index(part.part)
    return labels_HW
