"""Pictures, sources, addresses and statuses: what a stream is made of."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator

import grpc
import numpy as np
import pytest
from PIL import Image

from partstream_client import (
    AuthError,
    ClientError,
    ConnectionFailedError,
    Encoding,
    RejectedError,
    ServerFailedError,
    StreamOptions,
    Tls,
    UnavailableError,
    UnreachableError,
)
from partstream_client.streaming.connection import access_of
from partstream_client.streaming.images import checked_picture, encoded
from partstream_client.streaming.pump import Pump, pump_of
from partstream_client.streaming.status import error_of

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)


def test_raw_pixels_travel_as_they_are() -> None:
    payload = encoded(PICTURE[:, ::-1], Encoding.RAW, 90)
    assert payload.raw_size == (6, 10)
    np.testing.assert_array_equal(np.frombuffer(payload.data, np.uint8).reshape(6, 10, 3), PICTURE[:, ::-1])


@pytest.mark.parametrize(("encoding", "name"), [(Encoding.JPEG, "JPEG"), (Encoding.PNG, "PNG")])
def test_encoded_pixels_can_be_read_by_anybody(encoding: Encoding, name: str) -> None:
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
    payload = encoded(smooth, encoding, 90)
    picture = Image.open(io.BytesIO(payload.data))
    assert (picture.format, payload.raw_size) == (name, None)
    np.testing.assert_allclose(np.asarray(picture.convert("RGB")), smooth, atol=8)


def test_ready_bytes_are_not_encoded_again() -> None:
    assert encoded(b"jpeg", Encoding.PNG, 90).data == b"jpeg"


@pytest.mark.parametrize(
    "wrong",
    [b"", "frame.jpg", None, PICTURE.astype(np.float32), PICTURE[..., 0], np.zeros((0, 0, 3), np.uint8)],
)
def test_what_is_no_picture_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"frame|image"):
        checked_picture(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": "newest"},
        {"encoding": "bmp"},
        {"masks": "png"},
        {"schedule": "paper"},
        {"interval": 0},
        {"flow": "wind"},
        {"score_threshold": 1.5},
        {"jpeg_quality": 0},
        {"max_in_flight": 0},
        {"max_age_ms": 0},
        {"frame_rate": -1},
        {"give_up_s": float("nan")},
    ],
)
def test_an_option_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|valid"):
        StreamOptions(**wrong)  # type: ignore[arg-type]


async def all_of(pump: Pump[int]) -> list[int]:
    items = []
    try:
        while True:
            items.append(await pump.next())
    except StopAsyncIteration:
        return items
    finally:
        await pump.close()


def test_both_kinds_of_iterables_give_their_items_in_order() -> None:
    async def later() -> AsyncIterator[int]:
        for number in range(5):
            yield number

    async def both() -> tuple[list[int], list[int]]:
        return await all_of(pump_of(range(5))), await all_of(pump_of(later()))

    assert asyncio.run(both()) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])


def test_closing_a_source_runs_its_last_lines_on_the_thread_that_read_it() -> None:
    threads = []

    def camera() -> Iterator[int]:
        threads.append(threading.current_thread())
        try:
            while True:
                yield 1
        finally:
            threads.append(threading.current_thread())

    async def read_one() -> int:
        pump = pump_of(camera())
        item = await pump.next()
        await pump.close()
        return item

    assert asyncio.run(read_one()) == 1
    opener, closer = threads
    assert opener is closer
    assert not opener.is_alive()


def test_a_source_that_raises_is_heard() -> None:
    def camera() -> Iterator[int]:
        yield 1
        raise OSError("unplugged")

    async def read() -> list[int]:
        return await all_of(pump_of(camera()))

    with pytest.raises(OSError, match="unplugged"):
        asyncio.run(read())


@pytest.mark.parametrize("wrong", ["clip.mp4", b"jpeg", 5, None])
def test_what_is_no_source_of_frames_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="iterable of images"):
        pump_of(wrong)  # type: ignore[arg-type]


def test_streams_are_looked_for_on_the_servers_host_unless_told_otherwise() -> None:
    assert access_of("http://cam.local:8000", None, None, None).addresses == ("cam.local:50051",)
    assert access_of("http://[::1]:8000", None, None, None).addresses == ("[::1]:50051",)
    assert access_of("http://x", ["a:1", "b"], None, None).addresses == ("a:1", "b:50051")


def test_streams_are_encrypted_where_the_rest_is() -> None:
    assert access_of("http://x", None, None, None).tls is None
    assert access_of("https://x", None, None, None).tls == Tls()


@pytest.mark.parametrize("wrong", ["", "http://x:1", "x:port", "x:0", "x:70000", ":5", []])
def test_an_address_that_is_none_is_refused(wrong: str | list[str]) -> None:
    with pytest.raises(ValueError, match="address"):
        access_of("http://x", wrong, None, None)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "", ConnectionFailedError),
        (grpc.StatusCode.CANCELLED, "", ConnectionFailedError),
        (grpc.StatusCode.UNAVAILABLE, "going_away", UnavailableError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", UnavailableError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "quota_exceeded", RejectedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", RejectedError),
        (grpc.StatusCode.UNAUTHENTICATED, "key_missing", AuthError),
        (grpc.StatusCode.INVALID_ARGUMENT, "bad_option", RejectedError),
        (grpc.StatusCode.INTERNAL, "engine_failed", ServerFailedError),
        (grpc.StatusCode.DATA_LOSS, "", ServerFailedError),
    ],
)
def test_a_status_is_the_error_that_rest_would_raise(
    status: grpc.StatusCode, code: str, kind: type[ClientError]
) -> None:
    trailers = grpc.aio.Metadata(*([("partstream-code", code)] if code else []))
    failed = grpc.aio.AioRpcError(status, grpc.aio.Metadata(), trailers, "why")
    error = error_of(failed, "host:1", opened=True)
    assert type(error) is kind
    assert "why" in str(error)


def test_a_server_that_never_answered_is_unreachable() -> None:
    failed = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
    assert isinstance(error_of(failed, "host:1", opened=False), UnreachableError)


def test_a_wait_that_the_server_asks_for_is_kept() -> None:
    trailers = grpc.aio.Metadata(("partstream-code", "busy"), ("retry-after-ms", "1500"))
    failed = grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), trailers)
    error = error_of(failed, "host:1", opened=False)
    assert isinstance(error, UnavailableError)
    assert error.retry_after_s == 1.5
