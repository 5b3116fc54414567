"""Results on disk: NDJSON, a line a frame, and the text format of MOTS.

A reader's errors name the file and the line.

Source of the text format: MOTS (Voigtlaender et al., CVPR 2019): ``time_frame id class_id height width rle``,
class 2 for pedestrians, 10 for regions to ignore, id = class x 1000 + instance.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from partstream_core.results import FrameResult, Polygons, frame_from_json, frame_to_json
from partstream_core.rle import Rle, run_lengths

PEDESTRIAN: Final = 2
"""MOTS' class of people."""
IGNORED: Final = 10
"""MOTS' class of regions that no metric looks at."""
_IDS_PER_CLASS: Final = 1000


@dataclass(frozen=True, slots=True)
class MotsObject:
    """One line of a MOTS text file."""

    frame: int
    object_id: int
    class_id: int
    mask: Rle


def ndjson_line(frame: FrameResult) -> str:
    """The frame as one line of NDJSON, with its line end.

    Every frame becomes a line: orjson writes the same values as `json` in a third of the time.

    Raises:
        ValueError: A number is not finite.
    """
    if not math.isfinite(_sum_of_numbers(frame)):
        raise ValueError(f"frame {frame.index} holds a number that is not finite: JSON has none")
    document = frame_to_json(frame)
    try:
        return orjson.dumps(document).decode() + "\n"
    except TypeError:  # a whole number beyond 64 bits, half a surrogate pair: rare, and JSON all the same
        return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"


def read_ndjson(path: Path) -> Iterator[FrameResult]:
    """The frames of a results file, one by one.

    Raises: ValueError: A line is not a frame, or is the error with which the run ended; the message names the
        line. OSError: The file cannot be read.
    """
    for number, line in _lines(path):
        try:
            document = json.loads(line)
            if isinstance(document, dict) and "error" in document:
                raise ValueError(f"the run that wrote this failed: {json.dumps(document['error'])}")
            yield frame_from_json(document)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error


def mots_lines(frame: FrameResult) -> Iterator[str]:
    """The frame's people as lines of MOTS text, each with its line end.

    Raises:
        ValueError: A person's mask is not RLE; MOTS knows no other.
    """
    for person in frame.people:
        if not isinstance(person.mask, Rle):
            raise ValueError(f"person {person.identity} of frame {frame.index} has no mask as RLE")
        mask = person.mask
        object_id = PEDESTRIAN * _IDS_PER_CLASS + person.identity
        yield f"{frame.index} {object_id} {PEDESTRIAN} {mask.height} {mask.width} {mask.counts}\n"


def read_mots(path: Path) -> Iterator[MotsObject]:
    """The objects of a MOTS text file, in its order.

    Raises: ValueError: A line is not an object, or two lines are one object in one frame; the message names
        the line. OSError: The file cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    for number, line in _lines(path):
        try:
            found = _mots_object(line)
            if (found.frame, found.object_id) in seen:
                raise ValueError(f"object {found.object_id} is in frame {found.frame} twice")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        seen.add((found.frame, found.object_id))
        yield found


def _sum_of_numbers(frame: FrameResult) -> float:
    """Finite where every number of the frame is."""
    total = frame.time_s
    for person in frame.people:
        total += person.score + sum(person.box) + sum(part.score for part in person.parts)
        total += sum(joint.x + joint.y + joint.score for joint in person.joints)
        for mask in (person.mask, *(part.mask for part in person.parts)):
            if isinstance(mask, Polygons):
                total += sum(map(sum, mask.rings))
    return total


def _mots_object(line: str) -> MotsObject:
    words = line.split()
    if len(words) != 6:
        raise ValueError(f"must hold frame, id, class, height, width and mask, got {len(words)} words")
    frame, object_id, class_id, height, width = (int(word) for word in words[:5])
    if min(frame, object_id, class_id) < 0:
        raise ValueError(f"numbers must not be negative, got {' '.join(words[:3])}")
    mask = Rle(height, width, words[5])
    run_lengths(mask)
    return MotsObject(frame, object_id, class_id, mask)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and texts of the lines that hold something."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line
