"""Follows named people through a file: parse it once, link the tracklets by their looks, write the targets.

Results of the parse wait in a file beside the output, embeddings of a tracklet are few: memory does not grow
with the pixels of the clip. Embeddings are dropped when the follow ends and are written nowhere.

Source: DyeNet (Li and Loy, ECCV 2018), section 2; the match module makes the tracklets that the paper
propagates.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partstream_core.boxes import Box
from partstream_core.errors import OptionError
from partstream_core.follow import (
    FollowConfig,
    Linked,
    Sight,
    Status,
    TrackletBuilder,
    link_tracklets,
    status_of,
)
from partstream_core.results import FrameResult
from partstream_core.results_io import ndjson_line
from partstream_server.offline.follow_targets import SightResolver, TargetSight
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.pipeline.values import FloatArray, LabelMaps


@dataclass(frozen=True, slots=True)
class TargetInFrame:
    """A target in one frame."""

    name: str
    status: Status
    similarity: float | None = None
    """Of its tracklet with the target's templates, 1 for a given one; None where it is not seen."""
    person: Mapping[str, Any] | None = None
    """The person as results have them in JSON (`partstream_core.results`)."""

    def to_json(self) -> dict[str, Any]:
        """The target as an element of a frame's `targets`."""
        row: dict[str, Any] = {"name": self.name, "status": self.status.value}
        return row if self.person is None else row | {"similarity": self.similarity} | dict(self.person)


@dataclass(frozen=True, slots=True)
class FollowedFrame:
    """A frame and the targets in it."""

    index: int
    time_s: float
    key_frame: bool
    targets: tuple[TargetInFrame, ...]

    def to_json(self) -> dict[str, Any]:
        """A line of NDJSON, or an element of a document's `frames`."""
        head = {"index": self.index, "time_s": self.time_s, "key_frame": self.key_frame}
        return head | {"targets": [target.to_json() for target in self.targets]}


@dataclass(slots=True)
class _Sightings:
    """Frames in which a target is seen: identity, similarity and box of each."""

    by_frame: dict[int, tuple[int, float]] = field(default_factory=dict)
    boxes: list[Box] = field(default_factory=list)
    num_passed: int = 0
    """Of `boxes`, in the second reading."""


def check_follow_options(options: ParseOptions, *, has_embeddings: bool) -> None:
    """Pass if a file can be followed with these options.

    Raises:
        OptionError: The bundle has no embeddings, or people are left out, or masks have another form.
    """
    if not has_embeddings:
        raise OptionError("the bundle has no embeddings: nobody can be found again by their looks")
    if options.people:
        raise OptionError("people: a follow looks at everybody; name those to follow with `person`")
    if options.masks != "rle":
        raise OptionError(f"masks: a follow needs run lengths (rle), got {options.masks}")


class Follow:
    """One follow; `collect` every parsed frame, then iterate over `frames`.

    Args:
        sights: Whom to follow, as the caller named them.
        spool: File for results meanwhile; it is replaced.
        config: Thresholds of linking.
    """

    def __init__(
        self, sights: Iterable[TargetSight], spool: Path, config: FollowConfig | None = None
    ) -> None:
        self._resolver = SightResolver(tuple(sights))
        self._builder = TrackletBuilder()
        self._config = config
        self._spool = spool
        self._file = spool.open("wb")
        self.size = (0, 0)
        """Height and width of the last frame."""

    def collect(
        self, result: FrameResult, maps: LabelMaps, embeddings: Sequence[FloatArray | None] = ()
    ) -> None:
        """Take in the next parsed frame, its maps, and the embeddings of its people.

        Raises:
            OptionError: A sight means nobody.
            OSError: The spool cannot be written.
        """
        self._resolver.observe(result)
        height, width = maps.person_HW.shape
        self.size = (height, width)
        embeddings = embeddings or (None,) * len(result.people)
        for person, embedding in zip(result.people, embeddings, strict=True):
            self._builder.add(person.identity, Sight(result.index, person.score, embedding))
        self._file.write(ndjson_line(result).encode())

    def frames(self) -> Iterator[FollowedFrame]:
        """Every parsed frame with its targets; ends the collecting.

        Raises:
            OptionError: A sight means nobody, or sights contradict one another in one frame.
        """
        self._file.close()
        try:
            linked = link_tracklets(self._builder.tracklets(), self._resolver.finish(), self._config)
        except ValueError as error:
            raise OptionError(f"person: {error}") from error
        seen = {name: _sightings(each) for name, each in linked.items()}
        for frame in self._results():
            for sightings in seen.values():
                person = _person_in(frame, sightings)
                if person is not None:
                    left, top, right, bottom = person["box"]
                    sightings.boxes.append((left, top, right, bottom))
        for frame in self._results():
            targets = tuple(self._in_frame(frame, name, each) for name, each in seen.items())
            yield FollowedFrame(frame["index"], frame["time_s"], frame["key_frame"], targets)

    def _in_frame(self, frame: Mapping[str, Any], name: str, sightings: _Sightings) -> TargetInFrame:
        person = _person_in(frame, sightings)
        if person is not None:
            sightings.num_passed += 1
            similarity = round(sightings.by_frame[frame["index"]][1], 3)
            return TargetInFrame(name, Status.SEEN, similarity, person)
        boxes, place = sightings.boxes, sightings.num_passed
        before = boxes[place - 1] if place else None
        after = boxes[place] if place < len(boxes) else None
        height, width = self.size
        return TargetInFrame(name, status_of(before, after, width=width, height=height))

    def close(self) -> None:
        """Remove the spool."""
        self._file.close()
        self._spool.unlink(missing_ok=True)

    def _results(self) -> Iterator[Mapping[str, Any]]:
        with self._spool.open("rb") as file:
            for line in file:
                yield json.loads(line)


def _sightings(linked: Linked) -> _Sightings:
    found = _Sightings()
    for tracklet, similarity in zip(linked.tracklets, linked.similarities, strict=True):
        for frame in tracklet.frames_F.tolist():
            found.by_frame[frame] = (tracklet.identity, similarity)
    return found


def _person_in(frame: Mapping[str, Any], sightings: _Sightings) -> Mapping[str, Any] | None:
    found = sightings.by_frame.get(frame["index"])
    if found is None:
        return None
    people: list[Mapping[str, Any]] = frame["people"]
    return next(person for person in people if person["identity"] == found[0])


class StatusCounts:
    """Frames of each target by status."""

    def __init__(self, names: Iterable[str]) -> None:
        self.by_name: dict[str, dict[Status, int]] = {name: dict.fromkeys(Status, 0) for name in names}

    def observe(self, frame: FollowedFrame) -> None:
        """Count a frame."""
        for target in frame.targets:
            self.by_name[target.name][target.status] += 1

    def to_json(self) -> list[dict[str, Any]]:
        """A document's `targets`."""
        return [
            {"name": name, **{f"num_{status.value}": count for status, count in by_status.items()}}
            for name, by_status in self.by_name.items()
        ]


def to_line(document: Mapping[str, Any]) -> bytes:
    """A document as one line of NDJSON."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"
