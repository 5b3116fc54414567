"""Label maps as PNG files. Shape suffixes: H height, W width."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

LabelMap = npt.NDArray[np.int64]
MODES = ("L", "P", "I;16", "I", "1")


def read_labels(path: Path, *, allowed: Sequence[int] | None = None) -> LabelMap:
    """The values of a palette or grey PNG, int64 [H, W].

    Args:
        path: The file.
        allowed: The values that it may hold; all if None.

    Raises:
        ValueError: The file is missing, damaged or a colour picture, or holds another value; the message
            names the file.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode not in MODES:
                raise ValueError(
                    f"{path} must be a label map, with one value a pixel, got mode {picture.mode}"
                )
            labels = np.array(picture).astype(np.int64)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"cannot read the label map {path}: {error}") from error
    if allowed is not None:
        unknown = sorted(set(np.unique(labels).tolist()) - set(allowed))
        if unknown:
            raise ValueError(f"{path} holds unknown values: {', '.join(map(str, unknown[:8]))}")
    return labels


def same_size(first: LabelMap, first_path: Path, second: LabelMap, second_path: Path) -> None:
    """Nothing.

    Raises:
        ValueError: The maps differ in size.
    """
    if first.shape != second.shape:
        raise ValueError(f"{second_path} is {second.shape}, but {first_path} is {first.shape}")


def write_labels(
    path: Path, labels_HW: npt.NDArray[np.integer], palette: npt.NDArray[np.uint8] | None = None
) -> None:
    """Write a label map as PNG: 8 bits, or 16 where it needs them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if labels_HW.max(initial=0) > 255:
        Image.fromarray(labels_HW.astype(np.uint16)).save(path)
        return
    picture = Image.fromarray(labels_HW.astype(np.uint8))
    if palette is not None:
        picture.putpalette(palette.tobytes())
    picture.save(path)
