"""Answers of the service, checked as they are read."""

from typing import Any

import httpx

from partstream_core.results import frame_from_json
from partstream_server.service.errors import codes_for


def document(answer: httpx.Response) -> dict[str, Any]:
    """The results, once every frame of them was read back."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    whole: dict[str, Any] = answer.json()
    for frame in whole["frames"]:
        for person in frame_from_json(frame).people:
            size = [whole["video"]["height"], whole["video"]["width"]]
            assert frame["people"][0]["mask"]["size"] == size
            assert 0 <= person.box[0] <= person.box[2] <= whole["video"]["width"]
    return whole


def problem(answer: httpx.Response, code: str) -> dict[str, Any]:
    """The problem document, once it was found to be one with that code."""
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["code"], found["status"]) == (code, codes_for(code).http), found
    assert answer.status_code == found["status"]
    assert found["type"].endswith(code)
    assert found["title"] and found["detail"]
    return found
