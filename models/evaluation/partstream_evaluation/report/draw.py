"""A sample as one picture: photo, truth and prediction side by side.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from base64 import b64encode
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from partstream_core.labels import PALETTE, VOID
from partstream_evaluation.metrics.semantic import LabelMap
from partstream_evaluation.report.collect import Sample

_HEIGHT: Final = 360
_WIDTH: Final = 420
_STRENGTH: Final = 0.65
_GAP: Final = 6


def panels(sample: Sample) -> Image.Image:
    """The photo, the photo under its true parts, and under those found.

    Raises:
        ValueError: The picture cannot be read, or has another size than its maps.
    """
    try:
        with Image.open(BytesIO(sample.image)) as picture:
            image = picture.convert("RGB")
    except OSError as error:
        raise ValueError(f"cannot read the picture of {sample.name}: {error}") from error
    height, width = sample.truth_HW.shape
    if image.size != (width, height):
        raise ValueError(f"{sample.name} is {image.height}x{image.width}, its labels {height}x{width}")
    scale = min(_HEIGHT / height, _WIDTH / width, 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    views = [image, _over(image, sample.truth_HW), _over(image, sample.predicted_HW)]
    sheet = Image.new("RGB", (3 * size[0] + 2 * _GAP, size[1]), "white")
    for at, view in enumerate(views):
        sheet.paste(view.resize(size, Image.Resampling.LANCZOS), (at * (size[0] + _GAP), 0))
    return sheet


def data_url(picture: Image.Image) -> str:
    """The picture as a JPEG inside an address."""
    content = BytesIO()
    picture.save(content, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{b64encode(content.getvalue()).decode('ascii')}"


def _over(image: Image.Image, labels_HW: LabelMap) -> Image.Image:
    """The image, its parts in their colours, void whitened."""
    colours = PALETTE.copy()
    colours[VOID] = 255  # grey is the coat
    pixels_HWC = np.asarray(image).astype(np.float64)
    weight = np.where(labels_HW > 0, _STRENGTH, 0.0)[..., None]
    mixed = pixels_HWC * (1 - weight) + colours[labels_HW] * weight
    return Image.fromarray(mixed.round().astype(np.uint8))
