"""Result of a frame: people with parts and identities; and its JSON.

Masks and boxes are in the pixels of the source frame, after its rotation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from partstream_core.boxes import Box
from partstream_core.jsonread import Fields
from partstream_core.rle import Rle


@dataclass(frozen=True, slots=True)
class Polygons:
    """A mask as closed outlines: rings of x0, y0, x1, y1, ... in a frame of `size` (height, width)."""

    size: tuple[int, int]
    rings: tuple[tuple[float, ...], ...]


Mask: TypeAlias = Rle | Polygons | None
"""A mask in the form that was asked for; None where masks were not wanted."""


@dataclass(frozen=True, slots=True)
class PartResult:
    """One part of one person."""

    part: str
    """A name of `partstream_core.labels.PARTS`."""
    score: float
    area: int
    """Pixels of the source frame."""
    mask: Mask


@dataclass(frozen=True, slots=True)
class JointResult:
    """One joint of one person."""

    joint: str
    """A name of `partstream_core.joints.JOINTS`."""
    x: float
    """Pixels of the source frame from its left edge; a joint may lie outside the frame."""
    y: float
    """Pixels from the top edge."""
    score: float
    """In [0, 1]; a joint that is hidden or outside the frame has a low one."""


@dataclass(frozen=True, slots=True)
class PersonResult:
    """One person in one frame; a pixel belongs to at most one person, and to at most one of their parts."""

    identity: int
    """Stays with the person through the stream; from 1."""
    score: float
    box: Box
    mask: Mask
    parts: tuple[PartResult, ...]
    joints: tuple[JointResult, ...] = ()
    """All 17 in COCO's order; empty where the bundle finds none or they were not wanted."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """Result of one frame: its people with their parts."""

    index: int
    """0-based number of the frame in its source."""
    time_s: float
    """Presentation time."""
    key_frame: bool
    people: tuple[PersonResult, ...]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The source of a document's frames."""

    width: int
    height: int
    num_frames: int
    frame_rate: float
    duration_s: float
    num_damaged: int
    """Frames that were in the file and could not be decoded."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The bundle and the engine that made a document."""

    bundle: str
    version: str
    provider: str
    parts: tuple[str, ...]


def frame_to_json(frame: FrameResult) -> dict[str, Any]:
    """The frame as a JSON object: a line of NDJSON, or an element of a document's `frames`."""
    return {
        "index": frame.index,
        "time_s": frame.time_s,
        "key_frame": frame.key_frame,
        "people": [_person_to_json(person) for person in frame.people],
    }


def document_to_json(video: VideoInfo, model: ModelInfo, frames: Iterable[FrameResult]) -> dict[str, Any]:
    """A whole video's results as one JSON object."""
    return {
        "video": {
            "width": video.width,
            "height": video.height,
            "num_frames": video.num_frames,
            "frame_rate": video.frame_rate,
            "duration_s": video.duration_s,
            "num_damaged": video.num_damaged,
        },
        "model": {
            "bundle": model.bundle,
            "version": model.version,
            "provider": model.provider,
            "parts": list(model.parts),
        },
        "frames": [frame_to_json(frame) for frame in frames],
    }


def frame_from_json(value: object) -> FrameResult:
    """The frame that `frame_to_json` wrote.

    Raises:
        ValueError: A field is missing or wrong; the message begins with its path.
    """
    fields = Fields(value)
    return FrameResult(
        index=fields.integer("index", minimum=0),
        time_s=fields.number("time_s"),
        key_frame=fields.boolean("key_frame"),
        people=tuple(person_from_json(person) for person in fields.children("people")),
    )


def _person_to_json(person: PersonResult) -> dict[str, Any]:
    document = {
        "identity": person.identity,
        "score": person.score,
        "box": list(person.box),
        "mask": _mask_to_json(person.mask),
        "parts": [
            {"part": part.part, "score": part.score, "area": part.area, "mask": _mask_to_json(part.mask)}
            for part in person.parts
        ],
    }
    if person.joints:
        document["joints"] = [
            {"joint": joint.joint, "x": joint.x, "y": joint.y, "score": joint.score}
            for joint in person.joints
        ]
    return document


def _mask_to_json(mask: Mask) -> dict[str, Any] | None:
    match mask:
        case None:
            return None
        case Rle(height, width, counts):
            return {"size": [height, width], "counts": counts}
        case Polygons(size, rings):
            return {"size": list(size), "polygons": [list(ring) for ring in rings]}


def person_from_json(fields: Fields) -> PersonResult:
    """The person of an object that `frame_to_json` wrote.

    Raises:
        ValueError: A field is missing or wrong; the message begins with its path.
    """
    x1, y1, x2, y2 = fields.numbers("box", length=4)
    return PersonResult(
        identity=fields.integer("identity", minimum=1),
        score=fields.number("score", minimum=0, maximum=1),
        box=(x1, y1, x2, y2),
        mask=_mask_from_json(fields),
        parts=tuple(_part_from_json(part) for part in fields.children("parts")),
        joints=(
            tuple(_joint_from_json(joint) for joint in fields.children("joints"))
            if "joints" in fields.names()
            else ()
        ),
    )


def _part_from_json(fields: Fields) -> PartResult:
    return PartResult(
        part=fields.string("part"),
        score=fields.number("score", minimum=0, maximum=1),
        area=fields.integer("area", minimum=0),
        mask=_mask_from_json(fields),
    )


def _joint_from_json(fields: Fields) -> JointResult:
    return JointResult(
        joint=fields.string("joint"),
        x=fields.number("x"),
        y=fields.number("y"),
        score=fields.number("score", minimum=0, maximum=1),
    )


def _mask_from_json(owner: Fields) -> Mask:
    if owner.get("mask") is None:
        return None
    fields = owner.child("mask")
    size = fields.numbers("size", length=2)
    if any(side < 1 or side != int(side) for side in size):
        raise fields.error("size", f"must be whole numbers from 1, got {list(size)}")
    height, width = int(size[0]), int(size[1])
    if "counts" in fields.names():
        return Rle(height, width, fields.string("counts"))
    rings = enumerate(fields.items("polygons"))
    return Polygons((height, width), tuple(_ring(fields, f"polygons[{at}]", ring) for at, ring in rings))


def _ring(fields: Fields, name: str, value: object) -> tuple[float, ...]:
    ring = fields.number_list(value, name)
    if len(ring) % 2:
        raise fields.error(name, f"must hold x and y in pairs, got {len(ring)} numbers")
    return ring
