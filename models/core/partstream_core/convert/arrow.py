"""Imports pyarrow with the system's allocator and without the background thread of its jemalloc."""

import os
from typing import Any, Final

_DEFAULTS: Final = {
    # pyarrow starts a thread of its jemalloc as soon as it is loaded, even if jemalloc allocates nothing. On
    # some x86 processors that thread ends the process with a segmentation fault, and because it blocks all
    # signals, no handler prints a traceback (github.com/apache/arrow, issues 44342 and 17285).
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Its mimalloc, the default, fails if pyarrow was first imported in a thread that has ended since
    # (github.com/apache/arrow, issue 50908), as worker threads of a server do.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


class MissingExtraError(ImportError):
    """Something optional is not installed; the message names what to install."""


def set_arrow_defaults() -> None:
    """Choose pyarrow's allocator for this process; call it before pyarrow is imported.

    Environment variables that are set already are kept.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def import_arrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    set_arrow_defaults()
    try:
        import pyarrow  # noqa: PLC0415  (an extra: CSV and the other formats do not need it)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        message = "Parquet needs pyarrow, of the extra parquet: pip install 'partstream-core[parquet]'"
        raise MissingExtraError(message) from error
    return pyarrow, parquet
