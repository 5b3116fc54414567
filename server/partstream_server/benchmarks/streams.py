"""`python -m partstream_server.benchmarks.streams`: what the gRPC path costs, and how streams share a server.

Two runs against a server of its own, each over a real socket:

    path     one stream of 512x288 JPEGs that `every` passes over: all of the way but pixels and pipeline;
             then one whose frames a worker decodes and refuses for their size: all but the pipeline.
    share    streams at 30 frames a second each, under LATEST with a maximum age, on the bundle.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from grpc import aio

from partstream.v1 import service_pb2, service_pb2_grpc
from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.config.settings import Settings
from partstream_server.engine import create_engine
from partstream_server.grpc.server import GrpcServer
from partstream_server.pipeline.session import warm_up
from partstream_server.service.service import Service

_WIDTH, _HEIGHT = 512, 288
_NUM_PICTURES = 50


def main(
    streams: Annotated[int, typer.Option(min=1, help="Streams that share the server.")] = 8,
    rate: Annotated[float, typer.Option(min=0.1, help="Frames a second that each offers.")] = 30.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long they last.")] = 20.0,
    max_age_ms: Annotated[int, typer.Option(min=0, help="Their maximum age.")] = 500,
    num_frames: Annotated[int, typer.Option(min=10, help="Frames of the run without the network.")] = 500,
    max_batch: Annotated[int, typer.Option(min=1, help="Frames that share a run of the network.")] = 1,
    precision: Annotated[str, typer.Option(help="auto, f32 or bf16.")] = "auto",
    bundle: Annotated[Path | None, typer.Option(help="Directory of the bundle.")] = None,
) -> None:
    """Print the figures as JSON."""
    engine = create_engine(bundle, precision=precision)
    warm_up(engine)
    settings = Settings(grpc_port=0, max_batch=max_batch, max_streams=max(32, streams))

    async def both() -> dict[str, Any]:
        service = Service(settings, engine)
        server = GrpcServer(service)
        await server.start("127.0.0.1", 0)
        pictures = [_jpeg(number) for number in range(_NUM_PICTURES)]
        try:
            return {
                "precision": engine.precision,
                "max_batch": max_batch,
                "path": await _path(server.port, pictures, num_frames, decoded=False),
                "path_and_pixels": await _path(server.port, pictures, num_frames, decoded=True),
                "share": await _share(server.port, pictures, streams, rate, seconds, max_age_ms),
            }
        finally:
            await server.stop(1)
            service.close_streams()

    json.dump(asyncio.run(both()), sys.stdout, indent=2)
    sys.stdout.write("\n")
    engine.close()


def _jpeg(number: int, *, width: int = _WIDTH) -> bytes:
    image = scene(width, _HEIGHT, number)
    return np.asarray(cv2.imencode(".jpg", image[:, :, ::-1])[1]).tobytes()


@asynccontextmanager
async def _open(port: int, config: service_pb2.StreamConfig) -> AsyncIterator[Any]:
    """A call that was opened."""
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = service_pb2_grpc.ParsingServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.StreamParse()
        await call.write(service_pb2.StreamParseRequest(config=config))
        opened = (await call.read()).opened
        call.credits = opened.credits
        yield call
        await call.done_writing()
        while await call.read() is not aio.EOF:
            pass


def _request(index: int, picture: bytes, time_s: float) -> service_pb2.StreamParseRequest:
    frame = service_pb2.StreamFrame(index=index, time_s=time_s, encoded=picture)
    return service_pb2.StreamParseRequest(frame=frame)


async def _path(port: int, pictures: list[bytes], num_frames: int, *, decoded: bool) -> dict[str, float]:
    """Round trips in milliseconds of frames that no network sees, one in flight at a time."""
    every = 1 if decoded else 1_000_000
    times_ms = []
    async with _open(port, service_pb2.StreamConfig(policy=service_pb2.POLICY_BLOCK, every=every)) as call:
        await call.write(_request(0, _jpeg(0, width=2 * _WIDTH), 0.0))
        await call.read()
        for index in range(1, num_frames + 1):
            started = time.perf_counter()
            await call.write(_request(index, pictures[index % len(pictures)], index / 25))
            answer = (await call.read()).answer
            times_ms.append((time.perf_counter() - started) * 1000)
            assert answer.WhichOneof("outcome") == ("failure" if decoded else "skipped")
    return {"num_frames": num_frames, "min": min(times_ms), **_quantiles(times_ms)}


async def _share(
    port: int, pictures: list[bytes], streams: int, rate: float, seconds: float, max_age_ms: int
) -> dict[str, Any]:
    """How many results each of some streams got, and how old they were."""
    config = service_pb2.StreamConfig(policy=service_pb2.POLICY_LATEST, max_age_ms=max_age_ms, credits=16)
    tasks = [_camera(port, config, pictures, rate, seconds) for _ in range(streams)]
    found = await asyncio.gather(*tasks)
    counts = [len(ages) for ages, _, _ in found]
    mean = statistics.mean(counts)
    ages_ms = [age for ages, _, _ in found for age in ages] or [0.0]
    return {
        "streams": streams,
        "offered_per_second": rate,
        "seconds": seconds,
        "results": counts,
        "results_per_second": sum(counts) / seconds,
        "slowest_over_mean": min(counts) / mean if mean else 0.0,
        "oldest_result_ms": max(ages_ms),
        "result_age_ms": _quantiles(ages_ms),
        "sent": sum(sent for _, sent, _ in found),
        "answered": sum(answered for _, _, answered in found),
    }


async def _camera(
    port: int, config: service_pb2.StreamConfig, pictures: list[bytes], rate: float, seconds: float
) -> tuple[list[float], int, int]:
    """Ages of a stream's results by the server's clock, and how many frames were sent and answered."""
    ages_ms: list[float] = []
    num_sent = num_answered = 0
    async with _open(port, config) as call:
        free = asyncio.Semaphore(call.credits)
        done = asyncio.Event()

        async def read() -> None:
            nonlocal num_answered
            while not (done.is_set() and num_answered == num_sent):
                answer = (await call.read()).answer
                num_answered += 1
                free.release()
                if answer.HasField("result"):
                    ages_ms.append(answer.latency.total_ms)

        reader = asyncio.create_task(read())
        begin = time.monotonic()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(begin + number / rate - time.monotonic())
            if free.locked():
                continue
            await free.acquire()
            num_sent += 1
            await call.write(_request(number, pictures[number % len(pictures)], number / rate))
        done.set()
        if num_answered < num_sent:
            await reader
        reader.cancel()
    return ages_ms, num_sent, num_answered


def _quantiles(values: list[float]) -> dict[str, float]:
    p50, p90, p99 = (float(value) for value in np.quantile(values, (0.5, 0.9, 0.99)))
    return {"p50": p50, "p90": p90, "p99": p99}


if __name__ == "__main__":
    typer.run(main)
