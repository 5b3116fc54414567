"""ParseVideo: a file comes in chunks, and its results go while it is parsed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

from anyio import to_thread
from grpc import aio

from partstream.v1 import service_pb2
from partstream_core.errors import EmptyUploadError, UploadTooLargeError
from partstream_server.grpc.messages import (
    read_parse_options,
    write_model_info,
    write_result,
    write_video_info,
)
from partstream_server.security.access import Account
from partstream_server.service.file_parse import Job
from partstream_server.service.service import Service
from partstream_server.service.threaded_steps import ThreadedSteps
from partstream_server.service.uploads import UploadLimits, too_slow
from partstream_server.service.workspace import open_workspace
from partstream_server.streams.errors import (
    ConfigMissingError,
    SecondConfigError,
    SlowReaderError,
    UnknownBundleError,
)

Context: TypeAlias = aio.ServicerContext[service_pb2.ParseVideoRequest, service_pb2.ParseVideoResponse]


async def parse_video(service: Service, account: Account, context: Context) -> None:
    """Receive a file, parse it, and send what is found.

    Raises:
        PartstreamError: The call is not as it should be, or the file cannot be parsed.
    """
    engine = service.engine
    service.drain.check()
    async with AsyncExitStack() as resources:
        resources.enter_context(service.gate.admit())
        config = await _config(service, context)
        if config.bundle not in ("", engine.bundle.manifest.name):
            raise UnknownBundleError(
                f"this server runs the bundle {engine.bundle.manifest.name}, not {config.bundle}"
            )
        options = read_parse_options(config)
        workspace = resources.enter_context(open_workspace(service.settings.work_dir))
        upload = workspace / "upload"
        await _receive(service, context, upload)
        await resources.enter_async_context(service.gate.turn())
        job = Job(upload, engine, options, service.limits, service.metrics, account)
        steps = ThreadedSteps(_responses(job), service.limiter)
        resources.push_async_callback(steps.aclose)
        async for response in steps:
            await _write(service, context, response)


async def _config(service: Service, context: Context) -> service_pb2.ParseVideoConfig:
    message = await _next(UploadLimits.of(service.settings), context)
    if message is None or message.WhichOneof("request") != "config":
        raise ConfigMissingError("the first message of an upload must be its config")
    return message.config


async def _receive(service: Service, context: Context, upload: Path) -> None:
    """Write the chunks into a file."""
    limits = UploadLimits.of(service.settings)
    num_bytes, most, began_s = 0, limits.max_bytes, time.monotonic()

    async def read() -> service_pb2.ParseVideoRequest | None:
        return await _next(limits, context, num_bytes=num_bytes, passed_s=time.monotonic() - began_s)

    with upload.open("wb") as file:
        while (message := await read()) is not None:
            if message.WhichOneof("request") != "chunk":
                raise SecondConfigError("after the config an upload has nothing but chunks")
            num_bytes += len(message.chunk)
            if num_bytes > most:
                raise UploadTooLargeError(f"the file is larger than {most} bytes")
            service.metrics.upload_bytes.inc(len(message.chunk))
            await to_thread.run_sync(file.write, message.chunk)
    if not num_bytes:
        raise EmptyUploadError("nothing was sent")


def _responses(job: Job) -> Generator[service_pb2.ParseVideoResponse, None, None]:
    with job.open() as source:
        started = service_pb2.ParseVideoStarted(
            video=write_video_info(source.video), model=write_model_info(source.model)
        )
        yield service_pb2.ParseVideoResponse(started=started)
        for parsed in source:
            yield service_pb2.ParseVideoResponse(result=write_result(parsed.result))
        finished = service_pb2.ParseVideoFinished(video=write_video_info(source.video))
        yield service_pb2.ParseVideoResponse(finished=finished)


async def _next(
    limits: UploadLimits, context: Context, *, num_bytes: int = 0, passed_s: float = 0.0
) -> service_pb2.ParseVideoRequest | None:
    wait_s = limits.wait_s(num_bytes=num_bytes, passed_s=passed_s)
    try:
        async with asyncio.timeout(wait_s):
            message: object = await context.read()
    except TimeoutError:
        raise too_slow(limits) from None
    return message if isinstance(message, service_pb2.ParseVideoRequest) else None


async def _write(service: Service, context: Context, response: service_pb2.ParseVideoResponse) -> None:
    limit_s = service.settings.send_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            await context.write(response)
    except TimeoutError:
        raise SlowReaderError(f"nothing was read for {limit_s:g} s") from None
