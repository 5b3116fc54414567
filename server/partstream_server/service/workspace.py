"""The directory of one request's files, removed when the request ends."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PREFIX: Final = "partstream-"
_log = logging.getLogger("partstream.api")


@contextmanager
def open_workspace(parent: Path) -> Iterator[Path]:
    """A fresh directory below `parent`, readable by this user alone, removed on the way out."""
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, onerror=lambda *_: _log.warning("cannot remove %s", directory))
