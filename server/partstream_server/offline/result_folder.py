"""Results of one source on disk: what `partstream parse` leaves in a folder.

overlay.mp4 (overlay.png of a still image)   the source with its people drawn on it
results.ndjson                               a line for each parsed frame
cutout.webm, .mov or cutout/NNNNNN.png       people alone on a transparent ground
mots.txt                                     people as text in the format of MOTS
parts/NNNNNN.png                             a part map for each parsed frame, by its index
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from PIL import Image as PillowImage

from partstream_core import rle
from partstream_core.labels import PALETTE
from partstream_core.results import FrameResult, VideoInfo
from partstream_core.results_io import mots_lines, ndjson_line
from partstream_server.media.cutout_writer import MOV, WEBM, CutoutWriter
from partstream_server.media.video_spec import VideoSpec
from partstream_server.media.video_writer import VideoWriter
from partstream_server.offline.frame_pipeline import ParsedPicture
from partstream_server.offline.rendering import Renderer, RenderOptions, alpha_of
from partstream_server.pipeline.values import LabelMaps, MapArray

_FAST = 1
"""Deflate level of label maps and overlays: speed matters more than the last per cent."""
_OURS = ("overlay.mp4", "overlay.png", "cutout.webm", "cutout.mov", "results.ndjson", "mots.txt")
_MAP_PATTERN = "[0-9]" * 6 + ".png"


class CutoutForm(StrEnum):
    """How people alone are written."""

    NONE = "none"
    WEBM = "webm"
    MOV = "mov"
    PNG = "png"


_VIDEOS: Final = {CutoutForm.WEBM: WEBM, CutoutForm.MOV: MOV}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files written beside the results."""

    overlay: bool = True
    part_maps: bool = True
    render: RenderOptions = field(default_factory=RenderOptions)
    """What the overlay shows."""
    backdrop: MapArray | None = None
    """RGB picture behind people, for an overlay that shows another background."""
    cutout: CutoutForm = CutoutForm.NONE
    """People alone, beside it; of a still image always PNG."""

    @property
    def pictures(self) -> bool:
        """Whether every frame's pixels are needed."""
        return self.overlay or self.cutout is not CutoutForm.NONE


class ResultFolder:
    """Writes results as they come; use as a context manager, or call `close`."""

    def __init__(
        self,
        directory: Path,
        video: VideoInfo,
        wanted: Wanted,
        *,
        pixel_aspect: float = 1.0,
        sound: Path | None = None,
    ) -> None:
        """Make the folder and remove what an earlier run left in it, and nothing else.

        Args:
            directory: Where the files go.
            video: The source.
            wanted: Which files.
            pixel_aspect: Width of a pixel against its height.
            sound: The source's file, whose sound the overlay takes over.
        """
        self._directory, self._wanted = directory, wanted
        self._spec = VideoSpec.of(video, pixel_aspect=pixel_aspect, sound=sound)
        self._parts = directory / "parts"
        directory.mkdir(parents=True, exist_ok=True)
        _remove_earlier(directory)
        self._files = ExitStack()
        self._lines = self._files.enter_context((directory / "results.ndjson").open("w", encoding="utf-8"))
        self._mots = self._files.enter_context((directory / "mots.txt").open("w", encoding="utf-8"))
        self._show = self._overlay(video) if wanted.overlay else None
        self._cut = None if wanted.cutout is CutoutForm.NONE else self._cutout(video)
        if wanted.part_maps:
            self._parts.mkdir(exist_ok=True)
        self._last: ParsedPicture | None = None
        self._renderer = Renderer(wanted.render, wanted.backdrop, pixel_aspect=pixel_aspect)

    def write(self, picture: ParsedPicture) -> None:
        """Append a picture; one that was passed over shows the people of the last that was not."""
        if picture.result is not None and picture.maps is not None:
            self._last = picture
            self._lines.write(ndjson_line(picture.result))
            self._mots.writelines(mots_lines(with_run_lengths(picture.result, picture.maps)))
            if self._wanted.part_maps:
                path = self._parts / f"{picture.result.index:06d}.png"
                path.write_bytes(part_png(picture.maps.part_HW))
        if self._show is not None:
            self._show(picture)
        if self._cut is not None:
            self._cut(picture)

    def _overlay(self, video: VideoInfo) -> Callable[[ParsedPicture], None]:
        """Writer of an overlay: appends a picture to the video, or writes an image."""
        if video.frame_rate == 0:
            return lambda picture: _write_png(self._directory / "overlay.png", self._drawn(picture))
        writer = self._files.enter_context(VideoWriter(self._directory / "overlay.mp4", self._spec))
        return lambda picture: writer.write(
            self._drawn(picture), time_s=picture.frame.time_s, duration_s=picture.frame.duration_s
        )

    def _cutout(self, video: VideoInfo) -> Callable[[ParsedPicture], None]:
        """What writes the people of a picture alone."""
        if video.frame_rate == 0 or self._wanted.cutout not in _VIDEOS:
            folder = self._directory / "cutout"
            folder.mkdir(exist_ok=True)
            return lambda picture: _write_png(
                folder / f"{picture.frame.index:06d}.png",
                np.dstack([picture.frame.image, self._alpha(picture)]),
            )
        form = _VIDEOS[self._wanted.cutout]
        path = self._directory / f"cutout.{form.container}"
        writer = self._files.enter_context(CutoutWriter(path, self._spec, form))
        return lambda picture: writer.write(
            picture.frame.image,
            self._alpha(picture),
            time_s=picture.frame.time_s,
            duration_s=picture.frame.duration_s,
        )

    def _alpha(self, picture: ParsedPicture) -> MapArray:
        if self._last is None or self._last.maps is None:
            return np.zeros(picture.frame.image.shape[:2], np.uint8)
        return alpha_of(self._last.maps)

    def _drawn(self, picture: ParsedPicture) -> MapArray:
        last = self._last
        result, maps = (None, None) if last is None else (last.result, last.maps)
        return self._renderer.render(picture.frame.image, result, maps, time_s=picture.frame.time_s)

    def close(self) -> None:
        """Finish every file."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def with_run_lengths(result: FrameResult, maps: LabelMaps) -> FrameResult:
    """The frame with the masks of its people as run lengths, whatever form was asked for."""
    if all(isinstance(person.mask, rle.Rle) for person in result.people):
        return result
    masks = rle.encode_label_map(maps.person_HW, range(1, len(result.people) + 1))
    people = (replace(person, mask=masks[number]) for number, person in enumerate(result.people, start=1))
    return replace(result, people=tuple(people))


def part_png(part_HW: MapArray) -> bytes:
    """A part map as a PNG whose pixels are indices of parts, shown in the palette's colours."""
    picture = PillowImage.fromarray(np.ascontiguousarray(part_HW), "P")
    picture.putpalette(PALETTE.tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=_FAST)
    return file.getvalue()


def identity_png(result: FrameResult, maps: LabelMaps) -> bytes:
    """A 16-bit PNG whose pixels are identities, 0 where nobody is."""
    table = np.zeros(len(result.people) + 1, np.uint16)
    table[1:] = [person.identity for person in result.people]
    file = io.BytesIO()
    picture = PillowImage.fromarray(np.ascontiguousarray(table[maps.person_HW]))
    picture.save(file, "PNG", compress_level=_FAST)
    return file.getvalue()


def _write_png(path: Path, image: MapArray) -> None:
    PillowImage.fromarray(image).save(path, "PNG", compress_level=_FAST)


def _remove_earlier(directory: Path) -> None:
    for name in _OURS:
        (directory / name).unlink(missing_ok=True)
    for folder in ("parts", "cutout"):
        for path in (directory / folder).glob(_MAP_PATTERN):
            path.unlink()
