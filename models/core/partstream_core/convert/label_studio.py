"""Tasks of Label Studio, one a frame, with parts as predictions of its brush.

`brushlabels` and not `polygonlabels`: a polygon of Label Studio is one ring, so that a part of several pieces
would become several regions, and holes would be filled. A region's number `identity` names the person; the
labelling config in docs/cli.md has both tags.

Its RLE is that of the package rle-pack: bits, first 32 of the count of values, 5 of their size less 1, four
times 4 of the sizes of lengths less 1; then blocks. A block of one value is: 1, 2 bits to choose the size of
its length, the length less 1, the value. Values are red, green, blue and alpha of each pixel, row by row.

Source: labelstud.io/guide/predictions; HumanSignal/label-studio-sdk, converter/brush.py.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from partstream_core.convert.values import Image, Options, category_of, parts_of
from partstream_core.regions import Region
from partstream_core.results import FrameResult, PartResult

LABELS_TAG: Final = "part"
IDENTITY_TAG: Final = "identity"
IMAGE_TAG: Final = "image"
MODEL_VERSION: Final = "partstream"
_CHANNELS = 4
_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_INSIDE, _OUTSIDE = f"{255:08b}", f"{0:08b}"


def brush_rle(region: Region) -> list[int]:
    """The region as Label Studio's RLE: bytes of an image of the frame, opaque white where the region is."""
    height, width = region.rle.height, region.rle.width
    bits = [f"{height * width * _CHANNELS:032b}{_VALUE_BITS - 1:05b}"]
    bits += [f"{size - 1:04b}" for size in _LENGTH_BITS]
    at = 0
    for start, end in _row_runs(region):
        bits.append(_blocks(start - at, _OUTSIDE))
        bits.append(_blocks(end - start, _INSIDE))
        at = end
    bits.append(_blocks(height * width - at, _OUTSIDE))
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def task_of(frame: FrameResult, image: str) -> dict[str, Any]:
    """The task of a frame.

    Raises:
        NoMaskError: The results hold no masks.
        ValueError: A mask is damaged, or a part unknown.
    """
    results: list[dict[str, Any]] = []
    for person in frame.people:
        for part, region in parts_of(person):
            results += _results(person.identity, part, region)
    scores = [person.score for person in frame.people]
    prediction = {
        "model_version": MODEL_VERSION,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "result": results,
    }
    data = {"image": image, "frame": frame.index, "time_s": frame.time_s}
    return {"data": data, "predictions": [prediction]}


def _results(identity: int, part: PartResult, region: Region) -> list[dict[str, Any]]:
    """The brush of a part, and the number that names its owner: results of one id are one region."""
    shared = {
        "id": f"{identity}-{category_of(part.part)}",
        "to_name": IMAGE_TAG,
        "original_width": region.rle.width,
        "original_height": region.rle.height,
        "image_rotation": 0,
    }
    brush = {"format": "rle", "rle": brush_rle(region), "brushlabels": [part.part]}
    return [
        {**shared, "type": "brushlabels", "from_name": LABELS_TAG, "score": part.score, "value": brush},
        {**shared, "type": "number", "from_name": IDENTITY_TAG, "value": {"number": identity}},
    ]


def _row_runs(region: Region) -> list[tuple[int, int]]:
    """Where runs of the region's pixels begin and end, the frame's pixels counted row by row."""
    x0, y0, x1, y1 = region.box
    rows = np.zeros((y1 - y0, x1 - x0 + 2), np.int8)
    rows[:, 1:-1] = region.crop_hw
    change = np.diff(rows, axis=1)
    (start_row, start_column), (end_row, end_column) = np.nonzero(change == 1), np.nonzero(change == -1)
    starts = (start_row + y0) * region.rle.width + start_column + x0
    ends = (end_row + y0) * region.rle.width + end_column + x0
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


@lru_cache(maxsize=4096)
def _blocks(num_pixels: int, value: str) -> str:
    """Blocks that repeat a value for each channel of so many pixels."""
    blocks, left = [], num_pixels * _CHANNELS
    while left:
        length = min(left, 1 << _LENGTH_BITS[-1])
        choice = next(at for at, size in enumerate(_LENGTH_BITS) if length <= 1 << size)
        blocks.append(f"1{choice:02b}{length - 1:0{_LENGTH_BITS[choice]}b}{value}")
        left -= length
    return "".join(blocks)


class LabelStudioWriter:
    """Writes a JSON list of tasks."""

    def __init__(self, path: Path, options: Options) -> None:
        self._options = options
        self._file = path.open("w", encoding="utf-8")
        self._between = "[\n"

    def add(self, frame: FrameResult, image: Image | None) -> None:  # noqa: ARG002  (the protocol's)
        """Write the task of a frame."""
        task = task_of(frame, self._options.image_of(frame))
        self._file.write(self._between + json.dumps(task, separators=(",", ":")))
        self._between = ",\n"

    def finish(self) -> None:
        """End the list."""
        self._file.write("\n]\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
