"""JSON documents of the service as /docs shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Live(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class Ready(BaseModel):
    """Videos can be parsed, by this."""

    status: Literal["ready"]
    bundle: str
    version: str
    provider: str
    precision: str


class Model(BaseModel):
    """A bundle and what runs it."""

    bundle: str
    version: str
    provider: str
    precision: str
    parts: list[str]
    licence: str
    training_data: list[str]
    capabilities: dict[str, Any]
    input: dict[str, int]
    thresholds: dict[str, float]
    schedule: dict[str, Any]
    evaluation: dict[str, Any]


class Models(BaseModel):
    """All bundles of the service."""

    models: list[Model]


class Problem(BaseModel):
    """What went wrong (RFC 9457); `code` is stable."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str | None = None
    request_id: str | None = None
