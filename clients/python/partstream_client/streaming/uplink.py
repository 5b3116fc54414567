"""Opens connections to servers in turn until every frame is answered.

A connection that is lost, or whose server goes away, is followed by another one with the newest resume token,
so that people keep their identities.
"""

import asyncio
import random
from collections.abc import Callable

from partstream.v1 import service_pb2
from partstream_client.errors import (
    AnswerError,
    ClientError,
    ConnectionFailedError,
    ProblemError,
    UnavailableError,
)
from partstream_client.retry import RetryPolicy
from partstream_client.streaming import wire
from partstream_client.streaming.connection import STREAM_PARSE, Access, Connection
from partstream_client.streaming.images import Encoding, encoded
from partstream_client.streaming.intake import Intake
from partstream_client.streaming.ledger import Entry, Ledger
from partstream_client.streaming.options import StreamOptions
from partstream_client.streaming.patience import Patience
from partstream_client.streaming.signal import Signal

Wire = Connection[service_pb2.StreamParseRequest, service_pb2.StreamParseResponse]

_TOKEN_REFUSED = frozenset({"bad_resume_token", "resume_token_expired", "resume_token_foreign"})
_IDLE = "idle_timeout"
"""The server's word for a source that has been still for too long; its next frame opens the stream again."""
_ENVELOPE_BYTES = 128
"""More than a message needs beside its picture."""
_CHECKS_PER_TIMEOUT = 8


class Uplink:
    """Sends the frames of a ledger and notes their answers.

    Args:
        access: The servers; the first one is asked first, the others when it fails.
        options: How frames are parsed.
        ledger: The frames.
        intake: Where they come from.
        changed: Fired whenever something has changed.
        retry: When to try again to open the stream for the first time.
        clock: The stream's clock, in seconds.
    """

    def __init__(
        self,
        access: Access,
        options: StreamOptions,
        ledger: Ledger,
        intake: Intake,
        changed: Signal,
        *,
        retry: RetryPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._access = access
        self._options = options
        self._ledger = ledger
        self._intake = intake
        self._changed = changed
        self._clock = clock
        self._patience = Patience(retry, options.give_up_s, random.Random())
        self._turn = 0
        self._token = b""
        self._epoch = 0
        self._has_identities = False
        self._opened = service_pb2.StreamOpened()
        self._leaving = False
        self._active_at = 0.0

    async def run(self) -> None:
        """Use one connection after the other until every frame has its answer.

        Raises:
            ClientError: The stream cannot be opened, or not be resumed.
        """
        while True:
            trouble: ClientError | None = None
            try:
                await self._use_one()
            except (ConnectionFailedError, UnavailableError) as error:
                trouble = error
            except ProblemError as error:
                if not self._is_about_token(error) and error.code != _IDLE:
                    raise
                trouble = error
            finally:
                self._ledger.connection_lost()
                self._changed.fire()
            await self._changed.until(lambda: self._is_done or self._ledger.waiting is not None)
            if self._is_done and (trouble is None or self._ledger.num_taken):
                return
            await self._pause(trouble or ConnectionFailedError("the server ended the stream"))

    @property
    def _is_done(self) -> bool:
        return self._intake.ended and self._ledger.num_unanswered == 0

    def _is_about_token(self, error: ProblemError) -> bool:
        """Whether the server does not take the token; the stream then goes on without it."""
        refused = bool(self._token) and error.code in _TOKEN_REFUSED
        if refused:
            self._token = b""
        return refused

    async def _pause(self, trouble: ClientError) -> None:
        """Turn to the next server; wait where all of them have been asked."""
        self._turn += 1
        if self._turn % len(self._access.addresses):
            return
        asked_s = trouble.retry_after_s if isinstance(trouble, UnavailableError) else 0.0
        wait_s = self._patience.wait_s(self._clock(), asked_s)
        if wait_s is None:
            raise trouble
        await asyncio.sleep(wait_s)

    async def _use_one(self) -> None:
        """Open a connection, send and read on it until it ends."""
        address = self._access.addresses[self._turn % len(self._access.addresses)]
        connection = Connection(STREAM_PARSE, address, self._access)
        tasks: list[asyncio.Task[None]] = []
        try:
            config = wire.config_message(self._options, self._token)
            self._greet(await connection.open(config, self._options.open_timeout_s))
            tasks = [asyncio.create_task(work(connection)) for work in (self._send, self._watch)]
            while (message := await connection.read()) is not None:
                self._hear(message)
                self._changed.fire()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await connection.close()

    def _greet(self, message: service_pb2.StreamParseResponse) -> None:
        if message.WhichOneof("response") != "opened":
            raise AnswerError("the server's first message does not open the stream")
        self._opened = message.opened
        self._patience.opened()
        self._leaving = False
        self._active_at = self._clock()
        if self._has_identities and not self._opened.resumed:
            self._epoch += 1
            self._has_identities = False

    def _hear(self, message: service_pb2.StreamParseResponse) -> None:
        """Update the state from a message."""
        self._active_at = self._clock()
        match message.WhichOneof("response"):
            case "answer":
                self._note(message.answer)
            case "going_away":
                self._leaving = True
                self._token = message.going_away.resume_token or self._token
            case other:
                raise AnswerError(f"the server sent {other or 'an empty message'} in an open stream")

    def _note(self, answer: service_pb2.FrameAnswer) -> None:
        entry = self._ledger.entry(answer.index)
        self._token = answer.resume_token or self._token
        self._patience.progress()
        if answer.skipped.reason == service_pb2.SKIP_REASON_GOING_AWAY and self._ledger.send_again(entry):
            return
        now_s = self._clock()
        self._ledger.answered(entry, wire.answer_of(answer, entry, now_s=now_s, epoch=self._epoch))
        self._has_identities = self._has_identities or bool(answer.result.people)

    async def _send(self, connection: Wire) -> None:
        """Send frames as the server's credits allow, until there are no more or the server goes away."""
        try:
            while True:
                await self._changed.until(lambda: self._may_send or self._may_finish)
                entry = self._ledger.waiting
                if self._may_finish or entry is None:
                    await connection.finish()
                    return
                await self._send_one(entry, connection)
        except ClientError:
            return  # the reading side raises the error

    @property
    def _may_send(self) -> bool:
        return self._ledger.num_in_flight < self._opened.credits and self._ledger.waiting is not None

    @property
    def _may_finish(self) -> bool:
        return self._leaving or (self._intake.ended and self._ledger.num_waiting == 0)

    async def _send_one(self, entry: Entry, connection: Wire) -> None:
        if not self._ledger.num_in_flight:
            self._active_at = self._clock()
        self._ledger.sent(entry, self._clock())
        self._changed.fire()  # there is room for the next one
        encoding, quality = Encoding(self._options.encoding), self._options.jpeg_quality
        try:
            payload = await asyncio.to_thread(encoded, entry.image, encoding, quality)
        except (OSError, ValueError) as error:  # too large for a JPEG, for one
            self._refuse(entry, "bad_image", str(error))
            return
        limit = self._opened.max_message_bytes
        if limit and len(payload.data) + _ENVELOPE_BYTES > limit:
            size = f"{len(payload.data)} bytes; the server reads {limit}"
            self._refuse(entry, "frame_too_large", f"the frame takes {size}")
            return
        if not self._leaving:
            self._ledger.sent(entry, self._clock())
            await connection.write(wire.frame_message(entry, payload, self._clock()))

    def _refuse(self, entry: Entry, code: str, detail: str) -> None:
        self._ledger.fail(entry, code, detail)
        self._changed.fire()

    async def _watch(self, connection: Wire) -> None:
        """Break a connection off that brings no answer for too long."""
        while True:
            await asyncio.sleep(self._options.answer_timeout_s / _CHECKS_PER_TIMEOUT)
            silent_s = self._clock() - self._active_at
            if self._ledger.num_in_flight and silent_s > self._options.answer_timeout_s:
                connection.abandon()
                return
