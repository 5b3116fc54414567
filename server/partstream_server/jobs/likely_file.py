"""The likely parts of a job's frames on the disk: `privacy` covers them when the video is rendered later.

One line of JSON for each result: `{"size": [h, w], "masks": {"2": counts, ...}}`, run lengths of each value.
The file is no output: nobody downloads it, and it goes with the job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from partstream_core import rle
from partstream_server.pipeline.likely_parts import Likely
from partstream_server.pipeline.values import MapArray

LIKELY: Final = "likely.ndjson"
"""Name of the file in a job's folder."""


def likely_line(likely_hw: MapArray) -> bytes:
    """A map as a line."""
    masks = rle.encode_label_map(likely_hw, [value for value in Likely if value])
    document = {
        "size": likely_hw.shape,
        "masks": {str(int(value)): one.counts for value, one in masks.items()},
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def read_likely(path: Path) -> Iterator[MapArray]:
    """The maps of a file, in order; none where there is no file.

    Raises:
        ValueError: A line is damaged.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            document = json.loads(line)
            height, width = document["size"]
            likely_hw = np.zeros((height, width), np.uint8)
            for value, counts in document["masks"].items():
                likely_hw[rle.decode(rle.Rle(height, width, counts))] = int(value)
            yield likely_hw


def open_likely(path: Path, num_lines: int) -> BinaryIO | None:
    """The file, cut back to a number of lines; None where it is shorter."""
    file = path.open("r+b" if path.exists() else "w+b")
    for _ in range(num_lines):
        if not file.readline().endswith(b"\n"):
            file.close()
            return None
    file.truncate(file.tell())
    return file
