"""A data set for YOLO segmentation: `data.yaml`, and a text file of polygons for each frame.

Each line is an object: its class, and x and y of a polygon in shares of width and height. Class 0 is a
person, others are places in `partstream_core.labels.PARTS`. One polygon is all that a line holds: a mask of
several pieces or with holes is a path through all of them (`outlines.single_path`), as Ultralytics' own
converter makes it. A frame without people has an empty file: background.

Identities have no place in this format. Images stand in `images/train` where the caller has pictures;
otherwise put them there, named by six digits of the frame's number.

Source: docs.ultralytics.com/datasets/segment.
"""

import io
from collections.abc import Iterator
from typing import Final

from PIL import Image as PillowImage

from partstream_core.convert.output import Folder
from partstream_core.convert.values import PERSON, Image, category_of, parts_of
from partstream_core.labels import PARTS
from partstream_core.outlines import single_path
from partstream_core.regions import Region, region_of
from partstream_core.results import FrameResult

NAMES: Final = (PERSON, *PARTS[1:])
_JPEG_QUALITY = 95


def lines_of(frame: FrameResult) -> Iterator[str]:
    """The frame's people and parts, each as a line without its end.

    Raises:
        NoMaskError: The results hold no masks.
        ValueError: A mask is damaged, or a part unknown.
    """
    for person in frame.people:
        whole = region_of(person.mask)
        if whole is not None:
            yield _line(0, whole)
        for part, region in parts_of(person):
            yield _line(category_of(part.part), region)


def _line(category: int, region: Region) -> str:
    path_N2 = single_path(region.outlines())
    width, height = region.rle.width, region.rle.height
    return f"{category} " + " ".join(f"{x / width:.6f} {y / height:.6f}" for x, y in path_N2.tolist())


class YoloWriter:
    """Writes the data set into a folder or an archive."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        names = "".join(f"  {number}: {name}\n" for number, name in enumerate(NAMES))
        folder.write("data.yaml", f"train: images/train\nval: images/train\nnames:\n{names}".encode())

    def add(self, frame: FrameResult, image: Image | None) -> None:
        """Write the polygons of a frame, and its picture."""
        lines = "".join(line + "\n" for line in lines_of(frame))
        self._folder.write(f"labels/train/{frame.index:06d}.txt", lines.encode())
        if image is not None:
            file = io.BytesIO()
            PillowImage.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY)
            self._folder.write(f"images/train/{frame.index:06d}.jpg", file.getvalue())

    def finish(self) -> None:
        """Nothing is left to write."""

    def close(self) -> None:
        """Nothing is open."""
