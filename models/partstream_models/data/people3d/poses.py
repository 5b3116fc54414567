"""Poses without a recording: at random within what joints allow, and by kind (sitting, lying, ...).

Directions are in the frame of the chest or the pelvis: x to the person's left, -y forward, z up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from partstream_models.data.people3d.pose import FloatArray, Poser, about, halfway, swing, unit

_X: Final = np.array([1.0, 0.0, 0.0])
_Y: Final = np.array([0.0, 1.0, 0.0])
_Z: Final = np.array([0.0, 0.0, 1.0])


@dataclass(slots=True)
class Limbs:
    """A pose by angles in degrees; left first in pairs."""

    spine: FloatArray
    """Bend forward, to the left, turn to the left."""
    head: FloatArray
    arms: tuple[FloatArray, FloatArray]
    """Direction of the upper arms."""
    elbows: tuple[float, float]
    arm_twists: tuple[float, float]
    legs: tuple[FloatArray, FloatArray]
    knees: tuple[float, float]
    feet: tuple[float, float]
    """Toes down."""
    turn: FloatArray
    """The pelvis in the world, [3, 3]."""


def _toward(*, forward: float, out: float, side: int) -> FloatArray:
    """A direction: down at 0, 0; `forward` degrees lift to the front, `out` degrees to the limb's side."""
    f, o = np.deg2rad(forward), np.deg2rad(out)
    return unit(np.array([side * np.sin(o), -np.sin(f) * np.cos(o), -np.cos(f) * np.cos(o)]))


class PoseMaker:
    """Draws poses of a kind."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def draw(self, kind: str) -> Limbs:
        """A pose of a kind of `KINDS`."""
        limbs = self._standing()
        KINDS[kind](self, limbs)
        return limbs

    def _u(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))

    def _n(self, spread: float) -> float:
        return float(self._rng.normal(0, spread))

    def _both(self, make: Callable[[int], FloatArray]) -> tuple[FloatArray, FloatArray]:
        return make(1), make(-1)

    def _arm(self, forward: tuple[float, float], out: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
        return self._both(lambda side: _toward(forward=self._u(*forward), out=self._u(*out), side=side))

    def _pair(self, low: float, high: float) -> tuple[float, float]:
        return self._u(low, high), self._u(low, high)

    def _standing(self) -> Limbs:
        lean = about(_X, np.deg2rad(self._n(4))) @ about(_Y, np.deg2rad(self._n(4)))
        return Limbs(
            spine=np.array([self._n(7), self._n(6), self._n(10)]),
            head=np.array([self._n(14), self._n(8), self._n(25)]),
            arms=self._arm((-25, 35), (4, 30)),
            elbows=self._pair(0, 60),
            arm_twists=self._pair(-30, 30),
            legs=self._arm((-10, 18), (0, 13)),
            knees=self._pair(0, 14),
            feet=self._pair(-8, 8),
            turn=lean,
        )

    def _use_arms(self, limbs: Limbs) -> None:
        """Arms that do something: hang, reach, cross, hands at the hips or the face."""
        which = self._rng.integers(6)
        if which == 1:
            limbs.arms, limbs.elbows = self._arm((60, 150), (-20, 40)), self._pair(0, 60)
        elif which == 2:
            self._cross(limbs)
        elif which == 3:
            limbs.arms, limbs.elbows = self._arm((-35, 0), (35, 60)), self._pair(85, 125)
            limbs.arm_twists = (self._u(-80, -40), self._u(-80, -40))
        elif which == 4:
            self._cover_face(limbs)
        elif which == 5:
            limbs.arms, limbs.elbows = self._arm((-20, 110), (10, 100)), self._pair(0, 120)
            limbs.arm_twists = self._pair(-60, 60)

    def _cross(self, limbs: Limbs) -> None:
        limbs.arms, limbs.elbows = self._arm((25, 50), (-8, 12)), self._pair(85, 115)
        limbs.arm_twists = self._pair(45, 75)

    def _cover_face(self, limbs: Limbs) -> None:
        limbs.arms, limbs.elbows = self._arm((60, 110), (-15, 25)), self._pair(110, 145)
        limbs.arm_twists = self._pair(-15, 45)

    def _walk(self, limbs: Limbs) -> None:
        stride, side = self._u(10, 45), self._rng.choice([-1, 1])
        limbs.legs = tuple(
            _toward(forward=leg * side * stride, out=self._u(-2, 6), side=leg) for leg in (1, -1)
        )  # type: ignore[assignment]
        limbs.knees = (
            self._u(0, 60) if side < 0 else self._u(0, 15),
            self._u(0, 60) if side > 0 else self._u(0, 15),
        )
        limbs.arms = tuple(
            _toward(forward=-arm * side * stride * 0.8, out=self._u(5, 25), side=arm) for arm in (1, -1)
        )  # type: ignore[assignment]
        limbs.elbows = self._pair(5, 90)

    def _stand(self, limbs: Limbs) -> None:
        self._use_arms(limbs)

    def _sit(self, limbs: Limbs) -> None:
        limbs.legs, limbs.knees = self._arm((65, 100), (-5, 35)), self._pair(30, 120)
        limbs.spine = np.array([self._u(-15, 35), self._n(8), self._n(14)])
        self._use_arms(limbs)

    def _crouch(self, limbs: Limbs) -> None:
        limbs.legs, limbs.knees = self._arm((85, 125), (5, 45)), self._pair(100, 150)
        limbs.spine = np.array([self._u(5, 50), self._n(10), self._n(14)])
        limbs.feet = self._pair(-25, 25)
        limbs.turn = about(_X, np.deg2rad(self._u(-5, 35)))
        self._use_arms(limbs)

    def _kneel(self, limbs: Limbs) -> None:
        limbs.legs, limbs.knees = self._arm((-5, 75), (0, 25)), self._pair(75, 140)
        limbs.feet = self._pair(20, 60)
        limbs.spine = np.array([self._u(0, 40), self._n(10), self._n(14)])
        self._use_arms(limbs)

    def _lie(self, limbs: Limbs) -> None:
        limbs.legs, limbs.knees = self._arm((-10, 70), (0, 35)), self._pair(0, 100)
        limbs.arms, limbs.elbows = self._arm((-20, 170), (5, 90)), self._pair(0, 110)
        over = self._rng.choice([-90, 90]) + self._n(12)
        limbs.turn = about(_X, np.deg2rad(over)) @ about(_Z, np.deg2rad(self._n(50)))

    def _crawl(self, limbs: Limbs) -> None:
        limbs.legs, limbs.knees = self._arm((60, 110), (0, 20)), self._pair(60, 110)
        limbs.arms, limbs.elbows = self._arm((65, 120), (-5, 30)), self._pair(0, 50)
        limbs.head = np.array([self._u(-50, 10), self._n(10), self._n(20)])
        limbs.turn = about(_X, np.deg2rad(self._u(60, 95)))

    def _climb(self, limbs: Limbs) -> None:
        limbs.arms, limbs.elbows = self._arm((110, 178), (0, 50)), self._pair(0, 100)
        limbs.legs, limbs.knees = self._arm((0, 120), (0, 55)), self._pair(0, 120)
        limbs.head = np.array([self._u(-45, 15), self._n(10), self._n(20)])
        limbs.turn = about(_X, np.deg2rad(self._u(-25, 40)))

    def _jump(self, limbs: Limbs) -> None:
        limbs.arms, limbs.elbows = self._arm((-40, 175), (10, 110)), self._pair(0, 90)
        limbs.legs, limbs.knees = self._arm((-40, 100), (0, 60)), self._pair(0, 110)
        limbs.feet = self._pair(10, 50)
        limbs.turn = about(_X, np.deg2rad(self._n(20))) @ about(_Y, np.deg2rad(self._n(20)))

    def _handstand(self, limbs: Limbs) -> None:
        limbs.arms, limbs.elbows = self._arm((150, 185), (0, 30)), self._pair(0, 35)
        limbs.legs, limbs.knees = self._arm((-40, 80), (0, 60)), self._pair(0, 100)
        limbs.feet = self._pair(10, 50)
        limbs.turn = about(_X, np.deg2rad(180 + self._n(25))) @ about(_Z, np.deg2rad(self._n(60)))

    def _bend(self, limbs: Limbs) -> None:
        limbs.spine = np.array([self._u(40, 85), self._n(12), self._n(18)])
        limbs.legs, limbs.knees = self._arm((10, 60), (0, 20)), self._pair(0, 40)
        limbs.arms, limbs.elbows = self._arm((30, 120), (0, 35)), self._pair(0, 60)
        limbs.turn = about(_X, np.deg2rad(self._u(0, 45)))

    def _anything(self, limbs: Limbs) -> None:
        limbs.spine = np.array([self._u(-25, 60), self._n(16), self._n(25)])
        limbs.head = np.array([self._n(25), self._n(15), self._n(40)])
        limbs.arms, limbs.elbows = self._arm((-50, 175), (-20, 120)), self._pair(0, 145)
        limbs.arm_twists = self._pair(-70, 70)
        limbs.legs, limbs.knees = self._arm((-35, 125), (-10, 65)), self._pair(0, 140)
        limbs.feet = self._pair(-20, 50)
        axis = unit(self._rng.normal(size=3))
        limbs.turn = about(axis, np.deg2rad(self._u(0, 180)))


KINDS: Final[dict[str, Callable[[PoseMaker, Limbs], None]]] = {
    "standing": PoseMaker._stand, "walking": PoseMaker._walk, "sitting": PoseMaker._sit,
    "crouching": PoseMaker._crouch, "kneeling": PoseMaker._kneel, "lying": PoseMaker._lie,
    "crawling": PoseMaker._crawl, "climbing": PoseMaker._climb, "jumping": PoseMaker._jump,
    "handstand": PoseMaker._handstand, "bending": PoseMaker._bend, "random": PoseMaker._anything,
}  # fmt: skip


def rotations(poser: Poser, limbs: Limbs) -> npt.NDArray[np.float64]:
    """The rotation of every bone, [B, 3, 3]."""
    bend, lean, turn = np.deg2rad(limbs.spine)
    pelvis = limbs.turn
    chest = pelvis @ about(_Z, turn) @ about(_Y, lean) @ about(_X, bend)
    nod, tilt, look = np.deg2rad(limbs.head)
    head = chest @ about(_Z, look) @ about(_Y, tilt) @ about(_X, nod)
    found = {"root": pelvis, "head": head, "neck01": halfway(chest, head, 0.4)}
    for number, bone in enumerate(("spine05", "spine04", "spine03", "spine02", "spine01")):
        found[bone] = halfway(pelvis, chest, (number + 1) / 5)
    for number, mark in enumerate(("L", "R")):
        _pose_arm(found, poser, limbs, number, mark, chest)
        _pose_leg(found, poser, limbs, number, mark, pelvis)
    return poser.spread(found)


def _pose_arm(
    found: dict[str, FloatArray], poser: Poser, limbs: Limbs, number: int, mark: str, chest: FloatArray
) -> None:
    side = 1 - 2 * number
    rest_upper = poser.direction(f"upperarm01.{mark}", f"lowerarm01.{mark}")
    rest_lower = poser.direction(f"lowerarm01.{mark}", f"wrist.{mark}")
    wanted = limbs.arms[number]
    turned = swing(rest_upper, wanted)
    turned = about(wanted, side * np.deg2rad(limbs.arm_twists[number])) @ turned
    upper = chest @ turned
    hinge = upper @ np.cross(rest_upper, -_Y)
    rest_bend = np.degrees(np.arccos(np.clip(rest_upper @ rest_lower, -1, 1)))
    bent = about(hinge, float(np.deg2rad(limbs.elbows[number] - rest_bend))) @ upper
    found[f"clavicle.{mark}"] = chest @ halfway(np.eye(3), swing(rest_upper, wanted), 0.18)
    found[f"upperarm01.{mark}"] = upper
    found[f"lowerarm01.{mark}"] = bent
    found[f"wrist.{mark}"] = bent @ about(hinge_in(bent, hinge), np.deg2rad(10.0))


def hinge_in(rotation: FloatArray, axis: FloatArray) -> FloatArray:
    """An axis of the world in a bone's own frame."""
    return np.asarray(rotation.T @ unit(axis))


def _pose_leg(
    found: dict[str, FloatArray], poser: Poser, limbs: Limbs, number: int, mark: str, pelvis: FloatArray
) -> None:
    rest_upper = poser.direction(f"upperleg01.{mark}", f"lowerleg01.{mark}")
    upper = pelvis @ swing(rest_upper, limbs.legs[number])
    shin = about(upper @ _X, np.deg2rad(limbs.knees[number])) @ upper
    found[f"upperleg01.{mark}"] = upper
    found[f"lowerleg01.{mark}"] = shin
    found[f"foot.{mark}"] = shin @ about(_X, np.deg2rad(limbs.feet[number]))
