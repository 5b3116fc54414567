"""All live streams of a server: admission, scheduling and shutdown."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass, field, replace
from typing import Final

from partstream_core.errors import PartstreamError
from partstream_server.engine import Engine
from partstream_server.media import MediaLimits
from partstream_server.pipeline.parse_options import model_info
from partstream_server.pipeline.schedule_choice import choose_schedule
from partstream_server.pipeline.session import Session, SessionConfig
from partstream_server.streams.errors import (
    GoingAwayError,
    ResumeTokenError,
    StreamsFullError,
    UnknownBundleError,
)
from partstream_server.streams.metrics import StreamMetrics
from partstream_server.streams.round_robin import Turns
from partstream_server.streams.stream import FrameAccount, Stream
from partstream_server.streams.tokens import Resumption, TokenMaker
from partstream_server.streams.values import GoingAway, Opened, StreamConfig
from partstream_server.streams.worker import Clocks, Workers

_REASON: Final = "the server is about to stop"
_log = logging.getLogger("partstream.streams")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """How many streams a server serves, and how."""

    max_streams: int = 32
    max_credits: int = 32
    """Most frames in flight that a stream is granted."""
    default_credits: int = 8
    """Frames in flight of a stream that asks for none."""
    num_workers: int = 2
    max_batch: int = 1
    """Most frames of different streams that share a run of a graph."""
    resume_secret: bytes = b""
    """Empty makes one up, so that tokens are good for this process alone."""
    resume_lifetime_s: float = 600.0
    limits: MediaLimits = field(default_factory=MediaLimits)


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Public description of an open stream."""

    stream_id: str
    transport: str
    num_frames: int
    num_in_flight: int


class StreamHub:
    """Opens streams and parses their frames with one engine; its methods belong to one event loop."""

    def __init__(
        self,
        engine: Engine,
        config: HubConfig,
        metrics: StreamMetrics,
        *,
        clocks: Clocks | None = None,
    ) -> None:
        self._engine, self._config, self._metrics = engine, config, metrics
        self._clocks = clocks or Clocks()
        if not config.resume_secret:
            _log.info(
                "no PARTSTREAM_RESUME_SECRET is set: streams cannot be resumed after a restart or elsewhere"
            )
        self._tokens = TokenMaker(
            config.resume_secret or secrets.token_bytes(32),
            engine.bundle.manifest,
            lifetime_s=config.resume_lifetime_s,
        )
        self._streams: dict[str, tuple[Stream, str]] = {}
        self._draining = False
        self._emptied = asyncio.Event()
        self._turns: Turns[Stream] = Turns()
        self._workers = Workers(
            engine,
            self._turns,
            num_threads=config.num_workers,
            max_batch=config.max_batch,
            limits=config.limits,
            tokens=self._tokens,
            metrics=metrics,
            clocks=self._clocks,
        )
        metrics.watch(
            num_frames=lambda: sum(stream.num_waiting for stream, _ in list(self._streams.values())),
            num_streams=lambda: len(self._turns),
        )

    @property
    def is_busy(self) -> bool:
        """Whether a stream waits for its turn."""
        return len(self._turns) > 0

    @property
    def streams(self) -> tuple[OpenStream, ...]:
        """The streams that are open."""
        return tuple(
            OpenStream(stream_id, transport, stream.num_frames, stream.num_in_flight)
            for stream_id, (stream, transport) in self._streams.items()
        )

    def open(self, config: StreamConfig, *, transport: str, account: FrameAccount | None = None) -> Stream:
        """A new stream, or one that goes on from a token; call it on the loop that will read its answers.

        Raises:
            StreamsFullError: As many are open as may be.
            GoingAwayError: The server is about to stop.
            UnknownBundleError, ResumeTokenError: The config asks for what is not here.
        """
        try:
            stream = self._open(config, transport, account)
        except PartstreamError as error:
            self._metrics.refused.labels(error.code).inc()
            fields = {"transport": transport, "code": error.code, "detail": str(error)}
            _log.info("stream refused", extra={"fields": fields})
            raise
        opened = stream.opened
        self._metrics.opened.labels(transport, str(opened.resumed).lower()).inc()
        self._metrics.open.labels(transport).inc()
        fields = {"stream": opened.stream_id, "transport": transport, "policy": opened.policy.value}
        _log.info("stream opened", extra={"fields": fields | {"resumed": opened.resumed}})
        return stream

    async def drain(self, grace_s: float) -> None:
        """Tell every stream to leave, and wait until they have; what is left after the grace is closed."""
        self._draining = True
        for stream, _ in list(self._streams.values()):
            stream.go_away(GoingAway(_REASON, self._newest_token(stream), grace_s * 1000))
        try:
            async with asyncio.timeout(grace_s):
                while self._streams:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            _log.warning("streams did not leave", extra={"fields": {"streams": len(self._streams)}})
            for stream, _ in list(self._streams.values()):
                stream.close()

    def close(self) -> None:
        """Close every stream and end the threads; blocks while the last frames are computed."""
        self._draining = True
        for stream, _ in list(self._streams.values()):
            stream.close()
        self._turns.close()
        self._workers.join()

    def _open(self, config: StreamConfig, transport: str, account: FrameAccount | None) -> Stream:
        if self._draining:
            raise GoingAwayError("the server is about to stop; open the stream elsewhere or later")
        most = self._config.max_streams
        if len(self._streams) >= most:
            raise StreamsFullError(f"all {most} streams are taken; try again later, or on another server")
        manifest = self._engine.bundle.manifest
        if config.bundle not in ("", manifest.name):
            raise UnknownBundleError(f"this server runs the bundle {manifest.name}, not {config.bundle}")
        resumption = (
            self._tokens.read(config.resume_token, self._clocks.wall_s()) if config.resume_token else None
        )
        opened = self._describe(config, resumed=resumption is not None)
        stream = Stream(
            opened,
            replace(config, resume_token=b""),
            self._session(config, resumption),
            metrics=self._metrics,
            now_ms=self._clocks.now_ms,
            on_ready=self._turns.add,
            on_close=self._forget,
            account=account,
        )
        self._streams[opened.stream_id] = (stream, transport)
        return stream

    def _session(self, config: StreamConfig, resumption: Resumption | None) -> Session:
        manifest = self._engine.bundle.manifest
        wanted = SessionConfig(
            score_threshold=config.score_threshold,
            every=config.every,
            masks=config.masks,
            joints=config.joints,
            schedule=choose_schedule(
                manifest,
                mode=config.schedule,
                interval=config.interval,
                flow=config.flow,
                device=self._engine.device,
                encodes=config.encodes,
                live=True,
            ),
            assembly=config.assembly,
        )
        if resumption is None:
            return Session(manifest, wanted)
        try:
            return Session(manifest, wanted, resume=resumption.snapshot, paused_ms=resumption.paused_ms)
        except ValueError as error:
            raise ResumeTokenError(f"the resume token is damaged: {error}") from None

    def _describe(self, config: StreamConfig, *, resumed: bool) -> Opened:
        return Opened(
            stream_id=secrets.token_hex(8),
            model=model_info(self._engine),
            precision=self._engine.precision,
            credits=min(config.credits or self._config.default_credits, self._config.max_credits),
            policy=config.policy,
            resumed=resumed,
            token_lifetime_s=self._tokens.lifetime_s,
        )

    def _newest_token(self, stream: Stream) -> bytes:
        """The state now or, where a frame is at work, before it; that frame's answer has the next one."""
        if not stream.session_in_use.acquire(blocking=False):
            return stream.last_token
        try:
            return self._tokens.make(stream.session, self._clocks.wall_s())
        finally:
            stream.session_in_use.release()

    def _forget(self, stream: Stream) -> None:
        stream_id = stream.opened.stream_id
        _, transport = self._streams.pop(stream_id)
        self._metrics.open.labels(transport).dec()
        fields = {"stream": stream_id, "transport": transport, "frames": stream.num_frames}
        _log.info("stream closed", extra={"fields": fields})
        self._emptied.set()
