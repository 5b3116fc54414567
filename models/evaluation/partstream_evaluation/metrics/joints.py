"""Joints against true ones: the share within a tenth of the person's height (PCK).

People are matched before (by masks or by boxes); joints of people who were not found are wrong.

Shape suffixes: J the 17 joints in COCO's order; a last 3 is x, y, and whether the joint is to be judged
(truth) or its score (found).

Source: percentage of correct keypoints (Yang and Ramanan, PAMI 2013), with the height of the person's box, or
its width where that is longer, for a measure, so that people who lie are judged like those who stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import Box
from partstream_core.joints import FLIPPED, JOINTS
from partstream_core.results import PersonResult

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

REACH: Final = 0.1
"""Of the person's longer side."""


@dataclass(frozen=True, slots=True, eq=False)
class JointsPair:
    """One true person, and the person found there."""

    true_J3: FloatArray
    box: Box
    """Of the true person."""
    found_J3: FloatArray | None
    """None where nobody was found, or without joints."""


@dataclass(frozen=True, slots=True)
class JointScores:
    """Figures of joints; NaN where there is nothing to divide by."""

    pck: float
    """Share of the true joints that were found within a tenth of the person's longer side."""
    pck_found: float
    """The same over the people who were found."""
    swapped: float
    """Of the joints found, those in reach of the true joint on the other side, and not of their own."""
    mean_distance: float
    """Of the joints found to the true ones, as a share of the person's longer side."""
    num_people: int
    num_found: int
    per_joint: dict[str, float]
    """`pck` by joint."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object; figures that do not exist are null."""
        plain = {name: getattr(self, name) for name in ("pck", "pck_found", "swapped", "mean_distance")}
        return {
            **{name: _known(value) for name, value in plain.items()},
            "num_people": self.num_people,
            "num_found": self.num_found,
            "per_joint": {name: _known(value) for name, value in self.per_joint.items()},
        }


def joints_of(person: PersonResult) -> FloatArray | None:
    """The joints of a result, [J, 3]: x, y and score; None where it has none."""
    if not person.joints:
        return None
    by_name = {joint.joint: (joint.x, joint.y, joint.score) for joint in person.joints}
    return np.array([by_name.get(name, (np.nan, np.nan, 0.0)) for name in JOINTS], np.float64)


def score_joints(pairs: Sequence[JointsPair]) -> JointScores:
    """The figures of true people and who was found there.

    Where a person has no joints in the results, or a joint is missing, it counts as wrong.
    """
    judged = np.array([pair.true_J3[:, 2] > 0 for pair in pairs], bool).reshape(-1, len(JOINTS))
    own = np.array([_distances(pair, pair.true_J3) for pair in pairs]).reshape(judged.shape)
    other = np.array([_distances(pair, pair.true_J3[list(FLIPPED)]) for pair in pairs]).reshape(judged.shape)
    both = judged & judged[:, list(FLIPPED)]
    is_found = np.array([pair.found_J3 is not None for pair in pairs], bool)
    right = judged & (own <= REACH)
    in_found = judged & is_found[:, None]
    swapped = in_found & both & (own > REACH) & (other <= REACH)
    known = in_found & np.isfinite(own)
    return JointScores(
        pck=_share(right, judged),
        pck_found=_share(right, in_found),
        swapped=_share(swapped, in_found),
        mean_distance=float(own[known].mean()) if known.any() else float("nan"),
        num_people=len(pairs),
        num_found=int(is_found.sum()),
        per_joint={name: _share(right[:, at], judged[:, at]) for at, name in enumerate(JOINTS)},
    )


def _distances(pair: JointsPair, true_J3: FloatArray) -> FloatArray:
    """Distance of each joint found to a true one, as a share of the longer side; infinite where not found."""
    if pair.found_J3 is None:
        return np.full(len(JOINTS), np.inf)
    left, top, right, bottom = pair.box
    longer = max(right - left, bottom - top, 1.0)
    apart_J = np.linalg.norm(pair.found_J3[:, :2] - true_J3[:, :2], axis=1) / longer
    return np.asarray(np.where(np.isnan(apart_J), np.inf, apart_J), np.float64)


def _share(right: BoolArray, judged: BoolArray) -> float:
    total = int(np.count_nonzero(judged))
    return float(np.count_nonzero(right & judged)) / total if total else float("nan")


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
