"""The threads that parse frames of streams: one turn takes one frame of each of a few streams."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from partstream_core.errors import PartstreamError
from partstream_server.engine import Engine
from partstream_server.media import Frame, MediaLimits
from partstream_server.pipeline.driver import Execution
from partstream_server.pipeline.stage_times import StageClock
from partstream_server.pipeline.values import ParsedFrame
from partstream_server.streams.metrics import StreamMetrics
from partstream_server.streams.pixels import to_pixels
from partstream_server.streams.round_robin import Turns
from partstream_server.streams.shared_runs import BatchLimits, drive_together
from partstream_server.streams.stream import Slot, Stream
from partstream_server.streams.tokens import TokenMaker
from partstream_server.streams.values import Failed, Latency

TOKEN_INTERVAL_MS: Final = 200.0
"""Least time between tokens: they grow with the people, and a client needs only the newest."""
_STAGES: Final = ("infer", "assemble", "track", "encode")
_INTERNAL: Final = Failed(
    "internal_error", "something went wrong inside the service; its log holds the details"
)
_log = logging.getLogger("partstream.streams")


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks that streams go by."""

    now_ms: Callable[[], float] = lambda: time.monotonic() * 1000
    """Never runs backwards."""
    wall_s: Callable[[], float] = time.time
    """Seconds since 1970, the same on all servers."""


@dataclass(slots=True)
class Job:
    """A frame at work."""

    stream: Stream
    slot: Slot
    pixels: Frame
    started_ms: float
    decoded_ms: float


class Workers:
    """Threads that take turns' frames, as many as there are."""

    def __init__(
        self,
        engine: Engine,
        turns: Turns[Stream],
        *,
        num_threads: int,
        max_batch: int,
        limits: MediaLimits,
        tokens: TokenMaker,
        metrics: StreamMetrics,
        clocks: Clocks,
    ) -> None:
        self._engine, self._turns, self._max_batch, self._limits = engine, turns, max_batch, limits
        self._tokens, self._metrics = tokens, metrics
        self._batch_limits = BatchLimits()
        self._now_ms, self._wall_s = clocks.now_ms, clocks.wall_s
        self._threads = [
            threading.Thread(target=self._work, name=f"partstream-stream-{number}")
            for number in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the threads; the turns must have been closed."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while streams := self._turns.take(self._max_batch):
            try:
                self._parse(streams)
            except Exception:  # a worker that ends would let all streams wait for ever
                _log.exception("a worker failed")
            for stream in streams:
                self._turns.done(stream)

    def _parse(self, streams: list[Stream]) -> None:
        """Parse one frame of each."""
        for stream in streams:
            stream.session_in_use.acquire()
        jobs: list[Job] = []
        try:
            jobs += [job for stream in streams if (job := self._begin(stream)) is not None]
            before = [_stage_times(job.stream) for job in jobs]
            steps = [job.stream.session.push(job.pixels, job.decoded_ms) for job in jobs]
            executions = drive_together(
                steps,
                self._engine,
                lambda graph, size: self._metrics.batches.labels(graph).observe(size),
                self._batch_limits,
            )
            for job, execution, times in zip(jobs, executions, before, strict=True):
                self._finish(job, execution, times)
        finally:
            for job in jobs:
                if job.slot.answer is None:  # our own bug; the sender of the frame still needs an answer
                    job.stream.settle(job.slot, _INTERNAL)
            for stream in streams:
                stream.session_in_use.release()

    def _begin(self, stream: Stream) -> Job | None:
        """The stream's next frame as pixels; None where there is none, or none that can be parsed."""
        slot = stream.take()
        if slot is None:
            return None
        started_ms = self._now_ms()
        try:
            if stream.account is not None:
                stream.account.use_frame()
            assert slot.image is not None
            pixels = to_pixels(slot.image, self._limits)
            stream.check_shape(pixels)
        except Exception as error:  # of one frame; the stream goes on
            latency = Latency(queue_ms=started_ms - slot.arrived_ms, decode_ms=self._now_ms() - started_ms)
            stream.settle(slot, self._failure(stream, slot, error), latency)
            return None
        slot.image = None
        return Job(stream, slot, Frame(slot.index, slot.time_s, pixels), started_ms, self._now_ms())

    def _finish(
        self, job: Job, execution: Execution[Sequence[ParsedFrame]], before: tuple[float, ...]
    ) -> None:
        stream, slot = job.stream, job.slot
        passed = (now - then for now, then in zip(_stage_times(stream), before, strict=True))
        infer_s, assemble_s, track_s, encode_s = passed
        latency = Latency(
            queue_ms=job.started_ms - slot.arrived_ms,
            decode_ms=job.decoded_ms - job.started_ms,
            infer_ms=infer_s * 1000,
            network_ms=execution.network_s * 1000,
            assemble_ms=assemble_s * 1000,
            track_ms=track_s * 1000,
            encode_ms=encode_s * 1000,
        )
        if execution.error is not None:
            stream.settle(slot, self._failure(stream, slot, execution.error), latency)
            return
        assert execution.result is not None
        (parsed,) = execution.result
        stream.settle(slot, parsed.result, latency, self._token(stream))

    def _token(self, stream: Stream) -> bytes:
        """A fresh token, if the last one is old enough or the client needs one now."""
        now_ms = self._now_ms()
        if now_ms - stream.last_token_ms < TOKEN_INTERVAL_MS and not stream.going_away:
            return b""
        stream.last_token, stream.last_token_ms = self._tokens.make(stream.session, self._wall_s()), now_ms
        return stream.last_token

    def _failure(self, stream: Stream, slot: Slot, error: Exception) -> Failed:
        fields = {"stream": stream.opened.stream_id, "frame": slot.index}
        if isinstance(error, PartstreamError):
            _log.info("frame failed", extra={"fields": fields | {"code": error.code, "detail": str(error)}})
            return Failed(error.code, str(error))
        _log.error("frame failed", exc_info=error, extra={"fields": fields})
        return _INTERNAL


def _stage_times(stream: Stream) -> tuple[float, ...]:
    clock: StageClock = stream.session.clock
    return tuple(clock.total_s[stage] for stage in _STAGES)
