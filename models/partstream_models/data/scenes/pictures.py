"""Pictures of folders and clips, decoded once and kept in one memory-mapped file.

Backdrops and things are read thousands of times; decoding happens once. Loading processes map the same file.

Shape suffixes: H height, W width, C channels (RGB, or RGB and opacity).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

UInt8Array = npt.NDArray[np.uint8]

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
CLIPS = frozenset({".avi", ".gif", ".mkv", ".mov", ".mp4", ".webm"})
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureSource:
    """A folder of pictures and clips."""

    folder: Path
    longer_side: int = 1280
    """Larger pictures are shrunk to this."""
    opacity: bool = False
    """Keep the alpha channel; pictures without one are left out."""
    clip_step: int = 25
    """Of clips, every frame of this many."""

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ValueError(f"no folder of pictures at {self.folder}")
        if self.longer_side < 1 or self.clip_step < 1:
            raise ValueError(f"longer_side and clip_step must be positive, got {self}")


class PictureCache:
    """Pictures by number, from a file that is made at first use.

    Args:
        cache_dir: Where the file goes; made if missing.
        sources: Folders, searched for pictures and clips at any depth.

    Raises:
        ValueError: A folder is missing, or holds no picture that can be read.
    """

    def __init__(self, cache_dir: Path, sources: Sequence[PictureSource]) -> None:
        asked = _asked(sources)
        index_path = cache_dir / "index.json"
        if not _is_current(index_path, asked):
            _build(cache_dir, sources, asked)
        index = json.loads(index_path.read_text())
        self._shapes: list[tuple[int, int, int]] = [tuple(row["shape"]) for row in index["pictures"]]
        self._starts: list[int] = [row["start"] for row in index["pictures"]]
        self.num_skipped: int = index["num_skipped"]
        self._path = cache_dir / "pictures.bin"
        size = self._starts[-1] + int(np.prod(self._shapes[-1]))
        if self._path.stat().st_size != size:
            raise ValueError(f"{self._path} is damaged: delete {cache_dir} and start again")
        self._bytes = np.memmap(self._path, dtype=np.uint8, mode="r")

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_bytes"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._bytes = np.memmap(self._path, dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, number: int) -> UInt8Array:
        """Picture [H, W, C] of that number; not to be changed."""
        shape, start = self._shapes[number], self._starts[number]
        return self._bytes[start : start + int(np.prod(shape))].reshape(shape)


def _asked(sources: Sequence[PictureSource]) -> str:
    """A digest of the sources and of the names and sizes of their files."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(repr(sorted(asdict(source).items())).encode())
        for path in _files(source):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def _is_current(index_path: Path, asked: str) -> bool:
    if not index_path.is_file():
        return False
    try:
        index = json.loads(index_path.read_text())
    except json.JSONDecodeError:
        return False
    return bool(index.get("format") == _FORMAT and index.get("asked") == asked)


def _build(cache_dir: Path, sources: Sequence[PictureSource], asked: str) -> None:
    cache_dir.mkdir(parents=True, exist_ok=True)
    (cache_dir / "index.json").unlink(missing_ok=True)  # a build that is cut short must not look finished
    rows: list[dict[str, object]] = []
    start = num_skipped = 0
    with (cache_dir / "pictures.bin").open("wb") as file:
        for source in sources:
            for path in _files(source):
                found = 0
                for picture in _read(path, source):
                    file.write(picture.tobytes())
                    rows.append({"shape": picture.shape, "start": start})
                    start += picture.size
                    found += 1
                num_skipped += found == 0
    if not rows:
        raise ValueError(f"no picture can be read in {', '.join(str(source.folder) for source in sources)}")
    draft = cache_dir / "index.json.part"
    draft.write_text(
        json.dumps({"format": _FORMAT, "asked": asked, "pictures": rows, "num_skipped": num_skipped})
    )
    draft.replace(cache_dir / "index.json")


def _files(source: PictureSource) -> Iterator[Path]:
    suffixes = PICTURES if source.opacity else PICTURES | CLIPS
    yield from sorted(path for path in source.folder.rglob("*") if path.suffix.lower() in suffixes)


def _read(path: Path, source: PictureSource) -> Iterable[UInt8Array]:
    """The pictures of one file; none where it cannot be read."""
    if path.suffix.lower() in CLIPS:
        yield from _frames(path, source)
        return
    try:
        with Image.open(path) as picture:
            if source.opacity and "A" not in picture.getbands() and "transparency" not in picture.info:
                return
            picture.thumbnail((source.longer_side, source.longer_side), Image.Resampling.LANCZOS)
            yield np.ascontiguousarray(picture.convert("RGBA" if source.opacity else "RGB"), np.uint8)
    except (OSError, ValueError):
        return


def _frames(path: Path, source: PictureSource) -> Iterator[UInt8Array]:
    capture = cv2.VideoCapture(str(path))
    number = 0
    while capture.grab():
        if number % source.clip_step == 0:
            there, image = capture.retrieve()
            if there:
                scale = min(1.0, source.longer_side / max(image.shape[:2]))
                small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                yield np.ascontiguousarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)
        number += 1
    capture.release()
