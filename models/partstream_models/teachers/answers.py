"""What the teachers answer about a picture, kept in files that are named by the picture's content.

Shape suffixes: H height, W width, C colour channels (RGB), N people, c hint channels, h and w the hint grid,
J joints (17, COCO order), L landmarks (33).
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partstream_models.data.photos.body_hints import HintMaker
from partstream_models.teachers.blazepose import PosedPerson
from partstream_models.teachers.people import FoundPerson, PeopleFinder
from partstream_models.teachers.pseudo_labels import largest_person

UInt8Array = npt.NDArray[np.uint8]

_VERSION = 1
"""Goes up when the teachers answer otherwise, so that old answers are not used."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Outputs of the teachers for one picture."""

    people: tuple[FoundPerson, ...]
    """By MoveNet and BlazePose, best first."""
    hints_chw: UInt8Array
    """By BodyPix and the VOC DeepLab (`hints`)."""


class Teachers:
    """All teachers; a picture that was shown before is answered from a file.

    Args:
        weights: Folder of the weights.
        answers_dir: Where answers are kept.

    Raises:
        ValueError: A file of weights is missing or damaged, or OpenVINO is not installed.
    """

    def __init__(self, weights: Path, answers_dir: Path) -> None:
        self._find, self._hint = PeopleFinder(weights), HintMaker(weights)
        self._answers_dir = answers_dir
        answers_dir.mkdir(parents=True, exist_ok=True)

    def __call__(self, image_HWC: UInt8Array) -> Answers:
        """Answers about an RGB picture."""
        content = f"{_VERSION} {image_HWC.shape}".encode() + image_HWC.tobytes()
        path = self._answers_dir / f"{hashlib.sha256(content).hexdigest()[:24]}.npz"
        kept = read_answers(path)
        if kept is None:
            kept = self._ask(image_HWC)
            write_answers(path, kept)
        return kept

    def _ask(self, image_HWC: UInt8Array) -> Answers:
        hints = self._hint(image_HWC)
        people = self._find(image_HWC)
        if not people:
            region = largest_person(hints, (image_HWC.shape[0], image_HWC.shape[1]))
            alone = self._find.in_region(image_HWC, region)
            people = () if alone is None else (alone,)
        return Answers(people, hints)


def write_answers(path: Path, answers: Answers) -> None:
    """Write answers; the file appears when it is whole."""
    people = answers.people
    masks = [np.round(each.posed.mask_HW * 255).astype(np.uint8) for each in people]
    draft = path.with_suffix(".part")
    with draft.open("wb") as opened:
        np.savez_compressed(
            opened,
            hints=answers.hints_chw,
            scores=np.array([[each.score, each.posed.presence] for each in people], np.float32),
            boxes=np.array([each.box_4 for each in people], np.float32),
            joints=np.array([each.joints_J3 for each in people], np.float32),
            landmarks=np.array([each.posed.landmarks_J3 for each in people], np.float32),
            masks=np.array(masks, np.uint8),
        )
    draft.replace(path)


def read_answers(path: Path) -> Answers | None:
    """Answers of a file; None where it is missing or damaged."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            rows = zip(
                file["scores"], file["boxes"], file["joints"], file["landmarks"], file["masks"], strict=True
            )
            people = tuple(
                FoundPerson(
                    float(score[0]),
                    box,
                    joints,
                    PosedPerson(float(score[1]), mask.astype(np.float32) / 255, landmarks),
                )
                for score, box, joints, landmarks, mask in rows
            )
            return Answers(people, file["hints"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
