"""Folders of pictures with a person mask beside each: `00000.jpg` and `00000.png`.

Shape suffixes: H height, W width.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from partstream_evaluation.readers.images import read_labels

BoolArray = npt.NDArray[np.bool_]

PICTURES: Final = frozenset({".jpg", ".jpeg", ".webp", ".bmp"})
"""Suffixes of pictures; PNG files are masks."""


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture and the file of its mask."""

    name: str
    """Folder and stem, relative to the folder that was read."""
    image: Path
    mask: Path

    def read_mask(self, quarter_turns: int = 0) -> BoolArray:
        """Where people are, bool [H, W], turned counter-clockwise.

        Every value but 0 is a person.

        Raises:
            ValueError: The mask is damaged, is a colour picture, or has another size than the picture.
        """
        mask_HW = read_labels(self.mask) > 0
        height, width = mask_HW.shape
        try:
            with Image.open(self.image) as picture:
                is_sideways = picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5
                size = picture.size[::-1] if is_sideways else picture.size
        except OSError as error:
            raise ValueError(f"cannot read the picture {self.image}: {error}") from error
        if size != (width, height):
            raise ValueError(f"{self.image} is {size[1]}x{size[0]}, its mask {self.mask} {height}x{width}")
        return np.rot90(mask_HW, quarter_turns)


@dataclass(frozen=True, slots=True)
class LabelledFolder:
    """The pictures of one folder, in the order of their names."""

    name: str
    pictures: tuple[LabelledPicture, ...]


def read_folders(root: Path) -> tuple[LabelledFolder, ...]:
    """Every folder at or below a root that holds pictures with masks, in the order of their paths.

    Raises:
        ValueError: There is no such folder, a mask has no picture, a picture has no mask, or two pictures
            have one name.
    """
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}")
    files: dict[Path, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix.lower() in {*PICTURES, ".png"}:
            files.setdefault(path.parent, []).append(path)
    found = tuple(_read_folder(root, folder, inside) for folder, inside in sorted(files.items()))
    if not found:
        raise ValueError(f"{root} holds no pictures with masks")
    return found


def _read_folder(root: Path, folder: Path, files: Sequence[Path]) -> LabelledFolder:
    masks = {path.stem: path for path in files if path.suffix.lower() == ".png"}
    images: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() not in PICTURES:
            continue
        if path.stem in images:
            raise ValueError(f"{path} and {images[path.stem]} have one name: one mask cannot be both's")
        images[path.stem] = path
    for stem in sorted(set(images) ^ set(masks)):
        if stem in images:
            raise ValueError(f"{images[stem]} has no mask {stem}.png beside it")
        raise ValueError(f"{masks[stem]} has no picture beside it ({', '.join(sorted(PICTURES))})")
    below = folder.relative_to(root).as_posix()
    name = root.resolve().name if below == "." else below
    pictures = tuple(
        LabelledPicture(f"{name}/{stem}", images[stem], masks[stem]) for stem in sorted(images, key=_natural)
    )
    return LabelledFolder(name, pictures)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts frame2 before frame10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name)]
