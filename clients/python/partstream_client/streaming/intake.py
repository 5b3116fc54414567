"""Reads frames from the caller's source and registers them in the ledger."""

import asyncio
from collections.abc import Callable

from partstream_client.streaming.images import checked_picture
from partstream_client.streaming.ledger import Ledger
from partstream_client.streaming.options import Frames, TimedFrame
from partstream_client.streaming.pump import pump_of
from partstream_client.streaming.signal import Signal


class Intake:
    """Takes frames as the ledger wants them.

    Args:
        frames: RGB arrays, encoded pictures or `TimedFrame`s.
        ledger: Where they go.
        changed: Fired whenever something has changed.
        frame_rate: Gives frames without a time of their own one; None takes the time they come in.
        clock: The stream's clock, in seconds.
    """

    def __init__(
        self,
        frames: Frames,
        ledger: Ledger,
        changed: Signal,
        *,
        frame_rate: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.ended = False
        """Whether no further frame comes."""
        self.error: BaseException | None = None
        """Error of the source or of a frame."""
        self._pump = pump_of(frames)
        self._ledger = ledger
        self._changed = changed
        self._frame_rate = frame_rate
        self._clock = clock
        self._started_at = clock()

    async def run(self) -> None:
        """Take frames until there are no more."""
        try:
            while True:
                await self._changed.until(lambda: self._ledger.wants_frame)
                self._take(await self._pump.next())
                self._changed.fire()
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.error = error
        finally:
            self.ended = True
            self._changed.fire()

    async def close(self) -> None:
        """Let the source go."""
        await self._pump.close()

    def _take(self, given: object) -> None:
        now_s = self._clock()
        if isinstance(given, TimedFrame):
            self._ledger.add(checked_picture(given.image), given.time_s, now_s)
        elif self._frame_rate is None:
            self._ledger.add(checked_picture(given), now_s - self._started_at, now_s)
        else:
            self._ledger.add(checked_picture(given), self._ledger.num_taken / self._frame_rate, now_s)
