"""Writes the outputs of a job from its stored results: nothing is parsed a second time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from partstream_core.errors import OptionError
from partstream_core.results import FrameResult
from partstream_core.results_io import read_ndjson
from partstream_server.jobs.likely_file import LIKELY, read_likely
from partstream_server.jobs.records import Output
from partstream_server.media import Frame, MediaLimits, VideoReader
from partstream_server.media.cutout_writer import MOV, WEBM, AlphaForm, CutoutWriter
from partstream_server.media.video_spec import VideoSpec
from partstream_server.media.video_writer import VideoWriter
from partstream_server.offline.parser import first_frames, open_for
from partstream_server.offline.rendering import Renderer, RenderOptions, alpha_of, backdrop_of
from partstream_server.offline.result_folder import identity_png, part_png
from partstream_server.offline.stored_maps import maps_of
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.pipeline.values import LabelMaps

RESULTS: Final = Output.NDJSON.file_name
_CUTOUTS: Final = {Output.WEBM: WEBM, Output.MOV: MOV}
_FROM_MASKS: Final = frozenset({Output.MP4, Output.ZIP, *_CUTOUTS})
_Picture: TypeAlias = tuple[Frame, FrameResult | None, LabelMaps | None]


def check_outputs(outputs: tuple[Output, ...], options: ParseOptions) -> None:
    """Refuse outputs that cannot be made of the masks that are asked for.

    Raises:
        OptionError: They are drawn from run lengths, and the masks have another form.
    """
    drawn = sorted(_FROM_MASKS & set(outputs))
    if drawn and options.masks is not MaskForm.RLE:
        raise OptionError(f"outputs {', '.join(drawn)} need masks=rle, not masks={options.masks.value}")


def write_output(
    output: Output,
    folder: Path,
    head: dict[str, Any],
    options: ParseOptions,
    *,
    rendering: RenderOptions,
    limits: MediaLimits,
    before_frame: Callable[[], None],
) -> None:
    """Write one output into a job's folder; a file of that name is there only when it is complete.

    Args:
        output: Which one; NDJSON is there already.
        folder: Of the job, with `source` and the results.
        head: `video` and `model` of the document.
        options: Of the parsing.
        rendering: What the video shows.
        limits: Of the source.
        before_frame: Called before each frame; raises to end the work.

    Raises:
        OSError: It cannot be written.
        MediaError: The source cannot be read any more.
    """
    path = folder / output.file_name
    part = folder / f"unfinished-{output.file_name}"
    if output is Output.JSON:
        _write_document(folder / RESULTS, part, head)
    elif output is Output.ZIP:
        _write_archive(folder / RESULTS, part, head, before_frame)
    elif output is Output.MP4 or output in _CUTOUTS:
        reader, options = open_for(folder / "source", options, limits, with_skipped=True)
        with reader:
            pictures = _pictures(reader, folder, options, before_frame)
            if output is Output.MP4:
                backdrop = backdrop_of(folder / "backdrop", rendering, limits)
                renderer = Renderer(rendering, backdrop, pixel_aspect=reader.pixel_aspect)
                _write_video(folder, part, pictures, reader, renderer)
            else:
                _write_cutout(folder, part, pictures, reader, _CUTOUTS[output])
    if output is not Output.NDJSON:
        part.replace(path)


def _write_document(results: Path, path: Path, head: dict[str, Any]) -> None:
    """The JSON document around the lines of the results."""
    start = json.dumps(head, separators=(",", ":")).removesuffix("}")
    with results.open("rb") as lines, path.open("wb") as file:
        file.write(start.encode() + b',"frames":[')
        for number, line in enumerate(lines):
            file.write((b"," if number else b"") + line.rstrip(b"\n"))
        file.write(b"]}\n")


def _write_archive(results: Path, path: Path, head: dict[str, Any], before_frame: Callable[[], None]) -> None:
    """A zip of each frame's part map and identity map, and of the document."""
    document = path.with_suffix(".json")
    _write_document(results, document, head)
    size = (head["video"]["height"], head["video"]["width"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for result in read_ndjson(results):
            before_frame()
            maps, name = maps_of(result, *size), f"{result.index:06}.png"
            archive.writestr(f"parts/{name}", part_png(maps.part_HW))
            archive.writestr(f"identities/{name}", identity_png(result, maps))
        archive.write(document, "results.json", zipfile.ZIP_DEFLATED)
    document.unlink()


def _write_video(
    folder: Path, path: Path, pictures: Iterator[_Picture], reader: VideoReader, renderer: Renderer
) -> None:
    """The rendered video, every frame of the source."""
    with VideoWriter(path, _spec(reader, folder)) as writer:
        for frame, result, maps in pictures:
            image = renderer.render(frame.image, result, maps, time_s=frame.time_s)
            writer.write(image, time_s=frame.time_s, duration_s=frame.duration_s)


def _write_cutout(
    folder: Path, path: Path, pictures: Iterator[_Picture], reader: VideoReader, form: AlphaForm
) -> None:
    """The people alone on a transparent ground, every frame of the source."""
    with CutoutWriter(path, _spec(reader, folder), form) as writer:
        for frame, _, maps in pictures:
            alpha = np.zeros(frame.image.shape[:2], np.uint8) if maps is None else alpha_of(maps)
            writer.write(frame.image, alpha, time_s=frame.time_s, duration_s=frame.duration_s)


def _spec(reader: VideoReader, folder: Path) -> VideoSpec:
    """The properties of a video with every frame of a job's source."""
    return VideoSpec.of(reader.info, pixel_aspect=reader.pixel_aspect, sound=folder / "source")


def _pictures(
    reader: VideoReader, folder: Path, options: ParseOptions, before_frame: Callable[[], None]
) -> Iterator[_Picture]:
    """Every frame of the source, with the last result up to it and its maps."""
    found, likely = read_ndjson(folder / RESULTS), read_likely(folder / LIKELY)
    upcoming = next(found, None)
    last: FrameResult | None = None
    maps: LabelMaps | None = None
    for frame in first_frames(reader, options.max_frames):
        before_frame()
        if upcoming is not None and upcoming.index == frame.index:
            last, upcoming = upcoming, next(found, None)
            maps = replace(maps_of(last, *frame.image.shape[:2]), likely_hw=next(likely, None))
        yield frame, last, maps
