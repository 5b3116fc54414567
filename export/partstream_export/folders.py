"""Output folders that appear when they are complete, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from partstream_core.manifest import MANIFEST_NAME


def check_target(out: Path, *, force: bool, marker: str = MANIFEST_NAME) -> None:
    """Pass if a bundle may be written there, or another folder that a file of that name marks.

    Raises:
        FileExistsError: Something is there already, and it is not to be replaced or is no bundle.
        OSError: No folder can be made there.
    """
    place = next(folder for folder in out.absolute().parents if os.path.lexists(folder))
    if not place.is_dir():
        raise NotADirectoryError(f"{place} is not a folder, so {out} cannot be made")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"{place} is not writable, so {out} cannot be made")
    if not os.path.lexists(out):
        return
    if not force:
        raise FileExistsError(f"{out} exists already; replace it with --force")
    if not out.is_dir() or out.is_symlink():
        raise FileExistsError(f"{out} is not a folder and will not be replaced")
    if any(out.iterdir()) and not (out / marker).is_file():
        raise FileExistsError(f"{out} holds other things (it has no {marker}) and will not be replaced")


@contextmanager
def draft_of(out: Path, *, force: bool, marker: str = MANIFEST_NAME) -> Iterator[Path]:
    """An empty folder that takes the place of `out` when the block ends well, and is gone when it fails.

    Raises:
        OSError: It cannot be written there, or `check_target` refuses.
    """
    check_target(out, force=force, marker=marker)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    draft, old = (out.with_name(f".{out.name}.{kind}-{os.getpid()}") for kind in ("draft", "old"))
    draft.mkdir()
    try:
        yield draft
        check_target(out, force=force, marker=marker)
        if out.exists():
            out.rename(old)
        try:
            draft.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
