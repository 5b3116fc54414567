"""Parses several sources with one engine, as `partstream parse` does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from partstream_core.errors import EngineError, PartstreamError
from partstream_core.results import VideoInfo
from partstream_server.engine import Engine
from partstream_server.media.still import images_in
from partstream_server.offline.parser import MediaParser
from partstream_server.offline.result_folder import ResultFolder, Wanted
from partstream_server.pipeline.parse_options import ParseOptions


@dataclass(frozen=True, slots=True)
class Source:
    """An input and the name of its folder of results."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Done:
    """One source that was parsed."""

    num_frames: int
    num_identities: int
    seconds: float
    num_damaged: int


def name_sources(inputs: Sequence[Path], *, independent: bool) -> list[Source]:
    """Inputs with names that differ: the stem, or with a number where it is taken.

    Args:
        inputs: Files and folders.
        independent: Take each image of a folder as an input of its own.
    """
    paths: list[Path] = []
    for path in inputs:
        paths.extend(images_in(path) if independent and path.is_dir() else [path])
    taken: set[str] = set()
    sources = []
    for path in paths:
        stem = path.resolve().name if path.is_dir() else path.stem
        name, number = stem, 2
        while name.casefold() in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.casefold())
        sources.append(Source(path, name))
    return sources


class OutputError(Exception):
    """Results cannot be written; the message is for the user."""


class Batch:
    """Parses sources one after the other; a bad one is reported and the others go on."""

    def __init__(self, engine: Engine, options: ParseOptions, wanted: Wanted, *, console: Console) -> None:
        self._engine, self._options, self._wanted, self._console = engine, options, wanted, console

    def run(self, sources: Sequence[Source], directory: Path) -> int:
        """Parse everything into folders of a directory, and return how many sources failed.

        Raises:
            EngineError: A graph failed.
        """
        num_failed = 0
        with _progress(self._console) as progress:
            everything = progress.add_task("all", total=len(sources), visible=len(sources) > 1)
            for source in sources:
                try:
                    done = self._parse(source, directory / source.name, progress)
                except EngineError:
                    raise
                except Exception as error:  # of one input, whatever it is; the others go on
                    num_failed += 1
                    self._say(f"error: {source.path}: {_reason(error)}")
                else:
                    self._say(f"{source.path}: {_summary(done)} -> {directory / source.name}")
                progress.advance(everything)
        if num_failed and len(sources) > 1:
            self._say(f"{num_failed} of {len(sources)} inputs could not be parsed")
        return num_failed

    def _parse(self, source: Source, directory: Path, progress: Progress) -> Done:
        start_s = time.perf_counter()
        identities: set[int] = set()
        num_frames = 0
        with MediaParser(
            source.path,
            self._engine,
            self._options,
            with_skipped=self._wanted.pictures,
            with_pixels=self._wanted.pictures,
        ) as parser:
            bar = progress.add_task(source.name, total=_expected_frames(parser.video, self._options))
            try:
                with (
                    _written_to(directory),
                    ResultFolder(
                        directory,
                        parser.video,
                        self._wanted,
                        pixel_aspect=parser.pixel_aspect,
                        sound=_file(source),
                    ) as folder,
                ):
                    for picture in parser:
                        folder.write(picture)
                        num_frames += 1
                        progress.advance(bar)
                        if picture.result is not None:
                            identities.update(person.identity for person in picture.result.people)
            finally:
                progress.remove_task(bar)
            num_damaged = parser.video.num_damaged
        return Done(num_frames, len(identities), time.perf_counter() - start_s, num_damaged)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _file(source: Source) -> Path | None:
    return source.path if source.path.is_file() else None


def _reason(error: Exception) -> str:
    """Why an input failed, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    words = " ".join(str(error).split())
    return (
        words
        if isinstance(error, PartstreamError | OSError | OutputError)
        else f"{type(error).__name__}: {words}"
    )


@contextmanager
def _written_to(directory: Path) -> Iterator[None]:
    """Name the folder of results where writing into it fails.

    Raises:
        OutputError: It does.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write to {error.filename or directory}: {_reason(error)}") from None


def _summary(done: Done) -> str:
    rate = done.num_frames / max(done.seconds, 1e-9)
    damaged = f", {done.num_damaged} damaged" if done.num_damaged else ""
    frames = "frame" if done.num_frames == 1 else "frames"
    people = "person" if done.num_identities == 1 else "people"
    return f"{done.num_frames} {frames}{damaged}, {done.num_identities} {people}, {rate:.1f} frames a second"


def _expected_frames(video: VideoInfo, options: ParseOptions) -> int | None:
    """How many frames will probably come."""
    length_s = min(video.duration_s, options.end_s or video.duration_s) - options.start_s
    expected = max(0, round(length_s * video.frame_rate)) or None
    if video.frame_rate == 0:
        expected = 1
    if options.max_frames is not None:
        expected = min(expected, options.max_frames) if expected else options.max_frames
    return expected


class _Rate(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        """The speed of a task."""
        return Text(f"{task.speed:.1f} frames a second" if task.speed and task.description != "all" else "")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), console=console
    )
