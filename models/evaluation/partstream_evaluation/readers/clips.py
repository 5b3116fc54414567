"""Frames of clips. Shape suffixes: H height, W width, C colour channels (RGB)."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

UInt8Array = npt.NDArray[np.uint8]


def read_frames(path: Path) -> Iterator[UInt8Array]:
    """The frames of a picture, a GIF or a video, RGB, one by one.

    Raises:
        ValueError: The file is damaged, or a video and PyAV is not installed.
    """
    try:
        with Image.open(path) as picture:
            for number in range(getattr(picture, "n_frames", 1)):
                picture.seek(number)
                yield np.asarray(picture.convert("RGB"))
        return
    except UnidentifiedImageError:
        pass
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    yield from _video_frames(path)


def _video_frames(path: Path) -> Iterator[UInt8Array]:
    """Decoded by PyAV, which this package does not ask for: it is there where `partstream` is installed."""
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise ValueError(
            f"reading {path} needs PyAV: install partstream-server beside this command"
        ) from error
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"cannot decode {path}: {error}") from error
