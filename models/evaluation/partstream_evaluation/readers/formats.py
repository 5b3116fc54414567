"""Which format a path holds, and reading and writing it."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

from partstream_evaluation.readers import coco, davis, text, vip
from partstream_evaluation.readers.model import ResultSet


class Format(StrEnum):
    """How truth or results are kept."""

    NDJSON = "ndjson"
    CIHP = "cihp"
    """Category_ids, Human_ids and Instance_ids, with or without a folder a clip."""
    VIP = "vip"
    """Results in global_parsing, instance_segmentation and instance_parsing."""
    COCO = "coco"
    MOTS = "mots"
    DAVIS = "davis"


_READERS: Final[dict[Format, Callable[[Path], ResultSet]]] = {
    Format.NDJSON: text.read_ndjson_set,
    Format.CIHP: vip.read_truth,
    Format.VIP: vip.read_results,
    Format.COCO: coco.read_dataset,
    Format.MOTS: text.read_mots_set,
    Format.DAVIS: davis.read,
}
_WRITERS: Final[dict[Format, Callable[[ResultSet, Path], None]]] = {
    Format.NDJSON: text.write_ndjson_set,
    Format.CIHP: vip.write_truth,
    Format.VIP: vip.write_results,
    Format.COCO: coco.write_dataset,
    Format.MOTS: text.write_mots_set,
    Format.DAVIS: davis.write,
}


def guess(path: Path) -> Format:
    """The format that a path looks like.

    Raises:
        ValueError: There is nothing, or nothing known.
    """
    if not path.exists():
        raise ValueError(f"there is no file or folder {path}")
    suffixes = {".ndjson": Format.NDJSON, ".json": Format.COCO, ".txt": Format.MOTS}
    if path.is_file() and path.suffix in suffixes:
        return suffixes[path.suffix]
    if path.is_dir():
        if (path / "Category_ids").is_dir():
            return Format.CIHP
        if any(path.glob("*/instance_segmentation")):
            return Format.VIP
        for pattern, kind in (
            ("**/*.ndjson", Format.NDJSON),
            ("*.txt", Format.MOTS),
            ("*/*.png", Format.DAVIS),
        ):
            if any(path.glob(pattern)):
                return kind
    raise ValueError(f"{path} is in no format that is known: {', '.join(Format)}")


def read(path: Path, kind: Format | None = None, *, dataset: Path | None = None) -> ResultSet:
    """The frames of a path.

    Args:
        path: A file or folder.
        kind: Its format; guessed if None.
        dataset: The COCO data set that a COCO list of results is for.

    Raises: ValueError: It is not in the format, damaged or empty; the message names the file. OSError: It
        cannot be read.
    """
    kind = kind or guess(path)
    if kind is Format.COCO and dataset is not None and dataset != path:
        found = coco.read_results(path, dataset)
    else:
        found = _READERS[kind](path)
    if not found.frames:
        raise ValueError(f"{path} holds no frame in the format {kind}")
    return found


def write(found: ResultSet, path: Path, kind: Format) -> None:
    """Write frames in a format.

    Raises:
        ValueError: The format cannot hold them.
    """
    _WRITERS[kind](found, path)
