"""What /docs says about bodies and answers that FastAPI cannot see."""

from __future__ import annotations

from typing import Any, Final

from partstream_server.rest.documents import JobDocument, Problem
from partstream_server.rest.problems import PROBLEM_TYPE
from partstream_server.service.errors import ERROR_TABLE

_FILE: Final = {"type": "string", "format": "binary"}
_PARSE_CODES: Final = (
    "malformed_upload",
    "not_acceptable",
    "upload_timeout",
    "upload_too_large",
    "unsupported_media_type",
    "not_a_video",
    "internal_error",
    "busy",
    "storage_full",
)

PARSE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A video or an image: as a file of a form, or as the body itself.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"video": _FILE, "image": _FILE},
                    "minProperties": 1,
                    "maxProperties": 1,
                }
            },
            "video/*": {"schema": _FILE},
            "image/*": {"schema": _FILE},
            "application/octet-stream": {"schema": _FILE},
        },
    }
}


def _problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The answers of these errors, by status."""
    return {
        row.http: {"description": row.title, "model": Problem, "content": {PROBLEM_TYPE: {}}}
        for row in (ERROR_TABLE[code] for code in codes)
    }


_FRAME: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "index": {"type": "integer"},
        "time_s": {"type": "number"},
        "key_frame": {"type": "boolean"},
        "people": {"type": "array", "items": {"type": "object"}},
    },
}

PARSE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The results, in the form that Accept asks for.",
        "headers": {
            "Partstream-Frame-Size": {
                "description": "Of application/x-ndjson: width and height of the frames, such as 1280x720.",
                "schema": {"type": "string"},
            },
        },
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "video": {"type": "object"},
                        "model": {"type": "object"},
                        "frames": {"type": "array", "items": _FRAME},
                    },
                }
            },
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"index":0,"time_s":0.0,"key_frame":true,"people":[]}\n',
            },
            "video/mp4": {"schema": _FILE},
            "video/webm": {"schema": _FILE},
            "application/zip": {"schema": _FILE},
        },
    },
    **_problems(*_PARSE_CODES),
}

JOB_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A video or an image, as for /parse, or where it is downloaded from.",
        "content": PARSE_BODY["requestBody"]["content"]
        | {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"url": {"type": "string", "maxLength": 4096}},
                    "required": ["url"],
                }
            }
        },
    }
}
JOB_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The job that this Idempotency-Key made before.", "model": JobDocument},
    **_problems(
        "malformed_upload",
        "source_forbidden",
        "upload_timeout",
        "idempotency_conflict",
        "upload_too_large",
        "unsupported_media_type",
        "not_a_video",
        "jobs_unavailable",
        "disk_quota_exceeded",
    ),
}
RESULT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {"schema": _FILE}}},
    206: {"description": "The part of it that Range asks for."},
    304: {"description": "It is the one that If-None-Match names."},
    416: {"description": "It has no such range."},
    **_problems("not_found", "job_unfinished"),
}
