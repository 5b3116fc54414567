"""Turns frames upright, as their display matrix says."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, cast

import av.error
import av.filter
import cv2
import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from partstream_server.media.frame import Image
from partstream_server.media.motion_vectors import BlockMotion
from partstream_server.media.tone_mapping import is_high_range, tone_mapped

_NEWEST_NAMED: Final = max(cast(int, kind.value) for kind in Type)
_UNKNOWN_TYPES: Final = range(_NEWEST_NAMED + 1, _NEWEST_NAMED + 17)
"""Types of side data that FFmpeg may have and PyAV has no name for, such as EXIF."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How a picture is brought upright: its axes exchanged, then mirrored."""

    exchange: bool = False
    mirror_columns: bool = False
    mirror_rows: bool = False

    def apply(self, image: Image) -> Image:
        """The picture upright."""
        turned: cv2.typing.MatLike = cv2.transpose(image) if self.exchange else image
        if self.mirror_columns:
            turned = cv2.flip(turned, 1)
        if self.mirror_rows:
            turned = cv2.flip(turned, 0)
        return np.asarray(turned, np.uint8)

    def apply_to_motion(self, motion: BlockMotion) -> BlockMotion:
        """The motion of the upright picture."""
        return motion.turned(
            exchange=self.exchange, mirror_columns=self.mirror_columns, mirror_rows=self.mirror_rows
        )


class TurnReader:
    """Reads the turn of each frame of one stream."""

    def __init__(self) -> None:
        self._by_rotation: dict[int, Turn] = {}
        """Of frames with side data of unknown types, which is slow to read."""

    def turn(self, frame: VideoFrame) -> Turn:
        """The turn of a frame, to the nearest quarter."""
        try:
            return _turn_of(_side_data(frame))
        except ValueError:
            if frame.rotation not in self._by_rotation:
                self._by_rotation[frame.rotation] = _turn_of(_known_side_data(frame))
            return self._by_rotation[frame.rotation]


class RgbConverter:
    """Converts the frames of one stream to RGB.

    PyAV sets up a converter and its threads anew for each frame that is asked for pixels; one for the whole
    stream takes two thirds of that time.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def upright(self, frame: VideoFrame, turn: Turn) -> Image:
        """Pixels of a frame, turned; those of high dynamic range are tone-mapped."""
        if is_high_range(int(frame.color_trc)):
            deep = self._reformatter.reformat(frame, format="rgb48le", threads=1)
            codes = np.asarray(deep.to_ndarray(), np.uint16)
            return turn.apply(
                tone_mapped(codes, transfer=int(frame.color_trc), primaries=int(frame.color_primaries))
            )
        converted = self._reformatter.reformat(frame, format="rgb24", threads=1)
        return turn.apply(np.asarray(converted.to_ndarray(), np.uint8))


def _side_data(frame: VideoFrame) -> Mapping[str, Any]:
    """Side data of a frame, in a container that the frame does not refer to: a cycle would keep it alive.

    Raises:
        ValueError: One is of a type that PyAV has no name for.
    """
    return cast(Mapping[str, Any], SideDataContainer(frame))  # type: ignore[call-arg]


def _known_side_data(frame: VideoFrame) -> Mapping[str, Any]:
    """Side data of those types that PyAV has names for."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    filters = [graph.add("sidedata", f"mode=delete:type={kind}") for kind in _UNKNOWN_TYPES]
    chain = [source, *filters, graph.add("buffersink")]
    for first, second in pairwise(chain):
        first.link_to(second)
    try:
        graph.configure()
        chain[0].push(frame)
        return _side_data(cast(VideoFrame, chain[-1].pull()))
    except (av.error.FFmpegError, ValueError):
        return {}


def _turn_of(side_data: Mapping[str, Any]) -> Turn:
    matrix = side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Turn()
    a, b, _, c, d = struct.unpack("5i", bytes(cast(Buffer, matrix))[:20])
    exchange = abs(b) > abs(a)
    return Turn(exchange, mirror_columns=(c if exchange else a) < 0, mirror_rows=(b if exchange else d) < 0)
