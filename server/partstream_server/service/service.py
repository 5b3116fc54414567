"""State that all requests of one service share: settings, engine, gate, threads and metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias, cast

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from partstream_core.errors import PartstreamError
from partstream_server.config.settings import Settings
from partstream_server.engine.base import Engine
from partstream_server.jobs.errors import JobsUnavailableError
from partstream_server.jobs.manager import JobHooks, Jobs, JobsConfig
from partstream_server.media import MediaLimits
from partstream_server.security.access import Access
from partstream_server.service.admission import Gate, Openings
from partstream_server.service.drain import Drain
from partstream_server.service.errors import NotReadyError, as_partstream_error, codes_for
from partstream_server.service.metrics import Metrics
from partstream_server.service.tracing import Tracing
from partstream_server.sources.address import Rules
from partstream_server.sources.manager import Sources, rules_of
from partstream_server.streams import HubConfig, StreamHub

EngineOpener: TypeAlias = Callable[[], Engine]
_OPENINGS_A_STREAM = 8
"""WebSockets that may wait for their config, for each stream that may be open."""
_log = logging.getLogger("partstream.api")


class Service:
    """The shared parts; the engine arrives when it has been loaded."""

    def __init__(
        self, settings: Settings, engine: Engine | None = None, *, tracing: Tracing | None = None
    ) -> None:
        self.settings, self.tracing = settings, tracing
        self.access = Access.of(settings)
        self.metrics = Metrics()
        self.gate = Gate(max_concurrent=settings.max_concurrent, queue=settings.queue)
        self.openings = Openings(most=_OPENINGS_A_STREAM * settings.max_streams)
        self.metrics.watch(self.gate, self.openings)
        # Each parsing request runs one step at a time; those that wait may be closing files.
        self.limiter = CapacityLimiter(settings.max_concurrent + settings.queue + 1)
        self.drain = Drain()
        self.loaded = asyncio.Event()
        """Set when the engine can be used."""
        self._engine: Engine | None = None
        self._hub: StreamHub | None = None
        self._failure: PartstreamError | None = None
        self.sources = Sources(lambda: self.hub, rules_of(settings), self.limits, most=settings.max_sources)
        self.jobs = Jobs(jobs_config(settings, self.limits), self._job_hooks())
        self.metrics.watch_jobs(self.jobs.counts)
        if engine is not None:
            self._use(engine)

    @property
    def engine(self) -> Engine:
        """The engine.

        Raises:
            NotReadyError: It is not loaded, or cannot be.
        """
        if self._engine is None:
            raise NotReadyError(str(self._failure) if self._failure else "the bundle is being loaded")
        return self._engine

    @property
    def hub(self) -> StreamHub:
        """The live streams; their threads begin with the first of them.

        Raises:
            NotReadyError: The engine is not loaded, or cannot be.
        """
        if self._hub is None:
            config = _hub_config(self.settings, self.limits)
            self._hub = StreamHub(self.engine, config, self.metrics.streams)
        return self._hub

    @property
    def limits(self) -> MediaLimits:
        """The largest media that the settings allow."""
        settings = self.settings
        return MediaLimits(
            max_width=settings.max_dimension,
            max_height=settings.max_dimension,
            max_duration_s=settings.max_duration_s,
            max_frames=settings.max_frames,
            max_waiting_bytes=settings.waiting_mb << 20,
        )

    async def load(self, opener: EngineOpener) -> None:
        """Open the engine in a thread.

        Raises:
            PartstreamError: It cannot be opened.
        """
        started = time.perf_counter()
        try:
            engine = await to_thread.run_sync(opener)
        except PartstreamError as error:
            self._failure = error
            raise
        self._use(engine)
        manifest = engine.bundle.manifest
        _log.info(
            "ready",
            extra={
                "fields": {
                    "bundle": manifest.name,
                    "version": manifest.version,
                    "provider": engine.provider,
                    "precision": engine.precision,
                    "seconds": time.perf_counter() - started,
                }
            },
        )

    def _use(self, engine: Engine) -> None:
        self._engine = engine
        self.metrics.show_model(engine)
        self.loaded.set()

    def _job_hooks(self) -> JobHooks:
        def use_frame(owner: str) -> None:
            self.access.named(owner).use_frame()
            self.metrics.frames.inc()

        return JobHooks(
            engine=lambda: self.engine,
            use_frame=use_frame,
            yields=lambda: self._hub is not None and self._hub.is_busy,
            problem=job_problem,
        )

    def start_jobs(self) -> None:
        """Go on with jobs that were submitted before; a directory that cannot be used is logged."""
        if not self.jobs.has_store:
            return
        try:
            self.jobs.start()
        except JobsUnavailableError as error:
            _log.warning("jobs are not run", extra={"fields": {"reason": str(error)}})

    async def drain_streams(self, grace_s: float) -> None:
        """Let the clients of all live streams leave; close those that have not."""
        if self._hub is not None:
            await self._hub.drain(grace_s)

    def close_streams(self) -> None:
        """Close all live streams and end their threads."""
        if self._hub is not None:
            self._hub.close()
            self._hub = None

    def close(self) -> None:
        """End the streams and release the engine."""
        self.close_streams()
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def jobs_config(settings: Settings, limits: MediaLimits) -> JobsConfig:
    """How settings want jobs to be kept and run."""
    hosts = tuple(host for one in settings.webhook_hosts.split(",") if (host := one.strip()))
    return JobsConfig(
        directory=settings.jobs_dir,
        num_workers=settings.job_workers,
        lifetime_s=settings.job_ttl_s,
        quota_bytes=settings.job_quota_mb << 20,
        max_unfinished=settings.max_jobs,
        max_bytes=settings.max_upload_bytes,
        limits=replace(limits, max_duration_s=settings.job_max_duration_s),
        sources=rules_of(settings),
        webhook_hosts=Rules(hosts, settings.source_private),
        webhook_key=settings.webhook_key(),
    )


def job_problem(error: BaseException) -> dict[str, Any]:
    """Why a job failed, as it may be shown: a problem document (RFC 9457)."""
    known = as_partstream_error(error)
    code = known.code if known else "internal_error"
    detail = str(known) if known else "something went wrong inside the service; its log holds the details"
    row = codes_for(code)
    return {
        "type": f"urn:partstream:problem:{code}",
        "title": row.title,
        "status": row.http,
        "code": code,
        "detail": detail,
    }


def _hub_config(settings: Settings, limits: MediaLimits) -> HubConfig:
    secret = settings.resume_secret
    return HubConfig(
        max_streams=settings.max_streams,
        max_credits=settings.max_credits,
        default_credits=min(settings.stream_credits, settings.max_credits),
        num_workers=settings.stream_workers,
        max_batch=settings.max_batch,
        resume_secret=secret.get_secret_value().encode() if secret else b"",
        resume_lifetime_s=settings.resume_lifetime_s,
        limits=limits,
    )


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    return cast(Service, request.app.state.service)
