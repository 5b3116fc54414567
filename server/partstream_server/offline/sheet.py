"""A contact sheet: frames of a video with what was found in them, and each person's best picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image as PillowImage

from partstream_core.results import FrameResult, PersonResult
from partstream_server.engine import Engine
from partstream_server.media import MediaLimits
from partstream_server.offline.overlay import Image
from partstream_server.offline.parser import MediaParser
from partstream_server.offline.rendering import Renderer, RenderOptions, alpha_of
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.pipeline.values import LabelMaps

_GAP: Final = 8
_GROUND: Final = 245
_TEXT: Final = (60, 60, 60)
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_CROP_MARGIN: Final = 0.08
"""Of a person's box, around its crop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetOptions:
    """How a sheet looks."""

    num_frames: int = 12
    columns: int = 4
    width: int = 1600
    """Of the sheet, in pixels."""


@dataclass(slots=True)
class _Best:
    """The best picture of a person so far."""

    area: int
    crop: Image
    """RGBA."""


class ContactSheet:
    """Parses a source and keeps what its sheet shows."""

    def __init__(self, options: SheetOptions) -> None:
        self._options = options
        self._pictures: list[tuple[float, Image]] = []
        self._people: dict[int, _Best] = {}
        self._pixel_aspect = 1.0

    def read(
        self,
        source: Path,
        engine: Engine,
        options: ParseOptions,
        rendering: RenderOptions,
        limits: MediaLimits | None = None,
    ) -> None:
        """Parse a source, and keep frames of it at equal distances and each person's best picture.

        Raises:
            MediaError: The source cannot be read; the subclass says why.
            OptionError: The bundle cannot follow the schedule.
        """
        with MediaParser(source, engine, options, limits=limits) as parser:
            info, self._pixel_aspect = parser.video, parser.pixel_aspect
            expected = max(1, round(info.duration_s * info.frame_rate))
            if options.max_frames is not None:
                expected = min(expected, options.max_frames)
            step = max(1, expected // self._options.num_frames)
            renderer = Renderer(rendering, pixel_aspect=parser.pixel_aspect)
            for number, picture in enumerate(parser):
                if picture.result is None or picture.maps is None:
                    continue
                frame = picture.frame
                self._keep_people(frame.image, picture.result, picture.maps)
                if number * options.every % step < options.every and len(self._pictures) < (
                    self._options.num_frames
                ):
                    drawn = renderer.render(frame.image, picture.result, picture.maps, time_s=frame.time_s)
                    self._pictures.append((frame.time_s, self._shrunk(drawn)))

    def _shrunk(self, image: Image) -> Image:
        width = (self._options.width - _GAP) // self._options.columns - _GAP
        height = max(1, round(image.shape[0] * width / (image.shape[1] * self._pixel_aspect)))
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _keep_people(self, image: Image, result: FrameResult, maps: LabelMaps) -> None:
        for number, person in enumerate(result.people, start=1):
            area = int(np.count_nonzero(maps.person_HW == number))
            best = self._people.get(person.identity)
            if best is None or area > best.area:
                self._people[person.identity] = _Best(
                    area, _squared(_crop(image, person, number, maps), self._pixel_aspect)
                )

    def draw(self) -> Image:
        """The sheet, RGB: rows of frames with their times, then everybody on a row of its own."""
        columns, width = self._options.columns, self._options.width
        rows = [
            self._row([(image, f"{time_s:.1f} s") for time_s, image in self._pictures[at : at + columns]])
            for at in range(0, len(self._pictures), columns)
        ]
        height = 160
        people = []
        for identity, best in sorted(self._people.items()):
            crop = _on_ground(best.crop)
            size = (max(1, round(crop.shape[1] * height / crop.shape[0])), height)
            scaled = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
            people.append((np.asarray(scaled, np.uint8), f"{identity}"))
        rows += [self._row(line) for line in _lines(people, width)]
        return np.vstack([np.full((_GAP, width, 3), _GROUND, np.uint8), *rows])

    def _row(self, cells: list[tuple[Image, str]]) -> Image:
        height = max(image.shape[0] for image, _ in cells) + 24
        row = np.full((height + _GAP, self._options.width, 3), _GROUND, np.uint8)
        left = _GAP
        for image, text in cells:
            row[: image.shape[0], left : left + image.shape[1]] = image
            place = (left, image.shape[0] + 16)
            cv2.putText(row, text, place, _FONT, 0.45, _TEXT, 1, cv2.LINE_AA)
            left += image.shape[1] + _GAP
        return row

    def write(self, path: Path, crops: Path | None = None) -> int:
        """Write the sheet as a picture, and each person's best one as PNG with alpha into a folder.

        Returns:
            How many people there are.

        Raises:
            OSError: It cannot be written.
            ValueError: The name has no ending of a picture.
        """
        PillowImage.fromarray(self.draw()).save(path)
        if crops is not None:
            crops.mkdir(parents=True, exist_ok=True)
            for identity, best in self._people.items():
                PillowImage.fromarray(best.crop, "RGBA").save(crops / f"person-{identity}.png")
        return len(self._people)


def _crop(image: Image, person: PersonResult, number: int, maps: LabelMaps) -> Image:
    """A person alone, RGBA."""
    left, top, right, bottom = person.box
    margin = math.ceil(_CROP_MARGIN * max(right - left, bottom - top))
    rows = slice(max(0, int(top) - margin), min(image.shape[0], math.ceil(bottom) + margin))
    columns = slice(max(0, int(left) - margin), min(image.shape[1], math.ceil(right) + margin))
    mine = np.where(maps.person_HW == number, maps.person_HW, 0).astype(np.uint8)
    alpha = alpha_of(LabelMaps(mine, maps.part_HW))
    return np.dstack([image[rows, columns], alpha[rows, columns]])


def _squared(image: Image, pixel_aspect: float) -> Image:
    """An image in square pixels."""
    if pixel_aspect == 1:
        return image
    size = (max(1, round(image.shape[1] * pixel_aspect)), image.shape[0])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _on_ground(crop: Image) -> Image:
    alpha = crop[..., 3:].astype(np.uint16)
    return np.asarray((crop[..., :3] * alpha + _GROUND * (255 - alpha)) // 255, np.uint8)


def _lines(cells: list[tuple[Image, str]], width: int) -> list[list[tuple[Image, str]]]:
    """Cells in lines that are no wider than the sheet."""
    lines: list[list[tuple[Image, str]]] = []
    left = width
    for image, text in cells:
        needed = min(image.shape[1], width - 2 * _GAP) + _GAP
        if left + needed > width:
            lines.append([])
            left = _GAP
        lines[-1].append((image[:, : width - 2 * _GAP], text))
        left += needed
    return lines
