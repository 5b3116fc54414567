"""One live stream: frames in, one answer for each out, in order, in bounded memory.

`submit`, `end`, `answers` and `close` belong to the event loop on which the stream was opened; a worker
thread uses `take` and `settle`. A slot is made for each frame when it comes and leaves with its answer, so
the number of slots is the number of frames in flight: it never passes the credits, whether frames wait for
the network or answers wait for a reader.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Protocol, Self

from partstream_core.errors import MediaError, OptionError, PartstreamError
from partstream_core.results import FrameResult
from partstream_server.media.frame import Image
from partstream_server.pipeline.session import Session
from partstream_server.streams.errors import (
    FrameIndexError,
    FrameSizeChangedError,
    StreamClosedError,
    TimeWentBackError,
)
from partstream_server.streams.metrics import UNANSWERED, StreamMetrics
from partstream_server.streams.values import (
    Answer,
    Failed,
    GoingAway,
    InputFrame,
    Latency,
    Opened,
    Outcome,
    Policy,
    Skipped,
    SkipReason,
    StreamConfig,
)

MAX_INDEX = 2**63


class FrameAccount(Protocol):
    """The account that a stream's frames are charged to."""

    def use_frame(self) -> None:
        """Count a frame; raises PartstreamError where none is left."""


class Slot:
    """One frame in flight."""

    __slots__ = ("answer", "arrived_ms", "image", "index", "time_s")

    def __init__(self, frame: InputFrame, arrived_ms: float) -> None:
        self.index, self.time_s, self.arrived_ms = frame.index, frame.time_s, arrived_ms
        self.image: bytes | Image | None = None if isinstance(frame.image, MediaError) else frame.image
        """Let go as soon as it is not needed."""
        self.answer: Answer | None = None


class Stream:
    """A stream of one client; made by `StreamHub.open`."""

    def __init__(
        self,
        opened: Opened,
        config: StreamConfig,
        session: Session,
        *,
        metrics: StreamMetrics,
        now_ms: Callable[[], float],
        on_ready: Callable[[Stream], None],
        on_close: Callable[[Stream], None],
        account: FrameAccount | None = None,
    ) -> None:
        self.opened, self.config, self.session, self.account = opened, config, session, account
        self.shape: tuple[int, int] | None = None
        """Height and width of the frames, once known."""
        self.session_in_use = threading.Lock()
        self.last_token, self.last_token_ms = b"", -math.inf
        self.num_frames = 0
        """Frames that were submitted."""
        self._metrics, self._now_ms, self._on_ready, self._on_close = metrics, now_ms, on_ready, on_close
        self._loop = asyncio.get_running_loop()
        self._slots: deque[Slot] = deque()
        self._waiting: deque[Slot] = deque()
        self._lock = threading.Lock()
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._last_index, self._last_time_s = -1, -math.inf
        self._ended = self._closed = False
        self._going_away: GoingAway | None = None
        self._told = False

    @property
    def has_waiting(self) -> bool:
        """Whether a frame waits for its turn."""
        return bool(self._waiting)

    @property
    def num_waiting(self) -> int:
        """Frames that wait for their turn."""
        return len(self._waiting)

    @property
    def num_in_flight(self) -> int:
        """Frames without an answer that was taken."""
        return len(self._slots)

    @property
    def closed(self) -> bool:
        """Whether all is over."""
        return self._closed

    @property
    def going_away(self) -> bool:
        """Whether its client was told to leave."""
        return self._going_away is not None

    async def submit(self, frame: InputFrame) -> None:
        """Take a frame; waits while all credits are in use.

        Raises:
            StreamClosedError: The stream was closed or ended.
        """
        while self.num_in_flight >= self.opened.credits and not self._closed:
            self._room.clear()
            await self._room.wait()
        if self._closed or self._ended:
            raise StreamClosedError(self.opened.stream_id)
        self.num_frames += 1
        slot = Slot(frame, self._now_ms() - max(0.0, frame.age_ms))
        self._slots.append(slot)
        if (outcome := self._outcome_at_once(frame)) is not None:
            self.settle(slot, outcome)
            return
        with self._lock:
            if self.config.policy is Policy.LATEST:
                while self._waiting:
                    self._set_answer(self._waiting.popleft(), Skipped(SkipReason.REPLACED))
            self._waiting.append(slot)
        self._news.set()
        self._on_ready(self)

    def end(self) -> None:
        """No further frame will come; `answers` ends with the last answer."""
        self._ended = True
        self._news.set()

    async def answers(self) -> AsyncGenerator[Answer | GoingAway, None]:
        """One answer for each frame, in order; ends when the stream has ended or is closed."""
        while True:
            self._news.clear()
            if self._going_away is not None and not self._told:
                self._told = True
                yield self._going_away
            elif self._slots and self._slots[0].answer is not None:
                answer = self._delivered(self._slots.popleft())
                self._room.set()
                yield answer
            elif self._closed or (self._ended and not self._slots):
                return
            else:
                await self._news.wait()

    def go_away(self, away: GoingAway) -> None:
        """Tell the client to leave; frames that come from now on are skipped."""
        self._going_away = away
        self._news.set()

    def close(self) -> None:
        """End at once: waiting frames are forgotten, the one at work is computed for nobody."""
        if self._closed:
            return
        self._closed = True
        with self._lock:
            self._waiting.clear()
        self._metrics.frames.labels(UNANSWERED, "").inc(len(self._slots))
        self._slots.clear()
        self._news.set()
        self._room.set()
        self._on_close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self) -> Slot | None:
        """The next frame to parse; those that are too old by now are skipped."""
        with self._lock:
            while self._waiting:
                slot = self._waiting.popleft()
                if not self._too_old(slot):
                    return slot
                self._set_answer(slot, Skipped(SkipReason.TOO_OLD))
        self._wake()
        return None

    def settle(
        self, slot: Slot, outcome: Outcome, latency: Latency | None = None, token: bytes = b""
    ) -> None:
        """Answer a frame."""
        self._set_answer(slot, outcome, latency, token)
        self._wake()

    def _set_answer(
        self, slot: Slot, outcome: Outcome, latency: Latency | None = None, token: bytes = b""
    ) -> None:
        slot.image = None
        slot.answer = Answer(slot.index, slot.time_s, outcome, latency or Latency(), token)

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop is closed: nobody waits
            return

    def _outcome_at_once(self, frame: InputFrame) -> Failed | Skipped | None:
        """The answer of a frame that need not be looked at."""
        try:
            self._check(frame)
        except PartstreamError as error:
            return Failed(error.code, str(error))
        self._last_index, self._last_time_s = frame.index, frame.time_s
        if self._going_away is not None:
            return Skipped(SkipReason.GOING_AWAY)
        return None if self.session.is_parsed(frame.index) else Skipped(SkipReason.NOT_WANTED)

    def _check(self, frame: InputFrame) -> None:
        if not self._last_index < frame.index < MAX_INDEX:
            raise FrameIndexError(f"frame {frame.index} came after frame {self._last_index}")
        if not math.isfinite(frame.time_s):
            raise OptionError(f"time_s must be a finite number, got {frame.time_s}")
        if frame.time_s < self._last_time_s:
            raise TimeWentBackError(
                f"frame {frame.index} is at {frame.time_s:g} s, the one before it at {self._last_time_s:g} s"
            )
        if isinstance(frame.image, MediaError):
            raise frame.image

    def check_shape(self, image: Image) -> None:
        """Refuse a frame of another size than the first one.

        Raises:
            FrameSizeChangedError: It has one.
        """
        height, width = image.shape[:2]
        if self.shape is None:
            self.shape = (height, width)
        elif self.shape != (height, width):
            raise FrameSizeChangedError(
                f"the frame is {width}x{height}, and the stream began with {self.shape[1]}x{self.shape[0]}; "
                "open another stream for frames of another size"
            )

    def _too_old(self, slot: Slot) -> bool:
        limit = self.config.max_age_ms
        return limit > 0 and self._now_ms() - slot.arrived_ms > limit

    def _delivered(self, slot: Slot) -> Answer:
        """The answer as it leaves, with the time that it took, or instead of it word that it is too late."""
        answer = slot.answer
        assert answer is not None
        late = isinstance(answer.outcome, FrameResult) and self._too_old(slot)
        latency = replace(answer.latency, total_ms=self._now_ms() - slot.arrived_ms)
        outcome: Outcome = Skipped(SkipReason.TOO_OLD) if late else answer.outcome
        answer = Answer(slot.index, slot.time_s, outcome, latency, answer.resume_token)
        self._metrics.answered(answer)
        return answer
