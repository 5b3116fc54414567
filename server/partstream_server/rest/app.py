"""The ASGI application: routes, problem documents, middleware and the life of the engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from anyio import to_thread
from fastapi import FastAPI

from partstream_core.errors import PartstreamError
from partstream_server import __version__
from partstream_server.config.settings import Settings
from partstream_server.engine import DeviceOptions, Engine, create_engine
from partstream_server.pipeline.session import warm_up
from partstream_server.rest import follow, jobs, mjpeg, pages, parse, sources, status, websocket
from partstream_server.rest.access_log import Observer
from partstream_server.rest.authentication import Guard
from partstream_server.rest.head import Heads
from partstream_server.rest.openapi import describe
from partstream_server.rest.problems import add_problem_handlers
from partstream_server.rest.query import OPTIONS
from partstream_server.security.host import HostRule
from partstream_server.service.service import EngineOpener, Service
from partstream_server.service.tracing import Tracing

_DESCRIPTION: Final = (
    "Video in; for every frame every person's body parts and garments as masks, with an identity that stays "
    "with the person. Errors are problem documents (RFC 9457) with a stable `code`."
)
_log = logging.getLogger("partstream.api")


def create_app(
    settings: Settings,
    engine: Engine | None = None,
    *,
    on_failure: Callable[[PartstreamError], None] | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        settings: How it runs.
        engine: The engine, which stays the caller's to close; without one the application opens the one that
            the settings describe while it already answers (503 until then), and closes it at its end.
        on_failure: Told if that engine cannot be opened.
        tracing: Sent a span for each request and each call of gRPC; stays the caller's to close.
    """
    service = Service(settings, engine, tracing=tracing)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if engine is not None:
            await to_thread.run_sync(service.start_jobs)
            try:
                yield
            finally:
                await service.sources.close()
                await to_thread.run_sync(service.jobs.close)
                service.close_streams()
            return
        loading = asyncio.create_task(_load(service, opener_of(settings), on_failure))
        try:
            yield
        finally:
            await loading
            await service.sources.close()
            await to_thread.run_sync(service.jobs.close)
            service.close()

    app = FastAPI(
        title="partstream",
        version=__version__,
        summary="Body parts, garments and identities of people in video",
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    app.state.service = service
    app.include_router(pages.router)
    app.include_router(status.router)
    app.include_router(parse.router)
    app.include_router(follow.router)
    app.include_router(websocket.router)
    app.include_router(sources.router)
    app.include_router(jobs.router)
    app.include_router(mjpeg.router)
    add_problem_handlers(app, OPTIONS)
    app.add_middleware(Guard, access=service.access, hosts=HostRule.of(settings))
    app.add_middleware(Observer, metrics=service.metrics, tracing=tracing)
    app.add_middleware(Heads)
    return app


def opener_of(settings: Settings) -> EngineOpener:
    """What opens the engine that the settings describe, and compiles it for the usual shape of a video."""

    def opener() -> Engine:
        engine = create_engine(
            settings.bundle,
            provider=settings.provider,
            precision=settings.precision,
            num_threads=settings.threads,
            compiled_mb=settings.compiled_mb,
            device=DeviceOptions(
                index=settings.device,
                memory_bytes=settings.device_memory_bytes,
                engines=settings.engines,
                triton=settings.triton,
                triton_timeout_s=settings.triton_timeout_s,
            ),
        )
        warm_up(engine)
        return engine

    return opener


async def _load(
    service: Service, opener: EngineOpener, on_failure: Callable[[PartstreamError], None] | None
) -> None:
    """Load the engine; a failure is told, so that whoever runs the application can end it."""
    try:
        await service.load(opener)
        await to_thread.run_sync(service.start_jobs)
    except PartstreamError as error:
        fields = {"code": error.code, "detail": str(error)}
        _log.error("the engine cannot be opened", extra={"fields": fields})
        if on_failure:
            on_failure(error)
