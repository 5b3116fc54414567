"""One pulled source: the thread that reads it, the live stream that parses it, and its subscribers."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from enum import StrEnum
from typing import Final

import numpy as np

from partstream_core.errors import PartstreamError
from partstream_server.media.frame import Image, fit_within
from partstream_server.sources.capture import Capture, Line
from partstream_server.sources.errors import SourceForbiddenError
from partstream_server.streams import Answer, GoingAway, InputFrame, Policy, Stream, StreamClosedError

BACKOFF_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S: Final = 60.0
MAX_BEHIND: Final = 64
MAX_PICTURES: Final = 16
"""Pictures that are kept for those who show them."""
_log = logging.getLogger("partstream.sources")


class State(StrEnum):
    """State of a pulled source."""

    CONNECTING = "connecting"
    RUNNING = "running"
    WAITING = "waiting"
    """It broke off or cannot be reached; the next try comes."""
    ENDED = "ended"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self in (State.ENDED, State.FAILED, State.STOPPED)


class Follower:
    """One who follows the results; who falls behind misses the oldest."""

    def __init__(self) -> None:
        self._items: deque[Answer | GoingAway] = deque(maxlen=MAX_BEHIND)
        self._news = asyncio.Event()
        self._over = False
        self.num_missed = 0

    def put(self, item: Answer | GoingAway) -> None:
        """Give an item."""
        self.num_missed += len(self._items) == MAX_BEHIND
        self._items.append(item)
        self._news.set()

    def end(self) -> None:
        """Say that no further item comes."""
        self._over = True
        self._news.set()

    def newest(self) -> Answer | GoingAway | None:
        """The newest item, if one waits; those before it are passed over."""
        newest = self._items[-1] if self._items else None
        self._items.clear()
        return newest

    async def items(self) -> AsyncGenerator[Answer | GoingAway, None]:
        """Items as they come."""
        while True:
            self._news.clear()
            if self._items:
                yield self._items.popleft()
            elif self._over:
                return
            else:
                await self._news.wait()


class Source:
    """A source that is pulled; made and stopped on the event loop, read in a thread of its own."""

    def __init__(
        self,
        source_id: str,
        stream: Stream,
        open_capture: Callable[[Callable[[Line], None]], Capture],
        *,
        reconnect: bool,
        backoff_s: tuple[float, ...] = BACKOFF_S,
    ) -> None:
        """Start.

        Args:
            source_id: Its name in logs and addresses.
            stream: What parses it; closed at the source's end.
            open_capture: Connects, telling what its bytes come over; called in the thread, again after each
                break.
            reconnect: Whether to try again.
            backoff_s: Waits between tries that fail; the last one repeats.
        """
        self.source_id, self.stream = source_id, stream
        self.state, self.problem = State.CONNECTING, ""
        self.num_frames = self.num_connections = 0
        self._open_capture, self._reconnect, self._backoff_s = open_capture, reconnect, backoff_s
        self._loop = asyncio.get_running_loop()
        self._followers: set[Follower] = set()
        self._stop = threading.Event()
        self._line: Line | None = None
        self._lock = threading.Lock()
        self._size: tuple[int, int] | None = None
        self._viewers = 0
        self._pictures: OrderedDict[int, Image] = OrderedDict()
        self._began_s, self._time_s = time.monotonic(), -1.0
        self._thread = threading.Thread(target=self._run, name=f"source-{source_id}", daemon=True)
        self._answers = asyncio.create_task(self._publish())
        self._thread.start()

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of its frames; None before the first of them."""
        return self._size

    def follow(self) -> Follower:
        """A follower of what comes from now on."""
        follower = Follower()
        if self._answers.done():
            follower.end()
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Forget a follower."""
        self._followers.discard(follower)

    def keep_pictures(self, wanted: bool) -> None:
        """Keep the newest pictures for one more who shows them, or for one less."""
        self._viewers += 1 if wanted else -1
        if not self._viewers:
            self._pictures.clear()

    def picture(self, index: int) -> Image | None:
        """The RGB picture of a frame, if it is kept."""
        return self._pictures.get(index)

    async def stop(self) -> None:
        """Stop: afterwards there is no thread, no connection and no stream."""
        self._stop.set()
        self._cut()
        self.stream.close()
        await asyncio.to_thread(self._thread.join)
        await self._answers
        if not self.state.is_over:
            self.state = State.STOPPED

    async def _publish(self) -> None:
        async for item in self.stream.answers():
            for follower in self._followers:
                follower.put(item)
            if isinstance(item, GoingAway):
                self._stop.set()
                self._cut()
        self.stream.close()
        for follower in self._followers:
            follower.end()

    def _run(self) -> None:
        try:
            self._pull_again_and_again()
        except StreamClosedError:
            self.state = State.STOPPED
        except Exception as error:
            _log.exception("source broke off", extra={"fields": {"source": self.source_id}})
            self._fail(str(error))
        finally:
            self._loop.call_soon_threadsafe(self.stream.end)

    def _pull_again_and_again(self) -> None:
        tries = 0
        while not self._stop.is_set():
            self.state = State.CONNECTING
            began_s = time.monotonic()
            try:
                if self._pull():
                    self.state = State.ENDED
                    return
                self.problem = "the source broke off"
            except SourceForbiddenError as error:
                self._fail(str(error))
                return
            except PartstreamError as error:
                self.problem = str(error)
            if self._stop.is_set():
                break
            if not self._reconnect:
                self._fail(self.problem)
                return
            tries = 0 if time.monotonic() - began_s > STEADY_S else tries + 1
            self.state = State.WAITING
            wait_s = self._backoff_s[min(max(tries, 1), len(self._backoff_s)) - 1]
            fields = {"source": self.source_id, "problem": self.problem, "wait_s": wait_s}
            _log.info("source waits", extra={"fields": fields})
            self._stop.wait(wait_s)
        self.state = State.STOPPED

    def _fail(self, problem: str) -> None:
        self.state, self.problem = State.FAILED, problem
        _log.warning("source failed", extra={"fields": {"source": self.source_id, "problem": problem}})

    def _pull(self) -> bool:
        """Pull one connection to its end; whether that was the end of the source."""
        try:
            with self._open_capture(self._use) as capture:
                self.num_connections += 1
                base_s, first_s = time.monotonic() - self._began_s, None
                for time_s, image in capture.frames():
                    if self._stop.is_set():
                        return False
                    self.state, self.problem = State.RUNNING, ""
                    now_s = moment_s = time.monotonic() - self._began_s
                    if time_s is not None:
                        first_s = time_s if first_s is None else first_s
                        moment_s = base_s + time_s - first_s
                    self._pace(moment_s - now_s if capture.is_finite else 0.0)
                    self._submit(image, moment_s)
                return capture.is_finite and not self._stop.is_set()
        finally:
            with self._lock:
                self._line = None

    def _use(self, line: Line) -> None:
        """Remember what a connection's bytes come over, so that it can be cut from the event loop."""
        with self._lock:
            self._line = line
        if self._stop.is_set():
            line.cut()

    def _cut(self) -> None:
        with self._lock:
            if self._line is not None:
                self._line.cut()

    def _pace(self, ahead_s: float) -> None:
        """Hold a file that is to be taken like a camera back to its own pace."""
        if self.stream.opened.policy is Policy.LATEST and ahead_s > 0:
            self._stop.wait(min(ahead_s, 10.0))

    def _submit(self, image: Image, time_s: float) -> None:
        if self._size is None:
            self._size = image.shape[1], image.shape[0]
        width, height = self._size
        self._time_s = max(time_s, self._time_s + 1e-3)
        frame = InputFrame(
            index=self.num_frames, time_s=self._time_s, image=fit_within(image, width=width, height=height)
        )
        if self._viewers:
            self._pictures[frame.index] = np.asarray(frame.image, np.uint8)
            while len(self._pictures) > MAX_PICTURES:
                self._pictures.popitem(last=False)
        asyncio.run_coroutine_threadsafe(self.stream.submit(frame), self._loop).result()
        self.num_frames += 1
