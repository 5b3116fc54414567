"""Files of data sets, with errors that name them.

Shape suffixes: H height, W width, C colour channels (RGB); a last 2 is (x, y).
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from partstream_core.labels import NUM_PARTS, VOID
from partstream_evaluation.readers.images import LabelMap, read_labels
from partstream_models.data.readers.record import Float32Array, UInt8Array

PART_VALUES = (*range(NUM_PARTS), VOID)
_FLOW_MAGIC = 202021.25
_MAX_SIDE = 100_000
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def need_folder(folder: Path, what: str) -> Path:
    """The folder.

    Raises:
        ValueError: There is none.
    """
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}: {what}")
    return folder


def first_folder(folders: Sequence[Path], what: str) -> Path:
    """The first of several folders that is there.

    Raises:
        ValueError: None is; the message names all.
    """
    for folder in folders:
        if folder.is_dir():
            return folder
    raise ValueError(f"no folder {' or '.join(map(str, folders))}: {what}")


def first_file(files: Sequence[Path], what: str) -> Path:
    """The first of several files that is there.

    Raises:
        ValueError: None is; the message names all.
    """
    for file in files:
        if file.is_file():
            return file
    raise ValueError(f"no file {' or '.join(map(str, files))}: {what}")


def read_lines(path: Path) -> list[str]:
    """The lines of a list that are not empty.

    Raises:
        ValueError: It is missing or empty, or no text.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the list {path}: {error}") from error
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f"the list {path} is empty")
    return lines


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: The file is missing, is no JSON, or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} holds a {type(document).__name__}, not an object")
    return document


def read_image(path: Path) -> UInt8Array:
    """An image, uint8 RGB [H, W, C], as stored: labels know nothing of EXIF rotation.

    Raises:
        ValueError: It is missing or damaged.
    """
    try:
        with Image.open(path) as picture:  # unlike OpenCV, Pillow tells a truncated file from a whole one
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"cannot read the image {path}: {error}") from error


def read_map(path: Path, image_HWC: UInt8Array, allowed: Collection[int] | None = None) -> LabelMap:
    """A label map of an image's size.

    Raises:
        ValueError: It is missing, damaged, of another size, or holds a value that is not allowed.
    """
    labels_HW = read_labels(path, allowed=None if allowed is None else tuple(allowed))
    if labels_HW.shape != image_HWC.shape[:2]:
        raise ValueError(f"{path} is {labels_HW.shape}, but its image is {image_HWC.shape[:2]}")
    return labels_HW


def read_flow(path: Path) -> Float32Array:
    """Optical flow of a Middlebury file (.flo), float32 [H, W, 2].

    Raises:
        ValueError: It is missing, of another kind, or cut short.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the flow {path}: {error}") from error
    if len(packed) < 12 or np.frombuffer(packed, "<f4", 1)[0] != np.float32(_FLOW_MAGIC):
        raise ValueError(f"{path} is no flow file: it does not start with {_FLOW_MAGIC}")
    width, height = (int(side) for side in np.frombuffer(packed, "<i4", 2, offset=4))
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise ValueError(f"{path} says that it is {width}x{height}")
    if len(packed) != 12 + 8 * width * height:
        raise ValueError(f"{path} has {len(packed)} bytes, {width}x{height} needs {12 + 8 * width * height}")
    return np.frombuffer(packed, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in the order of their names.

    Raises:
        ValueError: There are none.
    """
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise ValueError(f"no images in {folder}")
    return found
