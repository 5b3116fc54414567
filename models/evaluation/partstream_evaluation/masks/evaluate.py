"""Run `partstream` on folders of labelled pictures and score the masks that it writes."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from partstream_core.results import FrameResult
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, people_masks
from partstream_evaluation.evaluate.turn import quarter_turns
from partstream_evaluation.masks.score import (
    BoolArray,
    FolderScores,
    MaskScore,
    label_map,
    score_picture,
    summarise,
)
from partstream_evaluation.masks.staged import StagedFolder, StagedPicture, parse, results, stage
from partstream_evaluation.masks.truth import read_folders
from partstream_evaluation.report.collect import Sample

NUM_WORST: Final = 10


@dataclass(frozen=True, slots=True)
class MasksReport:
    """Figures by folder and by picture, and what they were measured on and with."""

    folders: dict[str, FolderScores]
    pictures: dict[str, MaskScore]
    as_clips: bool
    turn: int
    command: str
    truth_sha256: str
    """Over names, sizes and bytes of the masks, upright."""
    worst: tuple[Sample, ...]
    """The worst pictures, the worst first, with truth and people as label maps."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object without the pictures to draw."""
        return {
            "folders": {name: asdict(scores) for name, scores in self.folders.items()},
            "pictures": {name: score.to_json() for name, score in self.pictures.items()},
            "as_clips": self.as_clips,
            "turn": self.turn,
            "command": self.command,
            "truth_sha256": self.truth_sha256,
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """A picture and what was found in it."""

    folder: str
    staged: StagedPicture
    frame: FrameResult
    score: MaskScore


def evaluate(
    truth_dir: Path, command: PartstreamCommand, *, as_clips: bool = False, turn: int = 0
) -> MasksReport:
    """Parse all pictures at or below a folder and compare the people with the true masks.

    Args:
        truth_dir: Folders of pictures and masks.
        command: How to call `partstream`.
        as_clips: Take each folder as a clip in the order of names, not picture by picture.
        turn: Degrees that pictures and truth are turned by, counter-clockwise.

    Raises:
        EvaluationError: The command failed, or left other results than those of the pictures.
        ValueError: A picture or a mask is missing or damaged.
    """
    folders = read_folders(truth_dir)
    digest = hashlib.sha256()
    for picture in (picture for folder in folders for picture in folder.pictures):
        truth_HW = picture.read_mask()
        digest.update(f"{picture.name} {truth_HW.shape}\n".encode() + np.packbits(truth_HW).tobytes())
    with TemporaryDirectory(prefix="partstream-masks-") as temporary:
        staged = stage(folders, Path(temporary) / "pictures", turn=turn)
        output = Path(temporary) / "found"
        line = parse(command, staged, output, as_clips=as_clips)
        compared = list(_compare(staged, output, as_clips=as_clips, turn=turn))
        worst = sorted(compared, key=lambda each: each.score.person.iou)[:NUM_WORST]
        samples = tuple(_sample(each, turn) for each in worst)
    return MasksReport(
        folders={
            folder.name: summarise([each.score for each in compared if each.folder == folder.name])
            for folder in folders
        },
        pictures={each.staged.picture.name: each.score for each in compared},
        as_clips=as_clips,
        turn=turn,
        command=line,
        truth_sha256=digest.hexdigest(),
        worst=samples,
    )


def _truth(staged: StagedPicture, turn: int) -> BoolArray:
    return np.rot90(staged.picture.read_mask(), quarter_turns(turn))


def _compare(
    folders: Sequence[StagedFolder], output: Path, *, as_clips: bool, turn: int
) -> Iterator[_Compared]:
    for folder in folders:
        frames = results(output, folder, as_clips=as_clips)
        for staged, frame in zip(folder.pictures, frames, strict=True):
            name = staged.picture.name
            try:
                score = score_picture(_truth(staged, turn), people_masks(frame, name))
            except ValueError as error:
                raise EvaluationError(f"{name}: {error}") from error
            yield _Compared(folder.name, staged, frame, score)


def _sample(compared: _Compared, turn: int) -> Sample:
    name = compared.staged.picture.name
    truth_HW = _truth(compared.staged, turn)
    return Sample(
        name=name,
        miou=compared.score.person.iou,
        image=compared.staged.image.read_bytes(),
        truth_HW=label_map([truth_HW], truth_HW.shape),
        predicted_HW=label_map(people_masks(compared.frame, name), truth_HW.shape),
    )
