"""Joints in a clip against those of a teacher: a results file of another network, or of somebody's labels.

The teacher's file is NDJSON as `partstream parse` writes it, with boxes and joints; masks and parts are not
looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from partstream_core.boxes import iou_matrix
from partstream_core.joints import SURE
from partstream_core.results import FrameResult, PersonResult
from partstream_core.results_io import read_ndjson
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand
from partstream_evaluation.metrics.joints import JointScores, JointsPair, joints_of, score_joints

_SAME: Final = 0.4
"""IoU of boxes from which two people are one."""


@dataclass(frozen=True, slots=True)
class JointsReport:
    """Figures of a clip."""

    scores: JointScores
    num_extra: int
    """People found whom the teacher does not have."""
    num_frames: int
    command: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            **self.scores.to_json(),
            "num_extra": self.num_extra,
            "num_frames": self.num_frames,
            "command": self.command,
        }


def evaluate(
    clip: Path, teacher: Path, command: PartstreamCommand, *, least_score: float = SURE
) -> JointsReport:
    """Parse a clip and compare its joints with a teacher's.

    Args:
        clip: A video, a picture, or a folder of pictures.
        teacher: The teacher's results of it; frames that it leaves out are not judged.
        command: How to call `partstream`.
        least_score: Score from which the teacher's joints are judged.

    Raises:
        EvaluationError: The command failed, the teacher has no joints, or frames that the clip lacks.
    """
    true = _read(teacher)
    if not any(person.joints for frame in true.values() for person in frame.people):
        raise EvaluationError(f"{teacher} holds no joints")
    with TemporaryDirectory(prefix="partstream-joints-") as folder:
        line = command.parse([clip], Path(folder))
        name = clip.resolve().name if clip.is_dir() else clip.stem
        found = _read(Path(folder) / name / "results.ndjson")
    missing = sorted(set(true) - set(found))
    if missing:
        raise EvaluationError(f"{teacher} holds frame {missing[0]}, which the results of {clip} lack")
    pairs: list[JointsPair] = []
    num_extra = 0
    for index, frame in true.items():
        together, extra = match(frame, found[index], least_score=least_score)
        pairs += together
        num_extra += extra
    return JointsReport(score_joints(pairs), num_extra, len(true), line)


def match(true: FrameResult, found: FrameResult, *, least_score: float) -> tuple[list[JointsPair], int]:
    """Each person of the teacher with who was found there, and the number of people found beside them.

    People are matched by their boxes, at the greatest sum of overlaps.
    """
    people = [person for person in true.people if person.joints]
    iou_NM = iou_matrix(_boxes(people), _boxes(found.people))
    rows, columns = linear_sum_assignment(iou_NM, maximize=True)
    matched = {
        int(row): int(column)
        for row, column in zip(rows, columns, strict=True)
        if iou_NM[row, column] >= _SAME
    }
    pairs = []
    for number, person in enumerate(people):
        true_J3 = joints_of(person)
        assert true_J3 is not None
        true_J3[:, 2] = true_J3[:, 2] >= least_score
        other = joints_of(found.people[matched[number]]) if number in matched else None
        pairs.append(JointsPair(true_J3, person.box, other))
    return pairs, len(found.people) - len(matched)


def _boxes(people: Sequence[PersonResult]) -> npt.NDArray[np.float64]:
    return np.array([person.box for person in people], np.float64).reshape(-1, 4)


def _read(path: Path) -> dict[int, FrameResult]:
    try:
        return {frame.index: frame for frame in read_ndjson(path)}
    except (OSError, ValueError) as error:
        raise EvaluationError(f"cannot read results: {error}") from error
