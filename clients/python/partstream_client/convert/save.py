"""Results as a file in another format: `partstream convert` for frames that a client has."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from partstream_client.draw import Image
from partstream_client.errors import MissingExtraError
from partstream_client.frames import Frame, ParseResult
from partstream_core import convert
from partstream_core.convert import Options, Target
from partstream_core.results import FrameResult


def save(
    source: ParseResult | Iterable[Frame] | Path,
    out: str | Path,
    to: Target | str,
    *,
    name: str = "video",
    image_name: str = "{index:06d}.png",
    pictures: Callable[[int], Image] | None = None,
) -> int:
    """Write results as csv, parquet, coco, cvat, yolo-seg or label-studio, and return the number of frames.

    What is written appears at `out` when it is complete; where something fails, nothing does. Frames are
    taken one by one, so those of `iter_frames` and `stream_video` are written as they arrive.

    Args:
        source: Results with masks, frames of one video in order, or the path of a file of them.
        out: A file; for yolo-seg a new folder, or a zip archive where it ends in .zip.
        to: The format.
        name: Of the video, in formats that name it.
        image_name: Of a frame's image, made from its `index`, in coco and label-studio.
        pictures: The RGB picture, uint8 [H, W, 3], of the frame of an index, asked for with growing indices:
            for the mean colours of csv and parquet, and for the images of yolo-seg.

    Raises:
        MissingExtraError: The format needs something that is not installed.
        NoMaskError: The results came without masks.
        ValueError: There is no such format, no frame, or `out` is taken by something else.
        OSError: `out` cannot be written.
    """
    options = Options(name=name, image_name=image_name)
    try:
        return convert.convert(_records(source), to, Path(out), options=options, pictures=pictures)
    except convert.MissingExtraError as error:
        raise MissingExtraError("parquet") from error


def _records(source: ParseResult | Iterable[Frame] | Path) -> Iterator[FrameResult]:
    if isinstance(source, Path):
        yield from convert.read_results(source)
    else:
        frames = source.frames if isinstance(source, ParseResult) else source
        yield from (frame.record for frame in frames)
