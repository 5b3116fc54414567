"""Webhook messages: one for each job that is over, signed, sent until it is received or given up.

Source: Standard Webhooks 1.0 (symmetric signatures).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from partstream_core.errors import OptionError
from partstream_server.jobs.records import Delivery
from partstream_server.sources.address import PORTS, Rules, connect, host_is_allowed
from partstream_server.sources.errors import SourceFailedError, SourceForbiddenError

BACKOFF_S: Final = (5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0)
"""Pauses between attempts; after the last one the message is given up."""


class WebhookError(Exception):
    """A message was not received."""


def check_webhook(url: str, rules: Rules) -> None:
    """Refuse a URL that messages may not be sent to.

    Raises:
        OptionError: It is no HTTP URL.
        SourceForbiddenError: Its host is not allowed.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OptionError(f"webhook: {error}") from None
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise OptionError("webhook: it must hold no spaces and no control characters")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise OptionError(f"webhook: an http: or https: URL is called, not {url!r}")
    if not host_is_allowed(parts.hostname, rules):
        raise SourceForbiddenError(
            f"{parts.hostname} is not among the hosts that PARTSTREAM_WEBHOOK_HOSTS allows"
        )


def message(job_id: str, url: str, kind: str, time_s: float, data: dict[str, Any]) -> Delivery:
    """The message about a job, due at once."""
    body = json.dumps({"type": kind, "timestamp": data["finished_at"], "data": data})
    return Delivery(f"msg_{secrets.token_hex(12)}", job_id, url, body, 0, time_s)


def signature(key: bytes, message_id: str, timestamp: int, body: str) -> str:
    """The header `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def send(delivery: Delivery, key: bytes, rules: Rules, now_s: float) -> None:
    """Send a message once; redirects are not followed.

    Raises:
        WebhookError: It was not received: no connection, or an answer that is no success.
    """
    parts = urlsplit(delivery.url)
    host, timestamp = parts.hostname or "", int(now_s)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "partstream",
        "Connection": "close",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, delivery.message_id, timestamp, delivery.body),
    }
    try:
        check_webhook(delivery.url, rules)
        port = parts.port or PORTS[parts.scheme]
        opened = connect(host, port, rules)
    except (OptionError, SourceForbiddenError, SourceFailedError) as error:
        raise WebhookError(str(error)) from error
    try:
        if parts.scheme == "https":
            opened = ssl.create_default_context().wrap_socket(opened, server_hostname=host)
        # The connection is made already; http.client writes and reads on it.
        connection = http.client.HTTPConnection(host, port)
        connection.sock = opened
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, delivery.body.encode(), headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise WebhookError(f"{host}: {error}") from error
    finally:
        opened.close()
    if not 200 <= status < 300:
        raise WebhookError(f"{host} answered {status}")
