"""Bookkeeping of frames in flight: each is answered once, and answers are returned in order.

It does no I/O: a connection asks it what to send and tells it what came back.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from partstream_client.errors import AnswerError
from partstream_client.streaming.answers import Answer, Failed, LiveFrame, Skipped
from partstream_client.streaming.images import Picture

CONNECTION_LOST = "connection_lost"
_MAX_OPEN = 256
"""Frames in the account beyond which no further one is taken, whatever the policy."""
_MAX_UNREAD = 8
"""Results that wait to be read beyond which no frame is sent: they hold their pictures."""
_MAX_SENDINGS = 3
"""Times that a frame is sent: one that ends each connection it is sent on must not do so for ever."""


class Policy(StrEnum):
    """Policy for frames that arrive faster than they are parsed."""

    LATEST = "latest"
    """The newest is parsed and older ones are skipped: for cameras."""
    BLOCK = "block"
    """Frames are taken only as fast as they are parsed, and none is skipped: for files."""


class _State(Enum):
    WAITING = auto()
    SENT = auto()
    ANSWERED = auto()


@dataclass(slots=True, eq=False)
class Entry:
    """One frame in the account."""

    index: int
    time_s: float
    image: Picture
    taken_at: float
    """When it came out of the source, in seconds of the stream's clock."""
    state: _State = _State.WAITING
    num_sendings: int = 0
    sent_at: float = 0.0
    """When it was sent, by the same clock."""
    answer: Answer | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of an array; those of an encoded picture are not known here."""
        return None if isinstance(self.image, bytes) else (self.image.shape[0], self.image.shape[1])


class Ledger:
    """The frames of one stream, from when they are taken to when their answers leave.

    Args:
        policy: What happens to frames that come too fast.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._open: deque[Entry] = deque()
        self._num_taken = 0

    @property
    def wants_frame(self) -> bool:
        """Whether a further frame may be added."""
        if len(self._open) >= _MAX_OPEN:
            return False
        return self._policy is Policy.LATEST or self.num_waiting == 0

    @property
    def num_taken(self) -> int:
        """Frames that have been added so far."""
        return self._num_taken

    @property
    def num_in_flight(self) -> int:
        """Frames that were sent and not yet answered."""
        return self._count(_State.SENT)

    @property
    def num_waiting(self) -> int:
        """Frames that were not yet sent."""
        return self._count(_State.WAITING)

    @property
    def num_unanswered(self) -> int:
        """Frames without an answer, sent or not."""
        return len(self._open) - self._count(_State.ANSWERED)

    @property
    def has_answer(self) -> bool:
        """Whether the next answer in order is there."""
        return bool(self._open) and self._open[0].state is _State.ANSWERED

    @property
    def waiting(self) -> Entry | None:
        """The frame to send next, if one should be sent now."""
        if sum(isinstance(entry.answer, LiveFrame) for entry in self._open) >= _MAX_UNREAD:
            return None
        return next((entry for entry in self._open if entry.state is _State.WAITING), None)

    def add(self, image: Picture, time_s: float, now_s: float) -> None:
        """Take a frame; under LATEST it takes the place of one that has not been sent."""
        if self._policy is Policy.LATEST:
            for entry in self._open:
                if entry.state is _State.WAITING:
                    self._skip(entry, "replaced")
        self._open.append(Entry(self._num_taken, time_s, image, now_s))
        self._num_taken += 1

    def sent(self, entry: Entry, now_s: float) -> None:
        """Note that a frame is on its way; a second call for the same sending moves its time."""
        if entry.state is not _State.SENT:
            entry.num_sendings += 1
        entry.state, entry.sent_at = _State.SENT, now_s

    def entry(self, index: int) -> Entry:
        """The frame in flight with that number.

        Raises:
            AnswerError: There is none: the server answered what it was not asked, or twice.
        """
        for entry in self._open:
            if entry.index == index and entry.state is _State.SENT:
                return entry
        raise AnswerError(f"the server answered frame {index}, which is not in flight")

    def answered(self, entry: Entry, answer: Answer) -> None:
        """Note the answer of a frame."""
        entry.state, entry.answer = _State.ANSWERED, answer

    def send_again(self, entry: Entry) -> bool:
        """Whether a frame that the server did not look at is to be sent again, elsewhere."""
        if self._policy is Policy.BLOCK:
            entry.state = _State.WAITING
        return self._policy is Policy.BLOCK

    def connection_lost(self) -> None:
        """Decide about the frames in flight: under BLOCK they go again, under LATEST they would be late."""
        for entry in self._open:
            if entry.state is _State.SENT:
                if self._policy is Policy.LATEST:
                    self._skip(entry, CONNECTION_LOST)
                elif entry.num_sendings >= _MAX_SENDINGS:
                    times = f"{_MAX_SENDINGS} times with this frame on it"
                    self.fail(entry, CONNECTION_LOST, f"the connection was lost {times}")
                else:
                    entry.state = _State.WAITING

    def give_up(self, detail: str) -> None:
        """Answer whatever is left as failed."""
        for entry in self._open:
            if entry.state is not _State.ANSWERED:
                self.fail(entry, CONNECTION_LOST, detail)

    def take(self) -> Answer:
        """The next answer in order; it leaves the account."""
        answer = self._open.popleft().answer
        assert answer is not None
        return answer

    def fail(self, entry: Entry, code: str, detail: str) -> None:
        """Answer a frame as failed."""
        self.answered(entry, Failed(index=entry.index, time_s=entry.time_s, code=code, detail=detail))

    def _skip(self, entry: Entry, reason: str) -> None:
        self.answered(entry, Skipped(index=entry.index, time_s=entry.time_s, reason=reason))

    def _count(self, state: _State) -> int:
        return sum(entry.state is state for entry in self._open)
