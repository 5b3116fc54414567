"""Messages of a stream as JSON: what a WebSocket carries down, and what the events of a source hold."""

from __future__ import annotations

import base64
import math
from dataclasses import asdict
from typing import Any

from partstream_core.results import FrameResult, frame_to_json
from partstream_server.streams import Answer, Failed, GoingAway, Opened


def opened_message(opened: Opened) -> dict[str, Any]:
    """The first message of a stream."""
    return {
        "type": "opened",
        "stream_id": opened.stream_id,
        "model": asdict(opened.model),
        "precision": opened.precision,
        "credits": opened.credits,
        "policy": opened.policy.value,
        "resumed": opened.resumed,
        "token_lifetime_s": opened.token_lifetime_s,
    }


def item_message(item: Answer | GoingAway) -> dict[str, Any]:
    """What a stream says after its opening."""
    return _going_away(item) if isinstance(item, GoingAway) else _answer(item)


def error_message(problem: dict[str, Any]) -> dict[str, Any]:
    """The last message of a stream that failed."""
    return {"type": "error", "problem": problem}


def _answer(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "answer", "index": answer.index, "time_s": _finite(answer.time_s)}
    match answer.outcome:
        case FrameResult() as result:
            message["result"] = frame_to_json(result)
        case Failed() as failed:
            message["failure"] = {"code": failed.code, "message": failed.message}
        case skipped:
            message["skipped"] = {"reason": skipped.reason.value}
    message["latency"] = {name: round(value, 3) for name, value in asdict(answer.latency).items()}
    if answer.resume_token:
        message["resume_token"] = _text(answer.resume_token)
    return message


def _going_away(away: GoingAway) -> dict[str, Any]:
    message = {"type": "going_away", "reason": away.reason, "grace_ms": away.grace_ms}
    return message | ({"resume_token": _text(away.resume_token)} if away.resume_token else {})


def _finite(number: float) -> float | None:
    """A number that JSON has; None for one that it has not, which only a refused frame holds."""
    return number if math.isfinite(number) else None


def _text(token: bytes) -> str:
    return base64.b64encode(token).decode("ascii")
