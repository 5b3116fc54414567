"""A whole file over gRPC: chunks up, frames down."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from partstream.v1 import service_pb2
from partstream_client.errors import AnswerError, ClientError, UnavailableError, UnreachableError
from partstream_client.frames import Frame
from partstream_client.progress import Progress, ProgressCallback
from partstream_client.retry import RetryPolicy
from partstream_client.source import Media
from partstream_client.streaming import wire
from partstream_client.streaming.connection import PARSE_VIDEO, Access, Connection

Wire = Connection[service_pb2.ParseVideoRequest, service_pb2.ParseVideoResponse]


async def parse_video(
    media: Media,
    config: service_pb2.ParseVideoRequest,
    access: Access,
    *,
    retry: RetryPolicy,
    progress: ProgressCallback | None,
) -> AsyncGenerator[Frame]:
    """The frames of the media, each as soon as the server has it.

    A server that cannot be reached or has no room is tried again, or another one is, as the policy says.

    Args:
        media: What to send.
        config: How to parse it.
        access: The servers.
        retry: When to try again.
        progress: Told what was sent, and how many frames came back.

    Raises:
        ClientError: See `partstream_client.errors`.
    """
    waits_s = retry.waits_s(random.Random())
    num_frames, turn = 0, 0
    while True:
        address = access.addresses[turn % len(access.addresses)]
        connection: Wire = Connection(PARSE_VIDEO, address, access)
        upload = asyncio.create_task(_upload(connection, media, config, progress))
        try:
            async with aclosing(_frames(connection)) as frames:
                async for frame in frames:
                    yield frame
                    num_frames += 1
                    if progress:
                        progress(Progress("frames", num_frames, None))
            await upload
            return
        except (UnreachableError, UnavailableError) as error:
            wait_s = next(waits_s, None)
            if num_frames or wait_s is None:
                raise
            asked_s = error.retry_after_s if isinstance(error, UnavailableError) else 0.0
        finally:
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)
            await connection.close()
        turn += 1
        await asyncio.sleep(min(max(wait_s, asked_s), retry.longest_wait_s))


async def _upload(
    connection: Wire,
    media: Media,
    config: service_pb2.ParseVideoRequest,
    progress: ProgressCallback | None,
) -> None:
    try:
        await connection.write(config)
        async for chunk in media.chunks(progress):
            await connection.write(service_pb2.ParseVideoRequest(chunk=chunk))
        await connection.finish()
    except ClientError:
        return  # the reading side raises the error
    except BaseException:
        connection.abandon()
        raise


async def _frames(connection: Wire) -> AsyncGenerator[Frame]:
    size: tuple[int, int] | None = None
    finished = False
    while (message := await connection.read()) is not None:
        match message.WhichOneof("response"):
            case "started":
                connection.opened = True
                video = message.started.video
                size = (video.height, video.width) if video.height and video.width else None
            case "result":
                yield wire.frame_of(message.result, size)
            case "finished":
                finished = True
            case _:
                raise AnswerError("the server sent an empty message")
    if not finished:
        raise AnswerError("the server's answer ended before its last message")
