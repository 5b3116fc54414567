"""What /docs says about bodies and answers that FastAPI cannot see."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from partstream_server.jobs.records import Output
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
                    "properties": {"video": _FILE, "image": _FILE, "backdrop": _FILE},
                    "oneOf": [{"required": ["video"]}, {"required": ["image"]}],
                    "additionalProperties": False,
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
        row.http: {
            "description": row.title,
            "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
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
            "video/quicktime": {"schema": _FILE},
            "application/zip": {"schema": _FILE},
        },
    },
    **_problems(*_PARSE_CODES),
}

_FOLLOWED_FRAME: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "index": {"type": "integer"},
        "time_s": {"type": "number"},
        "key_frame": {"type": "boolean"},
        "targets": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "status": {"enum": ["seen", "hidden", "gone"]},
                    "similarity": {"type": "number"},
                },
                "required": ["name", "status"],
            },
        },
    },
}
FOLLOW_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The targets frame by frame; those that are seen have all that people of /parse have.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "video": {"type": "object"},
                        "model": {"type": "object"},
                        "targets": {"type": "array", "items": {"type": "object"}},
                        "frames": {"type": "array", "items": _FOLLOWED_FRAME},
                    },
                }
            },
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    },
    **_problems("bad_option", *_PARSE_CODES),
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
_RESULT: Final[dict[str, Any]] = {output.media_type: {"schema": _FILE} for output in Output}
RESULT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file.", "content": _RESULT},
    206: {"description": "The part of it that Range asks for.", "content": _RESULT},
    304: {"description": "It is the one that If-None-Match names."},
    416: {"description": "It has no such range."},
    **_problems("not_found", "job_unfinished"),
}

EVENT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Events.", "content": {"text/event-stream": {"schema": {}}}}
}
MJPEG_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Pictures.", "content": {"multipart/x-mixed-replace": {"schema": _FILE}}}
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application, made once.

    Beside what FastAPI says of it, every operation has problem documents as its other answers, in place of
    FastAPI's own form of a 422, and schemas that stand in a body are moved to where references lead.
    """
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        license_info=app.license_info,
        routes=app.routes,
    )
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.setdefault("Problem", Problem.model_json_schema())
    problem = {
        "description": "What went wrong.",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path in document["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422")):
                answers["422"] = problem
            answers.setdefault("default", problem)
            for media in operation.get("requestBody", {}).get("content", {}).values():
                for name, schema in media["schema"].pop("$defs", {}).items():
                    schemas.setdefault(name, schema)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    app.openapi_schema = _with_references(document)
    return app.openapi_schema


def _with_references(value: Any) -> Any:
    """The value with references to the schemas of the document."""
    if isinstance(value, dict):
        return {
            name: one.replace("#/$defs/", "#/components/schemas/")
            if name == "$ref" and isinstance(one, str)
            else _with_references(one)
            for name, one in value.items()
        }
    return [_with_references(one) for one in value] if isinstance(value, list) else value
