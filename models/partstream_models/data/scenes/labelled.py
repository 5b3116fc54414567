"""Pictures that teachers labelled, read from one memory-mapped file.

`partstream_models.teachers` makes the file.

Shape suffixes: H height, W width, C colour channels (RGB), N people, J joints (17, COCO order).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

NUM_PLANES = 6
"""RGB, parts, people and partial answers."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A real picture with the people that teachers found."""

    name: str
    image_HWC: UInt8Array
    """RGB."""
    parts_HW: UInt8Array
    """0 where nobody is, 255 void elsewhere."""
    people_HW: UInt8Array
    """Number + 1 of the person, 0 nobody, 255 void."""
    teacher_HW: UInt8Array
    """Partial answers about parts (`data.photos.partial_labels`)."""
    joints_NJ3: Float32Array
    """x, y in pixels and score."""


class LabelledPeople:
    """Pictures by number.

    Args:
        cache_dir: Folder that `build` has written.

    Raises:
        ValueError: There is no such cache, or it is not whole.
    """

    def __init__(self, cache_dir: Path) -> None:
        index_path = cache_dir / "index.json"
        if not index_path.is_file():
            raise ValueError(f"no labelled pictures in {cache_dir}; partstream-teach makes them")
        index = json.loads(index_path.read_text())
        if index.get("format") != FORMAT:
            raise ValueError(f"{cache_dir} was made by another version: delete it and start again")
        self._rows = index["pictures"]
        self._path = cache_dir / "pictures.bin"
        last = self._rows[-1]
        if self._path.stat().st_size != last["start"] + NUM_PLANES * last["height"] * last["width"]:
            raise ValueError(f"{self._path} is damaged: delete {cache_dir} and start again")
        self._bytes = np.memmap(self._path, dtype=np.uint8, mode="r")

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_bytes"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._bytes = np.memmap(self._path, dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> LabelledPicture:
        row = self._rows[number]
        height, width, start = row["height"], row["width"], row["start"]
        size = height * width
        planes = self._bytes[start : start + NUM_PLANES * size]
        maps = planes[3 * size :].reshape(3, height, width)
        joints = np.asarray(row["joints"], np.float32).reshape(-1, 17, 3)
        image = planes[: 3 * size].reshape(height, width, 3)
        return LabelledPicture(row["name"], image, maps[0], maps[1], maps[2], joints)
