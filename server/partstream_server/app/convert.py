"""`partstream convert`: results in the formats of tables and annotation tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partstream_core.convert import MissingExtraError, Options, Target, convert, read_results
from partstream_core.errors import PartstreamError

if TYPE_CHECKING:
    from partstream_core.convert.values import Image
    from partstream_server.media.frame import Frame

EXIT_BAD_INPUT = 2


def convert_command(
    results: Annotated[Path, typer.Argument(help="results.ndjson, or a JSON document of results.")],
    to: Annotated[Target, typer.Option(help="The format to write.")],
    out: Annotated[
        Path, typer.Option(help="The file to write; for yolo-seg a new folder, or a .zip.", metavar="PATH")
    ],
    video: Annotated[
        Path | None,
        typer.Option(help="The video of the results: adds mean colours to tables, images to yolo-seg."),
    ] = None,
    image_name: Annotated[
        str, typer.Option(help="Name or address of a frame's image, in coco and label-studio.")
    ] = "{index:06d}.png",
) -> None:
    """Write results as a table, or for an annotation tool."""
    try:
        if out.exists() and out.samefile(results):
            raise ValueError(f"{out} is the file of results itself")
        options = Options(name=_name(video or results), image_name=image_name)
        with ExitStack() as resources:
            pictures = _pictures(video, resources) if video is not None else None
            num_frames = convert(read_results(results), to, out, options=options, pictures=pictures)
    except (MissingExtraError, PartstreamError, ValueError, OSError) as error:
        typer.echo(f"error: {_reason(error)}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None
    typer.echo(f"{num_frames} {'frame' if num_frames == 1 else 'frames'} -> {out}", err=True)


def _name(path: Path) -> str:
    """What the video is called: `partstream parse` writes CLIP/results.ndjson."""
    return path.absolute().parent.name if path.stem == "results" else path.stem


def _pictures(video: Path, resources: ExitStack) -> Callable[[int], Image]:
    """What finds the picture of a frame's index, reading the video once.

    Raises:
        PartstreamError: The video cannot be read.
    """
    from partstream_server.media import open_video  # noqa: PLC0415  (decoders take a second to load)

    reader = resources.enter_context(open_video(video))
    return FrameFinder(iter(reader), video).picture


class FrameFinder:
    """Finds frames by growing indices in a video that is read once."""

    def __init__(self, frames: Iterator[Frame], video: Path) -> None:
        self._frames, self._video = frames, video
        self._frame: Frame | None = None

    def picture(self, index: int) -> Image:
        """The RGB picture of the frame.

        Raises:
            ValueError: The video has no such frame, or it was passed already.
        """
        while self._frame is None or self._frame.index < index:
            self._frame = next(self._frames, None)
            if self._frame is None:
                raise ValueError(f"{self._video} has no frame {index}: it is not the video of these results")
        if self._frame.index > index:
            raise ValueError(f"the results are not in the order of the video: frame {index} comes late")
        return self._frame.image


def _reason(error: Exception) -> str:
    """What is wrong, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'cannot write'}: {error.strerror.lower()}"
    return " ".join(str(error).split())
