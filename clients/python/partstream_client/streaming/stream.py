"""A live stream: sends frames, returns one answer for each, and reconnects when a connection is lost."""

import asyncio
from collections.abc import AsyncGenerator

from partstream_client.errors import ClientError
from partstream_client.retry import RetryPolicy
from partstream_client.streaming.answers import Answer
from partstream_client.streaming.connection import Access
from partstream_client.streaming.intake import Intake
from partstream_client.streaming.ledger import Ledger, Policy
from partstream_client.streaming.options import Frames, StreamOptions
from partstream_client.streaming.signal import Signal
from partstream_client.streaming.uplink import Uplink


async def stream(
    frames: Frames,
    options: StreamOptions,
    access: Access,
    retry: RetryPolicy,
) -> AsyncGenerator[Answer]:
    """Answers for all frames, in order.

    Raises:
        TypeError: The frames are no iterable.
        ValueError: A frame is none.
        ClientError: The stream could not be opened or resumed; frames in flight were answered as failed.
        BaseException: Whatever the source raised, after the answers of the frames that it gave.
    """
    clock = asyncio.get_running_loop().time
    changed = Signal()
    ledger = Ledger(Policy(options.policy))
    intake = Intake(frames, ledger, changed, frame_rate=options.frame_rate, clock=clock)
    uplink = Uplink(access, options, ledger, intake, changed, retry=retry, clock=clock)
    tasks = [asyncio.create_task(intake.run()), asyncio.create_task(_keep_up(uplink, ledger, changed))]
    try:
        while True:
            await changed.until(lambda: ledger.has_answer or tasks[1].done())
            if not ledger.has_answer:
                break
            answer = ledger.take()
            changed.fire()
            yield answer
        await tasks[1]
        if intake.error is not None:
            raise intake.error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await intake.close()


async def _keep_up(uplink: Uplink, ledger: Ledger, changed: Signal) -> None:
    try:
        await uplink.run()
    except ClientError as error:
        ledger.give_up(str(error))
        raise
    finally:
        asyncio.get_running_loop().call_soon(changed.fire)  # when this task is done
