"""Files and folders that appear when they are complete, or not at all."""

import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class Folder(Protocol):
    """Where files of a data set go."""

    def write(self, name: str, data: bytes) -> None:
        """Add a file; folders of its name are made."""


class DiskFolder:
    """A folder on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, name: str, data: bytes) -> None:
        """Add a file; folders of its name are made."""
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class ZipFolder:
    """The inside of a zip archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def write(self, name: str, data: bytes) -> None:
        """Add a file."""
        self._archive.writestr(name, data)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when the block ends, and is removed where it fails.

    Raises:
        ValueError: There is something at the path that is no file.
        OSError: It cannot be written there.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is there already, and is no file")
    draft = _draft(path)
    try:
        _begin(path, lambda: draft.touch(exist_ok=False))
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Folder]:
    """A folder, or a zip archive where the path ends so, that is there when the block ends without an error.

    Raises:
        ValueError: There is something at the path, other than an empty folder or an older archive.
        OSError: It cannot be written there.
    """
    if path.suffix.lower() == ".zip":
        with new_file(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            yield ZipFolder(archive)
        return
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"{path} is there already, and is no empty folder")
    draft = _draft(path)
    try:
        _begin(path, draft.mkdir)
        yield DiskFolder(draft)
        draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _begin(path: Path, make: Callable[[], None]) -> None:
    """Make the draft of a path; an error names the path, which the caller knows."""
    try:
        make()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _draft(path: Path) -> Path:
    """A name beside the path that nothing has; hidden, and told from the path's own."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
