"""Frames of a results file: NDJSON line by line, or a whole JSON document."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from partstream_core.jsonread import Fields
from partstream_core.results import FrameResult, frame_from_json
from partstream_core.results_io import read_ndjson

_FIRST_KEY: Final = re.compile(r'\s*\{\s*"(\w+)"')
_OF_LINES: Final = frozenset({"index", "time_s", "key_frame", "people", "error"})
_OF_DOCUMENTS: Final = frozenset({"video", "model", "frames"})
_HEAD_CHARACTERS: Final = 4096


def read_results(path: Path) -> Iterator[FrameResult]:
    """The frames of a file of results, in its order.

    NDJSON is read line by line, so that its length does not matter; a document is read whole.

    Raises: ValueError: The file is empty, holds no results, or is damaged; the message names it. OSError: It
        cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            head = file.read(_HEAD_CHARACTERS)
        if not head.strip():
            raise ValueError(f"{path} is empty")
        match = _FIRST_KEY.match(head)
        key = match.group(1) if match else ""
        if key in _OF_LINES:
            yield from read_ndjson(path)
        elif key in _OF_DOCUMENTS:
            yield from _document(path)
        else:
            raise ValueError(f"{path} holds no partstream results, neither NDJSON nor a JSON document")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} holds no partstream results: it is no text ({error})") from None


def _document(path: Path) -> Iterator[FrameResult]:
    try:
        frames = Fields(json.loads(path.read_text(encoding="utf-8"))).items("frames")
        for at, frame in enumerate(frames):
            try:
                yield frame_from_json(frame)
            except ValueError as error:
                raise ValueError(f"frames[{at}]: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: the JSON is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
