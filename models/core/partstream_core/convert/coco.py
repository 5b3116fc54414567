"""A COCO data set with tracks: `videos`, `images`, `annotations` with RLE, `categories`.

Each person is an annotation, and each of their parts is one. Beside COCO's own fields an annotation has
`score`, and `track_id`, which is the person's identity; that of a part is its owner's. An image has
`video_id` and `frame_id`, its number in the video, as CocoVID has them. A person with joints has keypoints.

Annotations go to the file as they come; images wait in a temporary file, for the size of a frame in which
nobody is may become known later.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

from partstream_core.coco_keypoints import CATEGORY_FIELDS, keypoint_fields
from partstream_core.convert.values import Image, Options, category_of
from partstream_core.labels import PARTS
from partstream_core.regions import as_rle, region_of
from partstream_core.results import FrameResult, Mask, PersonResult

PERSON_CATEGORY: Final = len(PARTS)
"""`category_id` of people; that of a part is its place in `partstream_core.labels.PARTS`, from 1."""
_VIDEO = 1


def annotations_of(frame: FrameResult) -> Iterator[dict[str, Any]]:
    """The frame's people and parts, without `id` and `image_id`.

    Raises:
        NoMaskError: The results hold no masks.
        ValueError: A mask is damaged, or a part unknown.
    """
    for person in frame.people:
        yield _annotation(person, PERSON_CATEGORY, person.score, person.mask) | keypoint_fields(person.joints)
        for part in person.parts:
            yield _annotation(person, category_of(part.part), part.score, part.mask)


def categories(*, jointed: bool) -> list[dict[str, Any]]:
    """Parts and people; these with the names of joints where some have them."""
    parts = [
        {"id": number, "name": name, "supercategory": "part"} for number, name in enumerate(PARTS) if number
    ]
    person = {"id": PERSON_CATEGORY, "name": "person", "supercategory": "person"}
    return [*parts, {**person, **CATEGORY_FIELDS} if jointed else person]


def size_of(frame: FrameResult, image: Image | None) -> tuple[int, int] | None:
    """Height and width of the frame, where its picture or somebody's mask tells."""
    if image is not None:
        return image.shape[0], image.shape[1]
    for person in frame.people:
        if person.mask is not None:
            runs = as_rle(person.mask)
            return runs.height, runs.width
    return None


def _annotation(person: PersonResult, category: int, score: float, mask: Mask) -> dict[str, Any]:
    runs, region = as_rle(mask), region_of(mask)
    x0, y0, x1, y1 = region.box if region is not None else (0, 0, 0, 0)
    return {
        "track_id": person.identity,
        "iscrowd": 0,
        "category_id": category,
        "score": score,
        "segmentation": {"size": [runs.height, runs.width], "counts": runs.counts},
        "area": region.area if region is not None else 0,
        "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
    }


class CocoWriter:
    """Writes the data set as one JSON object."""

    def __init__(self, path: Path, options: Options) -> None:
        self._options = options
        self._file = path.open("w", encoding="utf-8")
        self._images = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  (closed with the writer)
        self._num_images = self._num_annotations = 0
        self._size: tuple[int, int] | None = None
        self._jointed = False
        self._file.write('{"annotations": [')

    def add(self, frame: FrameResult, image: Image | None) -> None:
        """Write the annotations of a frame."""
        self._num_images += 1
        size = size_of(frame, image)
        self._size = self._size or size
        fields = {
            "id": self._num_images,
            "video_id": _VIDEO,
            "frame_id": frame.index,
            "time_s": frame.time_s,
            "file_name": self._options.image_of(frame),
        }
        known = {"height": size[0], "width": size[1]} if size else {}
        self._images.write(json.dumps(fields | known) + "\n")
        for annotation in annotations_of(frame):
            self._jointed = self._jointed or "keypoints" in annotation
            self._file.write(",\n" if self._num_annotations else "\n")
            self._num_annotations += 1
            ids = {"id": self._num_annotations, "image_id": self._num_images, "video_id": _VIDEO}
            self._file.write(json.dumps(ids | annotation))

    def finish(self) -> None:
        """Write images, video and categories.

        Raises:
            ValueError: Nobody is in any frame, so nothing says how large they are.
        """
        if self._size is None:
            raise ValueError("nobody is in any frame, and nothing else tells their size; name the video")
        size = {"height": self._size[0], "width": self._size[1]}
        self._file.write('\n],\n"images": [')
        self._images.seek(0)
        for number, line in enumerate(self._images):
            self._file.write(",\n" if number else "\n")
            self._file.write(json.dumps(size | json.loads(line)))
        video = {"id": _VIDEO, "name": self._options.name, **size}
        self._file.write(f'\n],\n"videos": {json.dumps([video])},\n"categories": ')
        self._file.write(json.dumps(categories(jointed=self._jointed)) + "}\n")

    def close(self) -> None:
        """Close the files."""
        self._images.close()
        self._file.close()
