"""CVAT 1.1 for video: an XML of tracks, one of each person and one of each of their parts.

Shapes are polygons, not masks: CVAT turns a track of masks into the mask of its first frame when it imports
one, and identities would be lost. A mask of several pieces or with holes is one path through all of them
(`outlines.single_path`). Parts and their person share a `group_id` and the attribute `identity`.

Every frame of the results is a key frame of its tracks. A track that pauses has a shape `outside` at the next
frame of the results; frames that were not parsed get CVAT's interpolation.

The format goes track by track and results come frame by frame: shapes wait in a temporary database.

Source: docs.cvat.ai/docs/manual/advanced/xml_format; cvat/apps/dataset_manager/formats/cvat.py.
"""

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from partstream_core.convert.coco import size_of
from partstream_core.convert.values import PERSON, Image, Options, category_of, parts_of
from partstream_core.labels import PARTS
from partstream_core.outlines import single_path
from partstream_core.regions import Region, region_of
from partstream_core.results import FrameResult

_LABELS = (PERSON, *PARTS[1:])


class Track(NamedTuple):
    """A person, or one of their parts."""

    identity: int
    label: int
    """Place in the labels: 0 is the person."""


class CvatWriter:
    """Writes annotations.xml."""

    def __init__(self, path: Path, options: Options) -> None:
        self._options = options
        self._file = path.open("w", encoding="utf-8")
        self._shapes = sqlite3.connect("")  # a temporary file of SQLite's, gone when it is closed
        self._shapes.execute("CREATE TABLE shape (identity, label, frame, outside, points)")
        self._shown: dict[Track, str] = {}
        self._size: tuple[int, int] | None = None
        self._last = 0

    def add(self, frame: FrameResult, image: Image | None) -> None:
        """Keep the shapes of a frame."""
        self._size = self._size or size_of(frame, image)
        self._last = max(self._last, frame.index)
        shown = dict(_polygons(frame))
        gone = {track: points for track, points in self._shown.items() if track not in shown}
        for outside, shapes in ((0, shown), (1, gone)):
            rows = [(*track, frame.index, outside, points) for track, points in shapes.items()]
            self._shapes.executemany("INSERT INTO shape VALUES (?, ?, ?, ?, ?)", rows)
        self._shown = shown

    def finish(self) -> None:
        """Write everything, track by track.

        Raises:
            ValueError: Nobody is in any frame, so nothing says how large they are.
        """
        if self._size is None:
            raise ValueError("nobody is in any frame, and nothing else tells their size; name the video")
        self._file.write(_head(self._options.name, self._last + 1, self._size))
        found = self._shapes.execute("SELECT * FROM shape ORDER BY identity, label, frame")
        for number, (key, shapes) in enumerate(groupby(found, key=itemgetter(0, 1))):
            track = Track(*key)
            label = f'label="{_LABELS[track.label]}" source="auto" group_id="{track.identity}"'
            self._file.write(f'  <track id="{number}" {label}>\n')
            for _, _, frame, outside, points in shapes:
                self._file.write(_polygon(track, frame, outside, points))
            self._file.write("  </track>\n")
        self._file.write("</annotations>\n")

    def close(self) -> None:
        """Close the file and the database."""
        self._shapes.close()
        self._file.close()


def _polygons(frame: FrameResult) -> Iterator[tuple[Track, str]]:
    for person in frame.people:
        whole = region_of(person.mask)
        if whole is not None:
            yield Track(person.identity, 0), _points(whole)
        for part, region in parts_of(person):
            yield Track(person.identity, category_of(part.part)), _points(region)


def _points(region: Region) -> str:
    return ";".join(f"{x},{y}" for x, y in single_path(region.outlines()).tolist())


def _polygon(track: Track, frame: int, outside: int, points: str) -> str:
    z_order = 1 if track.label else 0
    state = f'frame="{frame}" keyframe="1" outside="{outside}" occluded="0" z_order="{z_order}"'
    attribute = f'<attribute name="identity">{track.identity}</attribute>'
    return f'    <polygon {state} points="{points}">{attribute}</polygon>\n'


def _head(name: str, num_frames: int, size: tuple[int, int]) -> str:
    attribute = (
        "<attributes><attribute><name>identity</name><mutable>False</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute></attributes>"
    )
    labels = "".join(
        f"        <label><name>{label}</name><type>polygon</type>{attribute}</label>\n" for label in _LABELS
    )
    return f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <name>{escape(name)}</name>
      <size>{num_frames}</size>
      <mode>interpolation</mode>
      <start_frame>0</start_frame>
      <stop_frame>{num_frames - 1}</stop_frame>
      <labels>
{labels}      </labels>
      <original_size><width>{size[1]}</width><height>{size[0]}</height></original_size>
    </task>
  </meta>
"""
