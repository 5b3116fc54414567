"""Maps errors to gRPC statuses, with the stable code in the trailing metadata."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

import grpc
from grpc import aio

from partstream_core.errors import BusyError
from partstream_server.security.errors import ThrottledError
from partstream_server.service.errors import as_partstream_error, codes_for
from partstream_server.service.tracing import Tracing
from partstream_server.streams import StreamClosedError

CODE_KEY: Final = "partstream-code"
RETRY_KEY: Final = "retry-after-ms"
_BUSY_RETRY_MS: Final = 1000
_log = logging.getLogger("partstream.rpc")

Context = aio.ServicerContext[Any, Any]


@asynccontextmanager
async def reported_errors(
    context: Context, method: str, tracing: Tracing | None = None
) -> AsyncIterator[None]:
    """Convert errors inside into the call's status; a cancelled call ends without one.

    Args:
        context: Of the call.
        method: Its name.
        tracing: Sent a span for the call, where there is one.
    """
    started, code = time.perf_counter(), "ok"
    try:
        yield
    except aio.AbortError:
        raise
    except asyncio.CancelledError:
        code = "client_left"
        _log.info("client left", extra={"fields": {"method": method}})
        raise
    except StreamClosedError:
        return
    except Exception as error:
        known = as_partstream_error(error)
        code = known.code if known else "internal_error"
        await _abort(context, error, method)
    finally:
        if tracing is not None:
            seconds, fields = time.perf_counter() - started, {"method": method, "code": code}
            tracing.record(f"grpc {method}", seconds, fields, context.invocation_metadata() or ())


async def _abort(context: Context, error: Exception, method: str) -> NoReturn:
    known = as_partstream_error(error)
    code = known.code if known else "internal_error"
    detail = str(known) if known else "something went wrong inside the service; its log holds the details"
    fields = {"method": method, "code": code, "detail": detail, "peer": context.peer()}
    _log.log(
        logging.INFO if known else logging.ERROR,
        "call failed",
        exc_info=None if known else error,
        extra={"fields": fields},
    )
    metadata: list[tuple[str, str | bytes]] = [(CODE_KEY, code)]
    if (wait_ms := _retry_ms(error)) is not None:
        metadata.append((RETRY_KEY, str(wait_ms)))
    status = grpc.StatusCode[codes_for(code).grpc]
    await context.abort(status, detail, tuple(metadata))
    raise AssertionError("abort raises")


def _retry_ms(error: Exception) -> int | None:
    if isinstance(error, ThrottledError):
        return round(error.retry_after_s * 1000)
    return _BUSY_RETRY_MS if isinstance(error, BusyError) else None
