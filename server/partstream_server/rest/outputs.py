"""Output formats of results, written frame by frame so that no video is held in memory.

A writer is a generator whose every step parses and writes one frame. Steps of lines yield a line; the other
forms grow in a file.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from partstream_core.results import VideoInfo, document_to_json
from partstream_core.results_io import ndjson_line
from partstream_server.media.cutout_writer import MOV, WEBM, AlphaForm, CutoutWriter
from partstream_server.media.video_spec import VideoSpec
from partstream_server.media.video_writer import VideoWriter
from partstream_server.offline.rendering import Renderer, alpha_of, options_for
from partstream_server.offline.result_folder import identity_png, part_png
from partstream_server.service.file_parse import Job, OpenJob, Parsed

Lines: TypeAlias = Generator[bytes, None, None]
Steps: TypeAlias = Generator[None, None, None]


@dataclass(frozen=True, slots=True)
class FileForm:
    """A form that is a file of its own, complete before it is sent."""

    name: str
    """Of the file, for those who save it."""
    write: Callable[[Job, Path], Steps]
    disposition: str = "inline"
    """Whether a browser shows it, or saves it (attachment)."""


def to_line(document: dict[str, Any]) -> bytes:
    """A document as one line of NDJSON."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def write_lines(job: Job, on_open: Callable[[VideoInfo], None] = lambda _: None) -> Lines:
    """A line for each frame.

    Args:
        job: What to parse.
        on_open: Told about the source, before the first line.
    """
    with job.open() as source:
        on_open(source.video)
        for parsed in source:
            yield ndjson_line(parsed.result).encode()


def write_document(job: Job, path: Path) -> Steps:
    """The JSON document; what stands before its frames is known after the last of them."""
    frames = path.with_suffix(".frames")
    with job.open() as source:
        with frames.open("wb") as file:
            for parsed in source:
                _append(file, parsed)
                yield
        _join(source, frames, path)


def write_overlay(job: Job, path: Path) -> Steps:
    """The video with its people drawn on it; it has every frame of the source, parsed or passed over."""
    job = replace(job, options=options_for(job.options, job.render))
    with (
        job.open(with_skipped=True, with_pixels=True) as source,
        VideoWriter(path, _spec(job, source)) as writer,
    ):
        renderer = Renderer(job.render, job.backdrop, pixel_aspect=source.pixel_aspect)
        for parsed in source:
            with source.clock.stage("draw"):
                time_s = parsed.frame.time_s
                drawn = renderer.render(parsed.frame.image, parsed.result, parsed.maps, time_s=time_s)
            with source.clock.stage("write"):
                writer.write(drawn, time_s=time_s, duration_s=parsed.frame.duration_s)
            yield


def write_archive(job: Job, path: Path) -> Steps:
    """A zip of each frame's part map and identity map, and of the document."""
    frames, document = path.with_suffix(".frames"), path.with_suffix(".json")
    with job.open() as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with frames.open("wb") as file:
            for parsed in source:
                name = f"{parsed.result.index:06}.png"
                with source.clock.stage("write"):
                    archive.writestr(f"parts/{name}", part_png(parsed.maps.part_HW))
                    archive.writestr(f"identities/{name}", identity_png(parsed.result, parsed.maps))
                _append(file, parsed)
                yield
        _join(source, frames, document)
        archive.write(document, "results.json", zipfile.ZIP_DEFLATED)


def write_cutout(job: Job, path: Path, form: AlphaForm = WEBM) -> Steps:
    """The people alone on a transparent ground; every frame of the source, parsed or passed over."""
    with (
        job.open(with_skipped=True, with_pixels=True) as source,
        CutoutWriter(path, _spec(job, source), form) as writer,
    ):
        for parsed in source:
            with source.clock.stage("write"):
                frame = parsed.frame
                writer.write(
                    frame.image,
                    alpha_of(parsed.maps),
                    time_s=frame.time_s,
                    duration_s=frame.duration_s,
                )
            yield


LINES_TYPE: Final = "application/x-ndjson"
FILE_FORMS: Final[dict[str, FileForm]] = {
    "application/json": FileForm("results.json", write_document),
    "video/mp4": FileForm("overlay.mp4", write_overlay),
    "application/zip": FileForm("maps.zip", write_archive, "attachment"),
    "video/webm": FileForm("cutout.webm", write_cutout),
    "video/quicktime": FileForm("cutout.mov", partial(write_cutout, form=MOV), "attachment"),
}
MEDIA_TYPES: Final = (
    *("application/json", LINES_TYPE, "video/mp4", "application/zip"),
    *("video/webm", "video/quicktime"),
)
"""All forms, the usual one first."""


def _spec(job: Job, source: OpenJob) -> VideoSpec:
    """The properties of a video with every frame of the source."""
    return VideoSpec.of(source.video, pixel_aspect=source.pixel_aspect, sound=job.source)


def _append(file: BinaryIO, parsed: Parsed) -> None:
    file.write(b"," if file.tell() else b"")
    file.write(ndjson_line(parsed.result).encode())


def _join(source: OpenJob, frames: Path, path: Path) -> None:
    """Write the document around frames that were written before."""
    head, tail = to_line(document_to_json(source.video, source.model, ())).rstrip().rsplit(b"[]", 1)
    with path.open("wb") as file, frames.open("rb") as middle:
        file.write(head + b"[")
        shutil.copyfileobj(middle, file, 1024 * 1024)
        file.write(b"]" + tail)
    frames.unlink()
