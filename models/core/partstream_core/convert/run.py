"""Writing results in a format, frame by frame."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from partstream_core.convert.coco import CocoWriter
from partstream_core.convert.cvat import CvatWriter
from partstream_core.convert.label_studio import LabelStudioWriter
from partstream_core.convert.output import new_file, new_folder
from partstream_core.convert.table import CsvWriter, ParquetWriter
from partstream_core.convert.values import Image, Options, Writer
from partstream_core.convert.yolo import YoloWriter
from partstream_core.results import FrameResult

Pictures: TypeAlias = Callable[[int], Image]
"""The RGB picture, uint8 [H, W, 3], of the frame of that index; asked for with growing indices."""


class FormatError(ValueError):
    """There is no such format, or it has no use for what was given."""


class Target(StrEnum):
    """A format to write."""

    CSV = "csv"
    PARQUET = "parquet"
    COCO = "coco"
    CVAT = "cvat"
    YOLO_SEG = "yolo-seg"
    LABEL_STUDIO = "label-studio"


_FILE_WRITERS: Final[Mapping[Target, Callable[[Path, Options, bool], Writer]]] = {
    Target.CSV: lambda path, _, colours: CsvWriter(path, colours=colours),
    Target.PARQUET: lambda path, _, colours: ParquetWriter(path, colours=colours),
    Target.COCO: lambda path, options, _: CocoWriter(path, options),
    Target.CVAT: lambda path, options, _: CvatWriter(path, options),
    Target.LABEL_STUDIO: lambda path, options, _: LabelStudioWriter(path, options),
}
_WITHOUT_PICTURES: Final = frozenset({Target.LABEL_STUDIO})


def convert(
    frames: Iterable[FrameResult],
    to: Target | str,
    out: Path,
    *,
    options: Options | None = None,
    pictures: Pictures | None = None,
) -> int:
    """Write frames in a format, and return how many there were.

    What is written appears at `out` when it is complete; where something fails, nothing does. No format holds
    more than a few frames in memory.

    Args:
        frames: With masks; those of one video, in its order.
        to: The format.
        out: A file; for yolo-seg a new folder, or a zip archive where it ends in .zip.
        options: Names of the video and of images.
        pictures: For the mean colours of csv and parquet, for the images of yolo-seg, and for the size of
            frames without people in coco and cvat.

    Raises:
        FormatError: There is no such format, or it has no use for pictures.
        MissingExtraError: The format needs something that is not installed.
        NoMaskError: The results hold no masks.
        ValueError: There is no frame, a frame is damaged, or `out` is taken by something else.
        OSError: `out` cannot be written.
    """
    try:
        target = Target(to)
    except ValueError:
        raise FormatError(f"there is no format {to!r}; there are {', '.join(Target)}") from None
    if pictures is not None and target in _WITHOUT_PICTURES:
        raise FormatError(f"{target} has no use for the video's pictures")
    num_frames = 0
    with _writer(target, out, options or Options(), colours=pictures is not None) as writer:
        for frame in frames:
            writer.add(frame, pictures(frame.index) if pictures is not None else None)
            num_frames += 1
        if not num_frames:
            raise ValueError("the results hold no frame")
    return num_frames


@contextmanager
def _writer(target: Target, out: Path, options: Options, *, colours: bool) -> Iterator[Writer]:
    """The writer of a format, finished when the block ends without an error."""
    with ExitStack() as open_ones:
        if target is Target.YOLO_SEG:
            writer: Writer = YoloWriter(open_ones.enter_context(new_folder(out)))
        else:
            draft = open_ones.enter_context(new_file(out))
            writer = _FILE_WRITERS[target](draft, options, colours)
        with closing(writer):
            yield writer
            writer.finish()
