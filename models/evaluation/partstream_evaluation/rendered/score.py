"""Figures of the benchmark of rendered people: of all, by kind of pose, and by what the people are like.

Shape suffixes: H height, W width, N people, C classes.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import Box, box_of_mask
from partstream_core.labels import VOID
from partstream_core.results import FrameResult
from partstream_evaluation.composite.recipe import Recipe
from partstream_evaluation.composite.score import CompositeScores, clip_overlaps, truth_frames
from partstream_evaluation.composite.score import score as score_clips
from partstream_evaluation.composite.truth import ClipTruth, small_people
from partstream_evaluation.evaluate.runner import part_map_of, people_masks
from partstream_evaluation.metrics.joints import JointScores, JointsPair, joints_of, score_joints
from partstream_evaluation.metrics.semantic import Counts, confusion_matrix, mean_iou, person_iou
from partstream_evaluation.rendered.benchmark import BenchmarkPicture, PersonFacts, PictureTruth

BoolArray = npt.NDArray[np.bool_]

_FOUND: Final = 0.5
"""IoU above which a person counts as found."""
GROUPS: Final[dict[str, tuple[tuple[str, Callable[[PersonFacts], bool]], ...]]] = {
    "skin_tone": (
        ("light", lambda each: each.skin_tone < 1 / 3),
        ("medium", lambda each: 1 / 3 <= each.skin_tone < 2 / 3),
        ("dark", lambda each: each.skin_tone >= 2 / 3),
    ),
    "age": (
        ("under 13", lambda each: each.age < 13),
        ("13 to 59", lambda each: 13 <= each.age < 60),
        ("60 and more", lambda each: each.age >= 60),
    ),
    "gender": (
        ("feminine", lambda each: each.gender < 1 / 3),
        ("between", lambda each: 1 / 3 <= each.gender < 2 / 3),
        ("masculine", lambda each: each.gender >= 2 / 3),
    ),
    "build": (
        ("thin", lambda each: each.build < 1 / 3),
        ("medium", lambda each: 1 / 3 <= each.build < 2 / 3),
        ("heavy", lambda each: each.build >= 2 / 3),
    ),
}
"""Groups of people by what is known of them."""


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Figures of a group of people; NaN where it is empty."""

    num_people: int
    found: float
    """Share of people with a mask of IoU above .5."""
    mask_iou: float
    """Mean over people of the IoU of their mask, 0 where they were not found."""
    part_accuracy: float
    """Mean over people of the share of their pixels that have the right part."""
    joints: float
    """Share of joints within a tenth of the person's longer side."""


@dataclass(frozen=True, slots=True, eq=False)
class _Person:
    """A true person and who was found there."""

    facts: PersonFacts
    iou: float
    part_accuracy: float
    joints: JointsPair


@dataclass(frozen=True, slots=True, eq=False)
class PictureScores:
    """A picture's results beside its truth."""

    confusion_CC: Counts
    people: tuple[_Person, ...]
    overlaps: Any


@dataclass(frozen=True, slots=True)
class RenderedScores:
    """Figures of the benchmark."""

    person_iou: float
    miou: float
    instances: CompositeScores
    joints: JointScores
    groups: dict[str, dict[str, GroupScores]]
    """By trait, and by kind of pose."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object; figures that do not exist are null."""
        figures = {
            "person_iou": self.person_iou,
            "miou": self.miou,
            "ap_r_50": self.instances.ap_r_50,
            "ap_r_vol": self.instances.ap_r_vol,
        }
        return {
            **{name: None if np.isnan(value) else value for name, value in figures.items()},
            "joints": self.joints.to_json(),
            "groups": {
                trait: {name: _group_to_json(scores) for name, scores in groups.items()}
                for trait, groups in self.groups.items()
            },
        }


def compare(
    picture: BenchmarkPicture, truth: PictureTruth, found: FrameResult, shown: FrameResult
) -> PictureScores:
    """Compare the results of a picture with its truth.

    Args:
        picture: Who is in it.
        truth: What is to be found.
        found: Results with nearly no threshold, for AP.
        shown: Results as users get them, for everything else.

    Raises:
        ValueError: Masks are missing or of another size.
        EvaluationError: Parts overlap, or are none of the label set.
    """
    recipe = Recipe()
    small = set(small_people(truth.instances_HW, recipe))
    height, width = truth.parts_HW.shape
    predicted_HW = part_map_of(shown, height=height, width=width)
    known_HW = np.where(np.isin(truth.instances_HW, list(small)), VOID, truth.parts_HW).astype(np.uint8)
    frames = truth_frames(ClipTruth(truth.parts_HW[None], truth.instances_HW[None]), recipe)
    masks = people_masks(shown, picture.name)
    people = [
        _person(facts, number, truth, shown, masks, predicted_HW)
        for number, facts in enumerate(picture.people, start=1)
        if number not in small and (truth.instances_HW == number).any()
    ]
    return PictureScores(
        confusion_matrix(known_HW, predicted_HW), tuple(people), clip_overlaps(frames, [found], [shown])
    )


def _person(
    facts: PersonFacts,
    number: int,
    truth: PictureTruth,
    shown: FrameResult,
    masks: Sequence[BoolArray],
    predicted_HW: npt.NDArray[np.uint8],
) -> _Person:
    own_HW = truth.instances_HW == number
    ious = [np.count_nonzero(own_HW & mask_HW) / np.count_nonzero(own_HW | mask_HW) for mask_HW in masks]
    best = int(np.argmax(ious)) if ious else -1
    iou = float(ious[best]) if ious else 0.0
    box: Box | None = box_of_mask(own_HW)
    assert box is not None, "people without pixels are left out"
    found_J3 = joints_of(shown.people[best]) if iou > _FOUND else None
    accuracy = float((predicted_HW[own_HW] == truth.parts_HW[own_HW]).mean())
    true_J3 = truth.joints_NJ3[number - 1].astype(np.float64)
    return _Person(facts, iou, accuracy, JointsPair(true_J3, box, found_J3))


def summarise(pictures: Sequence[PictureScores]) -> RenderedScores:
    """The figures of pictures together.

    Raises:
        ValueError: There is no picture.
    """
    if not pictures:
        raise ValueError("there is no picture to summarise")
    total_CC = np.sum([each.confusion_CC for each in pictures], axis=0)
    people = [person for picture in pictures for person in picture.people]
    by_kind: dict[str, list[_Person]] = defaultdict(list)
    for person in people:
        by_kind[person.facts.kind].append(person)
    groups = {
        trait: {name: _group([each for each in people if belongs(each.facts)]) for name, belongs in parts}
        for trait, parts in GROUPS.items()
    }
    groups["pose"] = {kind: _group(inside) for kind, inside in sorted(by_kind.items())}
    return RenderedScores(
        person_iou=person_iou(total_CC),
        miou=mean_iou(total_CC),
        instances=score_clips([each.overlaps for each in pictures]),
        joints=score_joints([each.joints for each in people]),
        groups=groups,
    )


def _group(people: Sequence[_Person]) -> GroupScores:
    if not people:
        return GroupScores(0, *[float("nan")] * 4)
    ious = np.array([each.iou for each in people])
    return GroupScores(
        num_people=len(people),
        found=float((ious > _FOUND).mean()),
        mask_iou=float(ious.mean()),
        part_accuracy=float(np.mean([each.part_accuracy for each in people])),
        joints=score_joints([each.joints for each in people]).pck,
    )


def _group_to_json(scores: GroupScores) -> dict[str, float | int | None]:
    values = {name: getattr(scores, name) for name in ("found", "mask_iou", "part_accuracy", "joints")}
    known = {name: None if np.isnan(value) else value for name, value in values.items()}
    return {"num_people": scores.num_people, **known}
