"""The CCP photos with their part maps, shrunk once and kept in memory-mapped files.

Training reads a photo hundreds of times; shrinking and label mapping happen once. Validation photos are never
read unless asked for.

Shape suffixes: H height, W width.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from partstream_evaluation.ccp import part_map, read_class_names, read_label_map, validation_ids
from partstream_models.data.photos.partial_labels import mark_carried, teacher_map

UInt8Array = npt.NDArray[np.uint8]
HintSource = Callable[[str, UInt8Array], UInt8Array]
"""Hints of a photo, given its id and RGB pixels."""

HEIGHT = 576
"""Height of every cached photo in pixels; the width follows the photo."""
COUNTS = "counts.npy"
"""Pixel counts by photo and part, kept beside the photos and forgotten when they are made anew."""
_FORMAT = 4
_PLANES = 8


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """One photo as it was published, with its part map."""

    photo_id: str
    image_HWC: UInt8Array
    """RGB."""
    parts_HW: UInt8Array
    """Parts 0..19, 255 void."""
    teacher_HW: UInt8Array
    """What pretrained networks say where the parts are void, and bags (`data.photos.partial_labels`)."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo with its part map, shrunk to `HEIGHT`."""

    photo_id: str
    image_HWC: UInt8Array
    """RGB."""
    parts_HW: UInt8Array
    """Parts 0..19, 255 void."""
    backdrop_HWC: UInt8Array
    """The photo with its people painted over, RGB; coarse where they stood."""
    teacher_HW: UInt8Array
    """What pretrained networks say where the parts are void, and bags (`data.photos.partial_labels`)."""


def training_ids(data_dir: Path) -> list[str]:
    """Ids of the photos that training may see: all but `val.txt`."""
    held_out = set(validation_ids(data_dir))
    names = sorted(path.stem for path in (data_dir / "photos").glob("*.jpg"))
    if not names:
        raise ValueError(f"no photos in {data_dir / 'photos'}")
    return [name for name in names if name not in held_out]


class PhotoCache:
    """Photos by number, from files made at first use.

    Args:
        data_dir: The CCP folder (`photos/`, `labels/`, `val.txt`, `label_list.txt`).
        cache_dir: Where the shrunk copies go; made if missing.
        photo_ids: Which photos, in order.
        make_hints: Makes body hints of a photo; called only while the cache is built.

    Raises:
        ValueError: The folder is not CCP's, or no photo in it can be read.
    """

    def __init__(self, data_dir: Path, cache_dir: Path, photo_ids: list[str], make_hints: HintSource) -> None:
        index_path = cache_dir / "index.json"
        if not _is_current(index_path, photo_ids):
            _build(data_dir, cache_dir, photo_ids, make_hints)
        index = json.loads(index_path.read_text())
        self._rows = index["photos"]
        self.num_skipped: int = index["num_skipped"]
        self._path = cache_dir / "photos.bin"
        self._bytes = np.memmap(self._path, dtype=np.uint8, mode="r")

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_bytes"}

    def __setstate__(self, state: dict[str, object]) -> None:
        # a loading process of its own maps the file; sending the mapped bytes would copy every photo
        self.__dict__.update(state)
        self._bytes = np.memmap(self._path, dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Photo:
        row = self._rows[number]
        height, width, start = row["height"], row["width"], row["start"]
        size = height * width
        image = self._bytes[start : start + 3 * size].reshape(height, width, 3)
        parts = self._bytes[start + 3 * size : start + 4 * size].reshape(height, width)
        backdrop = self._bytes[start + 4 * size : start + 7 * size].reshape(height, width, 3)
        teacher = self._bytes[start + 7 * size : start + 8 * size].reshape(height, width)
        return Photo(row["id"], image, parts, backdrop, teacher)


def _is_current(index_path: Path, photo_ids: list[str]) -> bool:
    if not index_path.is_file():
        return False
    index = json.loads(index_path.read_text())
    return bool(index.get("format") == _FORMAT and index.get("asked") == photo_ids)


def _build(data_dir: Path, cache_dir: Path, photo_ids: list[str], make_hints: HintSource) -> None:
    cache_dir.mkdir(parents=True, exist_ok=True)
    for stale in ("index.json", COUNTS):  # a build that is cut short must not look finished
        (cache_dir / stale).unlink(missing_ok=True)
    rows, start = [], 0
    with (cache_dir / "photos.bin").open("wb") as file:
        for labelled in labelled_photos(data_dir, photo_ids, make_hints):
            photo = _shrink(labelled)
            height, width = photo.parts_HW.shape
            for array in (photo.image_HWC, photo.parts_HW, photo.backdrop_HWC, photo.teacher_HW):
                file.write(np.ascontiguousarray(array).tobytes())
            rows.append({"id": photo.photo_id, "height": height, "width": width, "start": start})
            start += _PLANES * height * width
    if not rows:
        raise ValueError(f"none of the {len(photo_ids)} photos in {data_dir} can be read")
    index = {"format": _FORMAT, "asked": photo_ids, "photos": rows, "num_skipped": len(photo_ids) - len(rows)}
    draft = cache_dir / "index.json.part"
    draft.write_text(json.dumps(index))
    draft.replace(cache_dir / "index.json")


def labelled_photos(
    data_dir: Path, photo_ids: Sequence[str], make_hints: HintSource
) -> Iterator[LabelledPhoto]:
    """The photos with their part maps, one by one; what cannot be read is named, skipped and left out.

    Raises:
        ValueError: The folder is not CCP's.
    """
    names = read_class_names(data_dir)
    for photo_id in tqdm(photo_ids, desc="photos"):
        try:
            image = read_photo(data_dir / "photos" / f"{photo_id}.jpg")
            labels = read_label_map(data_dir / "labels" / f"{photo_id}.png")
            if image.shape[:2] != labels.shape:
                raise ValueError(f"photo {photo_id} is {image.shape[:2]}, its label map {labels.shape}")
        except ValueError as error:
            tqdm.write(f"skipped: {error}")
            continue
        hints = make_hints(photo_id, image)
        try:
            parts = part_map(labels, hints, names)
        except ValueError as error:
            tqdm.write(f"skipped: photo {photo_id}: {error}")
            continue
        teacher = teacher_map(parts, hints)
        mark_carried(teacher, labels, names)
        yield LabelledPhoto(photo_id, image, parts, teacher)


def read_photo(path: Path) -> UInt8Array:
    """The RGB pixels of a photo.

    Raises:
        ValueError: The file is missing or damaged.
    """
    try:
        with Image.open(path) as picture:  # unlike OpenCV, Pillow tells a truncated file from a whole one
            return np.array(picture.convert("RGB"))
    except OSError as error:
        raise ValueError(f"cannot read the photo {path}: {error}") from error


def _shrink(photo: LabelledPhoto) -> Photo:
    width = round(photo.image_HWC.shape[1] * HEIGHT / photo.image_HWC.shape[0])
    image = cv2.resize(photo.image_HWC, (width, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8)
    parts = cv2.resize(photo.parts_HW, (width, HEIGHT), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    teacher = cv2.resize(photo.teacher_HW, (width, HEIGHT), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    return Photo(photo.photo_id, image, parts, _backdrop(image, parts), teacher)


def _backdrop(image_HWC: UInt8Array, parts_HW: UInt8Array) -> UInt8Array:
    height, width = parts_HW.shape
    people = cv2.dilate((parts_HW > 0).astype(np.uint8), np.ones((15, 15), np.uint8))
    small = (width // 4, height // 4)
    mask = (cv2.resize(people, small, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    filled = cv2.inpaint(
        cv2.resize(image_HWC, small, interpolation=cv2.INTER_AREA), mask, 5, cv2.INPAINT_TELEA
    )
    filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(people.astype(np.float32), (0, 0), 3)[..., None]
    blended: UInt8Array = (image_HWC * (1 - soft) + filled * soft).astype(np.uint8)
    return np.where(people[..., None] > 0, filled, blended).astype(np.uint8)
