"""Parses the file of one job, in chunks: after each, its results so far are complete on the disk.

A new session, which goes on from a snapshot of the one before, parses each chunk, whether the job was
interrupted or not. So the results of an interrupted job are those of an undisturbed one: every chunk begins
with a key frame, and identities are carried by the snapshot.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from partstream_core.results import VideoInfo
from partstream_core.results_io import ndjson_line
from partstream_core.schedule import FlowSource
from partstream_server.engine import Engine
from partstream_server.jobs.likely_file import likely_line, open_likely
from partstream_server.jobs.records import Checkpoint
from partstream_server.media import Frame, MediaLimits
from partstream_server.offline.frame_pipeline import FramePipeline
from partstream_server.offline.parser import first_frames, open_for, session_config
from partstream_server.offline.selection import Selection
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.pipeline.session import Session

CHUNK_FRAMES: Final = 500
"""Frames of the source in a chunk: what is parsed again at most after an interruption."""
_MAX_SNAPSHOT_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class ParseHooks:
    """What a parse calls on its way."""

    before_frame: Callable[[], None]
    """Before each result; may wait, and raises to end the parse."""
    on_checkpoint: Callable[[Checkpoint], None]
    """After each chunk, when its results are on the disk."""


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """Where results go."""

    results: Path
    """Lines of NDJSON."""
    likely: Path | None = None
    """The likely parts of each result (`likely_file`); None keeps none."""


class InconsistentError(Exception):
    """The results on the disk are shorter than the checkpoint says."""


def parse_in_chunks(
    source: Path,
    files: ResultFiles,
    engine: Engine,
    options: ParseOptions,
    *,
    limits: MediaLimits,
    checkpoint: Checkpoint,
    hooks: ParseHooks,
    chunk_frames: int = CHUNK_FRAMES,
) -> VideoInfo:
    """Parse a file from a checkpoint to its end, and return what is known of it then.

    Args:
        source: A video or an image.
        files: Written to; cut back to the checkpoint first.
        engine: Shared with other parsers.
        options: What is asked for.
        limits: What is accepted.
        checkpoint: Where to begin.
        hooks: Called on the way.
        chunk_frames: Frames of the source in a chunk; the same for all of a job.

    Raises:
        MediaError: The source cannot be read; the subclass says why.
        OptionError: The bundle cannot follow the schedule.
        InconsistentError: The results are shorter than the checkpoint says.
        OSError: The results cannot be written.
    """
    schedule = options.schedule_for(engine)
    motion = schedule.flow is FlowSource.CODEC
    reader, options = open_for(source, options, limits, motion=motion, first=checkpoint.next_index)
    config = session_config(options, schedule)
    selection = Selection(options.wanted_parts, options.wanted_people)
    with (
        reader,
        _opened(files.results, checkpoint.results_bytes) as file,
        _opened_likely(files.likely, checkpoint.num_results) as likely_file,
    ):
        frames = _Chunks(first_frames(reader, options.max_frames), checkpoint.next_index, chunk_frames)
        while frames.has_more():
            began_s = time.monotonic()
            session = Session(engine.bundle.manifest, config, resume=checkpoint.snapshot)
            num_results = 0
            with FramePipeline(frames.chunk(), session, engine, with_pixels=False) as pictures:
                for picture in map(selection.apply, pictures):
                    if picture.result is not None:
                        hooks.before_frame()
                        file.write(ndjson_line(picture.result).encode())
                        if likely_file and picture.maps and picture.maps.likely_hw is not None:
                            likely_file.write(likely_line(picture.maps.likely_hw))
                        num_results += 1
            for one in filter(None, (file, likely_file)):
                one.flush()
                os.fsync(one.fileno())
            checkpoint = Checkpoint(
                frames.next_index if frames.has_more() else reader.info.num_frames,
                checkpoint.num_results + num_results,
                file.tell(),
                session.snapshot(max_bytes=_MAX_SNAPSHOT_BYTES),
                checkpoint.parsing_s + time.monotonic() - began_s,
            )
            hooks.on_checkpoint(checkpoint)
        return reader.info


def _opened(results: Path, length: int) -> BinaryIO:
    """The results file, cut back to a length.

    Raises:
        InconsistentError: It is shorter.
    """
    file = results.open("r+b" if results.exists() else "w+b")
    if file.seek(0, os.SEEK_END) < length:
        file.close()
        raise InconsistentError(f"{results} is shorter than {length} bytes")
    file.truncate(length)
    file.seek(length)
    return file


@contextmanager
def _opened_likely(path: Path | None, num_results: int) -> Iterator[BinaryIO | None]:
    """The file of likely parts, cut back to a number of results; None where none is kept.

    Raises:
        InconsistentError: It is shorter.
    """
    if path is None:
        yield None
        return
    file = open_likely(path, num_results)
    if file is None:
        raise InconsistentError(f"{path} has fewer lines than {num_results}")
    with file:
        yield file


class _Chunks:
    """Frames in chunks that begin at multiples of a length, from one of them on."""

    def __init__(self, frames: Iterator[Frame], next_index: int, length: int) -> None:
        self._frames, self._length = frames, length
        self.next_index = next_index
        """Index at which the next chunk begins, once one was read to its end."""
        self._held: Frame | None = next((frame for frame in frames if frame.index >= next_index), None)

    def has_more(self) -> bool:
        """Whether another chunk holds a frame."""
        return self._held is not None

    def chunk(self) -> Iterator[Frame]:
        """The frames of the next chunk."""
        assert self._held is not None, "there is no further chunk"
        end = (self._held.index // self._length + 1) * self._length
        while self._held is not None and self._held.index < end:
            frame = self._held
            yield frame
            self.next_index = frame.index + 1
            self._held = next(self._frames, None)
        if self._held is not None:
            self.next_index = end


def expected_frames(info: VideoInfo, declared_s: float, options: ParseOptions) -> int | None:
    """Frames of the source, by its length and rate; None where they are not known."""
    if info.frame_rate <= 0 or declared_s <= 0:
        return None
    count = round(min(declared_s, options.end_s or declared_s) * info.frame_rate)
    return count if options.max_frames is None else min(count, options.max_frames)


def model_document(engine: Engine) -> dict[str, Any]:
    """The bundle and the provider as results name them."""
    manifest = engine.bundle.manifest
    return {
        "bundle": manifest.name,
        "version": manifest.version,
        "provider": engine.provider,
        "parts": list(manifest.capabilities.parts),
    }
