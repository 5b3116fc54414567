"""Rendered people on disk: a memory-mapped file of cut-outs and an index that is written last.

Shape suffixes: H height, W width, C RGB, J the 17 COCO joints, 3 (x, y, visible).
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

INDEX: Final = "people.json"
PIXELS: Final = "people.bin"
NUM_JOINTS: Final = 17
_FORMAT: Final = 1
_PLANES: Final = 5


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a rendered body."""

    age: float
    """Years."""
    gender: float
    """Gender presentation, 0 feminine to 1 masculine."""
    skin_tone: float
    """0 lightest to 1 darkest: one minus the mean luminance of the rendered skin's texture."""
    build: float
    """0 thin to 1 heavy."""


@dataclass(frozen=True, slots=True)
class RenderedPerson:
    """One cut-out of a rendered person."""

    image_HWC: UInt8Array
    """RGB, not multiplied by alpha; colours of the person run on outside of it."""
    alpha_HW: UInt8Array
    """Coverage, 0..255."""
    parts_HW: UInt8Array
    """Parts 0..19, the person's own left and right; 0 outside of the person."""
    joints_J3: Float32Array
    """COCO joints: x, y in pixels of the cut-out, and 1 where the joint is not hidden."""
    body: int
    """The same number is the same person in the same clothes."""
    traits: Traits
    kind: str
    """How the pose was made, for example `motion` or `lying`."""
    is_cut: bool
    """The picture's edge cuts the person (a close-up)."""


class RenderedPeople:
    """Cut-outs by number, from a finished cache.

    Args:
        cache_dir: The folder that `PeopleWriter` filled.

    Raises:
        ValueError: The folder holds no finished cache, or a damaged one.
    """

    def __init__(self, cache_dir: Path) -> None:
        index_path = cache_dir / INDEX
        self._path = cache_dir / PIXELS
        again = f"delete the folder {cache_dir} and render it again"
        if not index_path.is_file():
            raise ValueError(f"no finished cache of rendered people: {index_path} is missing; {again}")
        try:
            index = json.loads(index_path.read_text())
            self._rows = index["people"]
            self.recipe: dict[str, object] = index["recipe"]
            found_format, num_bytes = index["format"], index["bytes"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"the index {index_path} is damaged ({error}); {again}") from error
        if found_format != _FORMAT:
            raise ValueError(f"{index_path} has format {found_format}, this code reads {_FORMAT}; {again}")
        found = self._path.stat().st_size if self._path.is_file() else 0
        if found != num_bytes or not self._rows:
            raise ValueError(f"{self._path} has {found} of {num_bytes} bytes; {again}")
        self._bytes = np.memmap(self._path, dtype=np.uint8, mode="r")

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_bytes"}

    def __setstate__(self, state: dict[str, object]) -> None:
        # a loading process maps the file by itself: pickling the mapped bytes would copy the cache
        self.__dict__.update(state)
        self._bytes = np.memmap(self._path, dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self._rows)

    def bodies(self) -> npt.NDArray[np.int64]:
        """The body of each cut-out, [len(self)]."""
        return np.array([row["body"] for row in self._rows], np.int64)

    def __getitem__(self, number: int) -> RenderedPerson:
        row = self._rows[number]
        height, width, start = row["height"], row["width"], row["start"]
        size = height * width
        planes = self._bytes[start : start + _PLANES * size]
        return RenderedPerson(
            image_HWC=planes[: 3 * size].reshape(height, width, 3),
            alpha_HW=planes[3 * size : 4 * size].reshape(height, width),
            parts_HW=planes[4 * size :].reshape(height, width),
            joints_J3=np.array(row["joints"], np.float32).reshape(NUM_JOINTS, 3),
            body=row["body"],
            traits=Traits(**row["traits"]),
            kind=row["kind"],
            is_cut=row["is_cut"],
        )


class PeopleWriter:
    """Writes a cache: cut-outs one by one, and the index when the block ends without an error.

    Args:
        cache_dir: Where it goes; made if missing, an earlier cache in it is overwritten.
        recipe: What made it, kept in the index.
    """

    def __init__(self, cache_dir: Path, recipe: dict[str, object]) -> None:
        self._dir = cache_dir
        self._recipe = recipe
        self._rows: list[dict[str, object]] = []
        self._start = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._dir.mkdir(parents=True, exist_ok=True)
        (self._dir / INDEX).unlink(missing_ok=True)  # a build that is cut short must not look finished
        self._file = (self._dir / PIXELS).open("wb")
        return self

    def add(self, person: RenderedPerson) -> None:
        """Append one cut-out."""
        assert self._file is not None, "the writer is a context manager"
        height, width = person.alpha_HW.shape
        for plane in (person.image_HWC, person.alpha_HW, person.parts_HW):
            self._file.write(np.ascontiguousarray(plane, np.uint8).tobytes())
        self._rows.append(
            {
                "height": height,
                "width": width,
                "start": self._start,
                "joints": [round(float(value), 2) for value in person.joints_J3.ravel()],
                "body": person.body,
                "traits": asdict(person.traits),
                "kind": person.kind,
                "is_cut": person.is_cut,
            }
        )
        self._start += _PLANES * height * width

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if kind is not None:
            return
        index = {"format": _FORMAT, "recipe": self._recipe, "bytes": self._start, "people": self._rows}
        draft = self._dir / f"{INDEX}.part"
        draft.write_text(json.dumps(index))
        draft.replace(self._dir / INDEX)
