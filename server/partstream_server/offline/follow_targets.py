"""Targets of a follow as callers name them, and the people that they mean.

    anna@1.5:320,200            whoever is at that pixel 1.5 seconds after the source's first time
    anna@1.5:300,120,380,420    whoever that box fits (left, top, right, bottom)
    anna@1.5:#3                 the identity 3 of results with the same options
    anna@1.5:mask.png           whoever that mask covers; command line only

Shape suffixes: H height, W width of the source frame.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import Box, iou_matrix
from partstream_core.errors import OptionError
from partstream_core.follow import GivenSight
from partstream_core.results import FrameResult
from partstream_core.rle import Rle, decode

BoolArray = npt.NDArray[np.bool_]

MAX_TARGETS: Final = 32
MAX_SIGHTS: Final = 200
"""Sights that are given, of all targets together."""
LEAST_IOU: Final = 0.3
"""Of a given box or mask with the person that it means."""
PAST_THE_END_S: Final = 0.5
"""A time may be so much later than the last frame."""
_NAME = re.compile(r"[^@\s][^@]{0,63}\Z")
_FORM: Final = "NAME@SECONDS:X,Y, NAME@SECONDS:LEFT,TOP,RIGHT,BOTTOM or NAME@SECONDS:#IDENTITY"


@dataclass(frozen=True, slots=True)
class TargetSight:
    """A target as a caller named it at one time."""

    name: str
    time_s: float
    point: tuple[float, float] | None = None
    box: Box | None = None
    identity: int | None = None
    mask_HW: BoolArray | None = None


def read_sights(texts: Sequence[str], *, mask_files: bool = False) -> tuple[TargetSight, ...]:
    """The sights that callers wrote.

    Args:
        texts: As the module says.
        mask_files: Whether a mask may be named by its path.

    Raises:
        OptionError: One cannot be read, or there are none or too many.
    """
    if not texts:
        raise OptionError(f"person: name at least one person to follow, as {_FORM}")
    if len(texts) > MAX_SIGHTS:
        raise OptionError(f"person: at most {MAX_SIGHTS} sights can be given, got {len(texts)}")
    sights = tuple(_read(text, mask_files=mask_files) for text in texts)
    names = {sight.name for sight in sights}
    if len(names) > MAX_TARGETS:
        raise OptionError(f"person: at most {MAX_TARGETS} people can be followed, got {len(names)}")
    return sights


def _read(text: str, *, mask_files: bool) -> TargetSight:
    name, at, rest = text.partition("@")
    time, colon, what = rest.partition(":")
    wrong = OptionError(f"person: {text[:100]!r} is not written as {_FORM}")
    if not (at and colon and what and _NAME.match(name)):
        raise wrong
    time_s = _number(time)
    if time_s is None or time_s < 0:
        raise OptionError(f"person: {time[:40]!r} is no time in seconds from 0 ({text[:100]!r})")
    if what.startswith("#"):
        if not (what[1:].isascii() and what[1:].isdecimal() and 0 < int(what[1:]) < 1 << 53):
            raise OptionError(f"person: identities are whole numbers from 1, got {what[:40]!r}")
        return TargetSight(name, time_s, identity=int(what[1:]))
    numbers = [_number(number) for number in what.split(",")]
    known = [number for number in numbers if number is not None]
    if len(known) == len(numbers) == 2:
        return TargetSight(name, time_s, point=(known[0], known[1]))
    if len(known) == len(numbers) == 4:
        left, top, right, bottom = known
        if not (left < right and top < bottom):
            raise OptionError(f"person: a box is left, top, right, bottom, got {what[:60]!r}")
        return TargetSight(name, time_s, box=(left, top, right, bottom))
    if mask_files and len(numbers) == 1:
        return TargetSight(name, time_s, mask_HW=_read_mask(Path(what)))
    raise wrong


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _read_mask(path: Path) -> BoolArray:
    import cv2  # noqa: PLC0415 - only masks need it

    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if read is None:
        raise OptionError(f"person: {path} is no picture that can be read")
    flat = read if read.ndim == 2 else read.max(axis=2)
    mask: BoolArray = flat > 0
    if not mask.any():
        raise OptionError(f"person: the mask {path} is empty")
    return mask


class SightResolver:
    """Finds the people that sights mean while results come in.

    Args:
        sights: As callers named them.
    """

    def __init__(self, sights: Sequence[TargetSight]) -> None:
        self._waiting = sorted(sights, key=lambda sight: sight.time_s)
        self._last: FrameResult | None = None
        self.found: dict[str, list[GivenSight]] = {sight.name: [] for sight in sights}

    def observe(self, frame: FrameResult) -> None:
        """Take in the next frame.

        Raises:
            OptionError: A sight whose time this frame or the one before it is nearest to means nobody.
        """
        while self._waiting and self._waiting[0].time_s <= frame.time_s:
            sight = self._waiting.pop(0)
            nearest = frame
            if self._last is not None and sight.time_s - self._last.time_s < frame.time_s - sight.time_s:
                nearest = self._last
            self._resolve(sight, nearest)
        self._last = frame

    def finish(self) -> dict[str, list[GivenSight]]:
        """The identity of each sight, by target.

        Raises:
            OptionError: A sight is later than the last frame, or there were no frames.
        """
        for sight in self._waiting:
            if self._last is None:
                raise OptionError("person: no frame of the source was parsed")
            if sight.time_s > self._last.time_s + PAST_THE_END_S:
                raise OptionError(
                    f"person: {sight.name} is named at {sight.time_s:g} s, the last frame is at "
                    f"{self._last.time_s:g} s"
                )
            self._resolve(sight, self._last)
        self._waiting = []
        return self.found

    def _resolve(self, sight: TargetSight, frame: FrameResult) -> None:
        row = _meant(sight, frame)
        self.found[sight.name].append(GivenSight(frame.index, frame.people[row].identity))


def _meant(sight: TargetSight, frame: FrameResult) -> int:
    """Row of the person that a sight means in a frame.

    Raises:
        OptionError: Nobody is there, or a mask has another size than the frame.
    """
    there = _people_there(frame)
    where = f"{sight.name} at {sight.time_s:g} s (frame {frame.index})"
    if sight.identity is not None:
        rows = [row for row, person in enumerate(frame.people) if person.identity == sight.identity]
        if not rows:
            raise OptionError(f"person: {where}: identity {sight.identity} is not seen; {there}")
        return rows[0]
    if sight.box is not None:
        return _best(_box_scores(sight.box, frame), f"{where}: no person fits the box; {there}")
    if sight.mask_HW is not None:
        return _best(_mask_scores(sight.mask_HW, frame, where), f"{where}: no person fits the mask; {there}")
    assert sight.point is not None
    x, y = sight.point
    for row in range(len(frame.people)):
        mask = _mask_of(frame, row)
        height, width = mask.shape
        if not (0 <= x < width and 0 <= y < height):
            raise OptionError(f"person: {where}: {x:g},{y:g} is outside the {width}x{height} picture")
        if mask[int(y), int(x)]:
            return row
    raise OptionError(f"person: {where}: nobody is at {x:g},{y:g}; {there}")


def _best(scores: Sequence[float], message: str) -> int:
    best = int(np.argmax(scores)) if len(scores) else -1
    if best < 0 or scores[best] < LEAST_IOU:
        raise OptionError(f"person: {message}")
    return best


def _box_scores(box: Box, frame: FrameResult) -> list[float]:
    if not frame.people:
        return []
    boxes = np.array([person.box for person in frame.people], np.float64)
    found: list[float] = iou_matrix(np.array([box], np.float64), boxes)[0].tolist()
    return found


def _mask_scores(given_HW: BoolArray, frame: FrameResult, where: str) -> list[float]:
    scores = []
    for row in range(len(frame.people)):
        mask = _mask_of(frame, row)
        if mask.shape != given_HW.shape:
            sizes = f"{given_HW.shape[1]}x{given_HW.shape[0]}, the picture {mask.shape[1]}x{mask.shape[0]}"
            raise OptionError(f"person: {where}: the mask is {sizes}")
        scores.append(float((mask & given_HW).sum() / max((mask | given_HW).sum(), 1)))
    return scores


def _mask_of(frame: FrameResult, row: int) -> BoolArray:
    mask = frame.people[row].mask
    assert isinstance(mask, Rle), "a follow parses with run lengths"
    return decode(mask)


def _people_there(frame: FrameResult) -> str:
    if not frame.people:
        return "nobody is seen there"
    shown = [
        f"{person.identity} in {','.join(f'{side:.0f}' for side in person.box)}"
        for person in frame.people[:10]
    ]
    return f"people there: {'; '.join(shown)}"
