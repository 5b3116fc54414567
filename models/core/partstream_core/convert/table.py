"""One row for each person and part of a frame, as CSV or Parquet."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from partstream_core.convert.arrow import import_arrow
from partstream_core.convert.values import Image, parts_of
from partstream_core.results import FrameResult

COLUMNS: Final[dict[str, type]] = {
    "frame": int,
    "time_s": float,
    "identity": int,
    "person_score": float,
    "part": str,
    "part_score": float,
    "area_px": int,
    "centroid_x": float,
    "centroid_y": float,
    "x0": int,
    "y0": int,
    "x1": int,
    "y1": int,
}
"""Names and types. Places are pixels from the frame's corner; boxes go up to, not including, x1 and y1."""
COLOURS: Final[dict[str, type]] = {"mean_red": float, "mean_green": float, "mean_blue": float}
"""Means of the part's pixels, 0 to 255; only where the caller has pictures."""
_PLACE_DIGITS = 2
_TIME_DIGITS = 6
_ROWS_AT_ONCE = 65_536

Row = tuple[int | float | str, ...]


def rows_of(frame: FrameResult, image: Image | None) -> Iterator[Row]:
    """The frame's rows in the order of `COLUMNS`, with `COLOURS` where there is a picture.

    Raises:
        NoMaskError: The results hold no masks.
        ValueError: A mask is damaged, or the picture has another size than the masks.
    """
    for person in frame.people:
        for part, region in parts_of(person):
            x, y = (round(place, _PLACE_DIGITS) for place in region.centroid)
            found = (frame.index, round(frame.time_s, _TIME_DIGITS), person.identity, person.score)
            row: Row = (*found, part.part, part.score, region.area, x, y, *region.box)
            if image is not None:
                row += tuple(round(mean, _PLACE_DIGITS) for mean in region.mean_colour(image))
            yield row


class CsvWriter:
    """RFC 4180 with a header."""

    def __init__(self, path: Path, *, colours: bool) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._table = csv.writer(self._file)
        self._table.writerow([*COLUMNS, *(COLOURS if colours else ())])

    def add(self, frame: FrameResult, image: Image | None) -> None:
        """Write the rows of a frame."""
        self._table.writerows(rows_of(frame, image))

    def finish(self) -> None:
        """Nothing is left to write."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetWriter:
    """Parquet with a row group for every 65536 rows.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, path: Path, *, colours: bool) -> None:
        pyarrow, parquet = import_arrow()
        types = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
        columns = COLUMNS | (COLOURS if colours else {})
        self._schema: Any = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
        self._batch: Any = pyarrow.RecordBatch
        self._writer: Any = parquet.ParquetWriter(path, self._schema)
        self._rows: list[Row] = []

    def add(self, frame: FrameResult, image: Image | None) -> None:
        """Keep the rows of a frame until there are enough to write."""
        self._rows += rows_of(frame, image)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def finish(self) -> None:
        """Write the rows that wait."""
        self._flush()

    def close(self) -> None:
        """Write the footer and close the file."""
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            columns = list(zip(*self._rows, strict=True))
            self._writer.write_batch(self._batch.from_arrays(self._arrays(columns), schema=self._schema))
            self._rows = []

    def _arrays(self, columns: list[tuple[int | float | str, ...]]) -> list[Any]:
        pyarrow, _ = import_arrow()
        types = self._schema.types
        return [pyarrow.array(column, kind) for column, kind in zip(columns, types, strict=True)]
