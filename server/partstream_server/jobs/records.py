"""Records of jobs, their events and the webhook calls that are due, as they are stored."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from partstream_server.pipeline.session import SessionSnapshot


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    FETCHING = "fetching"
    """The file behind its URL is being downloaded."""
    PARSING = "parsing"
    RENDERING = "rendering"
    """Every frame is parsed; the outputs are being written."""
    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more."""
        return self in (JobState.DONE, JobState.FAILED)


class Output(StrEnum):
    """What can be asked of a job; each is a file."""

    NDJSON = "ndjson"
    JSON = "json"
    MP4 = "mp4"
    ZIP = "zip"
    WEBM = "webm"
    MOV = "mov"

    @property
    def file_name(self) -> str:
        """Of the file, in the job's folder and for those who save it."""
        return _FILES[self][0]

    @property
    def media_type(self) -> str:
        """Content type."""
        return _FILES[self][1]


_FILES: Final[dict[Output, tuple[str, str]]] = {
    Output.NDJSON: ("results.ndjson", "application/x-ndjson"),
    Output.JSON: ("results.json", "application/json"),
    Output.MP4: ("overlay.mp4", "video/mp4"),
    Output.ZIP: ("maps.zip", "application/zip"),
    Output.WEBM: ("cutout.webm", "video/webm"),
    Output.MOV: ("cutout.mov", "video/quicktime"),
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Up to where a job's results are complete; it goes on from here after an interruption."""

    next_index: int = 0
    """Index in the source of the first frame that is not parsed."""
    num_results: int = 0
    results_bytes: int = 0
    """Length of the results file up to here."""
    snapshot: SessionSnapshot | None = None
    parsing_s: float = 0.0
    """Time that parsing took so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job."""

    job_id: str
    owner: str
    """Name of the key that submitted it."""
    created_s: float
    """Seconds since 1970; the other times too."""
    state: JobState
    options: dict[str, Any]
    """Of the parsing, as JSON values."""
    outputs: tuple[Output, ...]
    url: str = ""
    """Where the file is downloaded from; empty for an upload."""
    webhook: str = ""
    """Told when the job is over; empty: nobody."""
    idempotency_key: str | None = None
    started_s: float | None = None
    finished_s: float | None = None
    expected_frames: int | None = None
    """Frames of the source as its headers say."""
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    video: dict[str, Any] | None = None
    """`VideoInfo` of the source, once all of it was read."""
    model: dict[str, Any] | None = None
    """`ModelInfo` of the bundle that parses it."""
    bundle: bytes = b""
    """Fingerprint of that bundle."""
    problem: dict[str, Any] | None = None
    """Problem document of a job that failed."""
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job."""

    number: int
    """From 1, without gaps, in each job."""
    time_s: float
    kind: str
    """queued, started, progress, waiting, interrupted, restarted, rendering, done or failed."""
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook message, until it is received."""

    message_id: str
    """The same at each attempt."""
    job_id: str
    url: str
    body: str
    num_attempts: int
    next_s: float


def snapshot_to_text(snapshot: SessionSnapshot | None) -> str | None:
    """The snapshot as JSON."""
    if snapshot is None:
        return None
    return json.dumps(
        {
            "tracker": base64.b64encode(snapshot.tracker).decode(),
            "last_index": snapshot.last_index,
            "last_time_s": snapshot.last_time_s,
            "schedule": snapshot.schedule,
        }
    )


def snapshot_from_text(text: str | None) -> SessionSnapshot | None:
    """What `snapshot_to_text` wrote."""
    if text is None:
        return None
    value = json.loads(text)
    return SessionSnapshot(
        base64.b64decode(value["tracker"]), value["last_index"], value["last_time_s"], value["schedule"]
    )
