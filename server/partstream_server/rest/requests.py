"""Validates the JSON messages that a client of a stream sends."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.functional_validators import BeforeValidator
from starlette.requests import Request

from partstream_core.errors import OptionError, UploadTooLargeError
from partstream_server.pipeline.parse_options import FrameOptions
from partstream_server.rest.problems import first_option_error
from partstream_server.streams import Policy, StreamConfig
from partstream_server.streams.errors import ConfigMissingError

M = TypeVar("M", bound=BaseModel)
_MAX_BODY_BYTES: Final = 64 * 1024


def _token(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


class StreamOptions(FrameOptions):
    """How a stream is parsed; as `StreamConfig` of the proto has it."""

    bundle: str = ""
    policy: Policy = Policy.LATEST
    max_age_ms: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    def config(self, *, credits_: int = 0, resume_token: bytes = b"") -> StreamConfig:
        """The same for the core."""
        options = {name: getattr(self, name) for name in StreamOptions.model_fields}
        return StreamConfig(**options, credits=credits_, resume_token=resume_token)


class ConfigMessage(StreamOptions):
    """The first message of a WebSocket."""

    type: Literal["config"] = "config"
    credits: int = Field(default=0, ge=0)
    resume_token: Annotated[bytes, BeforeValidator(_token)] = b""
    api_key: str | None = None


class FrameMessage(BaseModel):
    """What is said of the picture that comes with the next binary message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["frame"]
    index: int | None = Field(default=None, ge=0, lt=2**63)
    time_s: float | None = None
    age_ms: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class EndMessage(BaseModel):
    """No further frame will come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["end"]


def read_config(text: str | None) -> ConfigMessage:
    """The config that a stream begins with.

    Raises:
        ConfigMissingError: The message is no JSON object.
        OptionError: A field is unknown or has a value it cannot have.
    """
    document = _parse(text)
    if document is None or document.get("type", "config") != "config":
        raise ConfigMissingError('the first message must be the config, such as {"policy": "latest"}')
    return checked(ConfigMessage, document)


def read_message(text: str) -> FrameMessage | EndMessage | ConfigMessage:
    """A later message in words.

    Raises:
        OptionError: It is none.
    """
    document = _parse(text)
    kinds: dict[object, type[FrameMessage | EndMessage | ConfigMessage]] = {
        "frame": FrameMessage,
        "end": EndMessage,
        "config": ConfigMessage,
    }
    kind = None if document is None else kinds.get(document.get("type", "config"))
    if document is None or kind is None:
        raise OptionError(f"a message must be JSON of type frame or end, or a picture; got {text[:80]!r}")
    return checked(kind, document)


def checked(model: type[M], document: dict[str, Any]) -> M:
    """A document as a model.

    Raises:
        OptionError: It names the field that is wrong.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise first_option_error(error.errors(), tuple(model.model_fields)) from None


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        OptionError: It is none.
        UploadTooLargeError: It is too long.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != "application/json":
        raise OptionError(f"send application/json, not {declared or 'a body without a type'}")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise UploadTooLargeError(f"the body may have {_MAX_BODY_BYTES} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise OptionError("the body is no JSON") from None
    if not isinstance(document, dict):
        raise OptionError("the body is no JSON object")
    return document


def _parse(text: str | None) -> dict[str, Any] | None:
    try:
        document = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
