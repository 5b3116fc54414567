"""Labelling pictures of folders and clips with all teachers (`data.labelled` reads the result).

Shape suffixes: H height, W width, C colour channels (RGB).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from partstream_models.data.labelled import FORMAT, NUM_PLANES
from partstream_models.data.pictures import CLIPS, PICTURES
from partstream_models.hints import HintMaker
from partstream_models.teachers.people import PeopleFinder
from partstream_models.teachers.pseudo_labels import PseudoLabels, agree, largest_person

UInt8Array = npt.NDArray[np.uint8]

LONGER_SIDE = 576
"""Larger pictures are shrunk to this."""
_FRAMES_OF_CLIP = 24
_STILL = 2.0
"""Mean difference of pixel values below which a frame shows nothing new."""


class Teachers:
    """All teachers; answers are kept by the content of pictures.

    Args:
        weights: Folder of their weights.
        answers_dir: Where answers are kept.

    Raises:
        ValueError: A file is missing or damaged.
    """

    def __init__(self, weights: Path, answers_dir: Path) -> None:
        self._find, self._hint = PeopleFinder(weights), HintMaker(weights)
        self._answers_dir = answers_dir
        answers_dir.mkdir(parents=True, exist_ok=True)

    def __call__(self, image_HWC: UInt8Array) -> PseudoLabels:
        """Labels of an RGB picture."""
        digest = hashlib.sha256(repr(image_HWC.shape).encode() + image_HWC.tobytes()).hexdigest()[:24]
        path = self._answers_dir / f"{digest}.npz"
        if path.is_file():
            with np.load(path) as file:
                return PseudoLabels(file["parts"], file["people"], file["teacher"], file["joints"])
        size = (image_HWC.shape[0], image_HWC.shape[1])
        hints = self._hint(image_HWC)
        found = self._find(image_HWC)
        if not found:
            alone = self._find.in_region(image_HWC, largest_person(hints, size))
            found = () if alone is None else (alone,)
        labels = agree(found, hints, size)
        draft = path.with_suffix(".part")
        with draft.open("wb") as opened:
            np.savez_compressed(
                opened,
                parts=labels.parts_HW,
                people=labels.people_HW,
                teacher=labels.teacher_HW,
                joints=labels.joints_NJ3,
            )
        draft.replace(path)
        return labels


def build(cache_dir: Path, pictures: Iterable[tuple[str, UInt8Array]], teachers: Teachers) -> int:
    """Label pictures (name and RGB pixels) and write them; return how many.

    Raises:
        ValueError: There are none.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    (cache_dir / "index.json").unlink(missing_ok=True)  # a build that is cut short must not look finished
    rows: list[dict[str, object]] = []
    start = 0
    with (cache_dir / "pictures.bin").open("wb") as file:
        for name, image in pictures:
            labels = teachers(image)
            for plane in (image, labels.parts_HW, labels.people_HW, labels.teacher_HW):
                file.write(np.ascontiguousarray(plane).tobytes())
            height, width = image.shape[:2]
            joints = labels.joints_NJ3.round(2).ravel().tolist()
            rows.append({"name": name, "height": height, "width": width, "start": start, "joints": joints})
            start += NUM_PLANES * height * width
    if not rows:
        raise ValueError("no picture to label")
    draft = cache_dir / "index.json.part"
    draft.write_text(json.dumps({"format": FORMAT, "pictures": rows}))
    draft.replace(cache_dir / "index.json")
    return len(rows)


def read_pictures(folders: Iterable[Path]) -> Iterator[tuple[str, UInt8Array]]:
    """Pictures of folders, and frames of their clips that show something new, shrunk.

    Files that cannot be read are left out.
    """
    for folder in folders:
        for path in sorted(each for each in folder.rglob("*") if each.suffix.lower() in PICTURES | CLIPS):
            name = str(path.relative_to(folder.parent))
            if path.suffix.lower() in CLIPS:
                for number, frame in _frames(path):
                    yield f"{name}#{number}", frame
                continue
            try:
                with Image.open(path) as picture:
                    yield name, _shrunk(np.array(picture.convert("RGB"), np.uint8))
            except (OSError, ValueError):
                continue


def _frames(path: Path) -> Iterator[tuple[int, UInt8Array]]:
    capture = cv2.VideoCapture(str(path))
    step = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // _FRAMES_OF_CLIP, 10)
    number, last = 0, None
    while capture.grab():
        if number % step == 0:
            there, image = capture.retrieve()
            if there:
                frame = _shrunk(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))
                if last is None or float(cv2.absdiff(frame, last).mean()) > _STILL:
                    last = frame
                    yield number, frame
        number += 1
    capture.release()


def _shrunk(image_HWC: UInt8Array) -> UInt8Array:
    scale = min(1.0, LONGER_SIDE / max(image_HWC.shape[:2]))
    if scale == 1.0:
        return np.ascontiguousarray(image_HWC)
    small = cv2.resize(image_HWC, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small, np.uint8)
