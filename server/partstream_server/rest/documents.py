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


class JobProgress(BaseModel):
    """How far the parsing of a job is."""

    num_frames: int
    """Frames of the source, parsed or passed over."""
    num_results: int
    expected_frames: int | None
    share: float | None
    frames_per_second: float | None
    left_s: float | None


class JobDocument(BaseModel):
    """A job as it is now."""

    id: str
    state: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    progress: JobProgress
    options: dict[str, Any]
    url: str | None
    webhook: str | None
    video: dict[str, Any] | None
    model: dict[str, Any] | None
    outputs: list[str]
    results: dict[str, str]
    """Path of each output of a job that is done."""
    problem: dict[str, Any] | None
    """Problem document of a job that failed."""


class JobList(BaseModel):
    """A page of the jobs of a key, newest first."""

    jobs: list[JobDocument]
    next: str | None
    """What the next page is asked for as `before`; null on the last one."""


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
