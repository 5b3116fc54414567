"""Pictures turned by quarters, as files that `partstream` reads."""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from partstream_evaluation.evaluate.runner import EvaluationError

TURNS: Final = (0, 90, 180, 270)
"""Degrees, counter-clockwise."""


def quarter_turns(degrees: int) -> int:
    """Degrees as the number of quarters that `numpy.rot90` takes.

    Raises:
        EvaluationError: They are no quarter turn.
    """
    if degrees not in TURNS:
        raise EvaluationError(
            f"pictures can be turned by {', '.join(map(str, TURNS))} degrees, got {degrees}"
        )
    return degrees // 90


def write_turned(image: Path, target: Path, degrees: int) -> Path:
    """Write a picture as PNG, turned counter-clockwise, and return its path.

    Raises:
        EvaluationError: The picture cannot be read.
    """
    try:
        with Image.open(image) as picture:
            upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise EvaluationError(f"cannot read the picture {image}: {error}") from error
    turned = np.ascontiguousarray(np.rot90(upright, quarter_turns(degrees)))
    path = target.with_suffix(".png")
    Image.fromarray(turned).save(path, compress_level=1)
    return path
