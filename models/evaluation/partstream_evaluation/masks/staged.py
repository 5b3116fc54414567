"""Copies labelled pictures without their masks for `partstream` to read, and reads its results back.

Files are named by their number over all folders, so that no two results have one name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from partstream_core.results import FrameResult
from partstream_core.results_io import read_ndjson
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand
from partstream_evaluation.evaluate.turn import write_turned
from partstream_evaluation.masks.truth import LabelledFolder, LabelledPicture


@dataclass(frozen=True, slots=True)
class StagedPicture:
    """A picture as `partstream` was given it."""

    picture: LabelledPicture
    image: Path


@dataclass(frozen=True, slots=True)
class StagedFolder:
    """A folder as `partstream` was given it."""

    name: str
    path: Path
    pictures: tuple[StagedPicture, ...]


def stage(folders: Sequence[LabelledFolder], target: Path, *, turn: int) -> tuple[StagedFolder, ...]:
    """Link the pictures into numbered folders, or write them there turned counter-clockwise by degrees.

    Raises:
        EvaluationError: A picture that is to be turned cannot be read.
    """
    staged, number = [], 0
    for at, folder in enumerate(folders):
        path = target / f"folder-{at:04d}"
        path.mkdir(parents=True)
        pictures = []
        for picture in folder.pictures:
            image = path / f"{number:06d}{picture.image.suffix.lower()}"
            if turn:
                image = write_turned(picture.image, image, turn)
            else:
                image.symlink_to(picture.image.resolve())
            pictures.append(StagedPicture(picture, image))
            number += 1
        staged.append(StagedFolder(folder.name, path, tuple(pictures)))
    return tuple(staged)


def parse(
    command: PartstreamCommand, folders: Sequence[StagedFolder], output: Path, *, as_clips: bool
) -> str:
    """Parse the folders, each as a clip or picture by picture; the command line that did it.

    Raises:
        EvaluationError: The command cannot be run, or failed.
    """
    flags = () if as_clips else ("--independent",)
    return command.parse([folder.path for folder in folders], output, *flags)


def results(output: Path, folder: StagedFolder, *, as_clips: bool) -> Iterator[FrameResult]:
    """What was found in each picture of a folder, in their order.

    Raises:
        EvaluationError: There are no results, or of another number of frames.
    """
    if as_clips:
        yield from _frames(output / folder.path.name, folder.name, len(folder.pictures))
        return
    for staged in folder.pictures:
        yield from _frames(output / staged.image.stem, staged.picture.name, 1)


def _frames(folder: Path, name: str, expected: int) -> list[FrameResult]:
    try:
        frames = list(read_ndjson(folder / "results.ndjson"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"no results for {name}: {error}") from error
    if len(frames) != expected:
        raise EvaluationError(f"{name} is {expected} frames, but its results hold {len(frames)}")
    return frames
