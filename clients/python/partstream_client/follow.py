"""Following named people through a video: the request, and the answer as a client reads it.

Shape suffixes: H height, W width of the source frame, after its rotation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Unpack

from partstream_client.deadline import Deadline
from partstream_client.errors import AnswerError
from partstream_client.people import Person
from partstream_client.progress import ProgressCallback
from partstream_client.rest import Options, Rest, json_of, read
from partstream_client.source import Source
from partstream_core.follow import Status
from partstream_core.jsonread import Fields
from partstream_core.results import PersonResult, person_from_json

FOLLOW_PATH = "/v1/follow"


@dataclass(frozen=True)
class Target:
    """One followed person in one frame."""

    name: str
    status: Status
    """Seen, hidden (between two sights inside the picture) or gone."""
    similarity: float | None = None
    """Of the looks with the templates of the target, 1 for a sight that was given; None if not seen."""
    record: PersonResult | None = None

    @cached_property
    def person(self) -> Person | None:
        """The person with mask and parts; None if not seen."""
        return None if self.record is None else Person(self.record)


@dataclass(frozen=True, slots=True)
class FollowedFrame:
    """The followed people in one frame."""

    index: int
    time_s: float
    targets: tuple[Target, ...]

    def target(self, name: str) -> Target:
        """The target of that name.

        Raises:
            KeyError: Nobody of that name is followed.
        """
        for target in self.targets:
            if target.name == name:
                return target
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class FollowResult:
    """A whole video's targets."""

    size: tuple[int, int]
    """Height and width of the frames."""
    frames: tuple[FollowedFrame, ...]


class FollowCalls:
    """The call that follows people; `AsyncClient` has it."""

    _rest: Rest

    async def follow(
        self,
        source: Source,
        targets: Sequence[str],
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> FollowResult:
        """Where named people are seen, hidden or gone, frame by frame.

        Args:
            source: A path, an http(s) address that this client fetches, an open file, or the media itself.
            targets: Whom to follow, and where they are seen: ``anna@1.5:320,200`` (a pixel at 1.5 seconds),
                ``anna@1.5:300,120,380,420`` (a box) or ``anna@1.5:#3`` (an identity of earlier results). Give
                a name again at another time to correct the follow.
            progress: Told how much has been sent.
            deadline_s: Longest time for all of it.
            options: See `Options`.

        Raises:
            OSError: The path cannot be read.
            ClientError: See `partstream_client.errors`; a sight that means nobody is a `RejectedError`.
        """
        query: dict[str, str | list[str]] = {name: str(value) for name, value in options.items()}
        query["person"] = list(targets)

        async def ask() -> bytes:
            async with (
                self._rest.opened(source) as media,
                self._rest.upload(
                    FOLLOW_PATH, media, query, {"Accept": "application/json"}, progress
                ) as response,
            ):
                return await read(response)

        document = json_of(await Deadline(deadline_s).wait(ask()))
        try:
            return follow_from(document)
        except ValueError as error:
            raise AnswerError(f"the server's document cannot be read: {error}") from error


def follow_from(value: Any) -> FollowResult:
    """The targets of a whole JSON document.

    Raises:
        ValueError: A field is missing or wrong; the message begins with its path.
    """
    document = Fields(value)
    video = document.child("video")
    size = video.integer("height", minimum=1), video.integer("width", minimum=1)
    frames = []
    for frame in document.items("frames"):
        fields = Fields(frame)
        targets = tuple(_target_from(Fields(target)) for target in fields.items("targets"))
        frames.append(FollowedFrame(fields.integer("index", minimum=0), fields.number("time_s"), targets))
    return FollowResult(size, tuple(frames))


def _target_from(fields: Fields) -> Target:
    name, word = fields.string("name"), fields.string("status")
    if word not in list(Status):
        raise ValueError(f"status: {word!r} is none of {', '.join(Status)}")
    status = Status(word)
    if status is not Status.SEEN:
        return Target(name, status)
    return Target(name, status, fields.number("similarity"), person_from_json(fields))
