"""Motion vectors of a video's codec, as a field from each frame to the one before it.

What it is worth: an encoder looks for what is cheap to code, which on plain surfaces is not what moved. It
tells which way a block's reference lies in time and not which frame it is; we take the nearest earlier one
that may be referred to and divide by the frames between, as if motion were even. Vectors to later frames are
not used. Blocks without a vector take their neighbours' motion; a frame without any (intra coded) goes on as
the one before it. FFmpeg tells vectors of H.264 and MPEG-1, -2 and -4.

Shape suffixes: N vectors, h and w cells of a grid that covers the frame; the 2 is (x, y), in pixels of the
upright frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import av.sidedata.sidedata
import cv2
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

FloatArray = npt.NDArray[np.float32]

TELLING_CODECS: Final = frozenset({"h264", "mpeg4", "mpeg1video", "mpeg2video"})
"""Codecs whose decoders tell vectors."""

_CELL: Final = 16
"""Pixels of a macroblock, the largest block that vectors are told of."""
_MOST_ORDERS: Final = 64
"""Packets that may wait in a decoder; codecs hold at most 16 frames and a thread each."""
_KEYED: Final = (PictureType.I, PictureType.P)


@dataclass(frozen=True, slots=True)
class BlockMotion:
    """Where the blocks of a frame lie in an earlier frame, less their own places."""

    vectors_2hw: FloatArray
    known: float
    """Share of the frame whose motion was told and not guessed from what is near in space or time."""
    height: int
    width: int
    """Of the frame."""

    def after(self, earlier: BlockMotion) -> BlockMotion:
        """The motion from this frame through the one that `earlier` starts from to the one it leads to.

        Raises:
            ValueError: The frames differ in size.
        """
        if (self.height, self.width) != (earlier.height, earlier.width):
            raise ValueError(
                f"motion of {self.width}x{self.height} cannot follow {earlier.width}x{earlier.height}"
            )
        rows, columns = self.vectors_2hw.shape[1:]
        x_hw = self.vectors_2hw[0] * np.float32(columns / self.width) + np.arange(columns, dtype=np.float32)
        y_hw = self.vectors_2hw[1] * np.float32(rows / self.height)
        y_hw += np.arange(rows, dtype=np.float32)[:, None]
        there = [
            cv2.remap(part_hw, x_hw, y_hw, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for part_hw in earlier.vectors_2hw
        ]
        vectors_2hw = self.vectors_2hw + np.stack(there).astype(np.float32)
        return BlockMotion(vectors_2hw, min(self.known, earlier.known), self.height, self.width)

    def turned(self, *, exchange: bool, mirror_columns: bool, mirror_rows: bool) -> BlockMotion:
        """The motion of the frame whose axes are exchanged and then mirrored."""
        vectors_2hw, height, width = self.vectors_2hw, self.height, self.width
        if exchange:
            vectors_2hw, height, width = vectors_2hw[::-1].transpose(0, 2, 1), width, height
        if mirror_columns:
            vectors_2hw = vectors_2hw[:, :, ::-1] * np.array([-1, 1], np.float32)[:, None, None]
        if mirror_rows:
            vectors_2hw = vectors_2hw[:, ::-1] * np.array([1, -1], np.float32)[:, None, None]
        return BlockMotion(np.ascontiguousarray(vectors_2hw), self.known, height, width)


class VectorReader:
    """Reads the motion of each frame of one stream since the frame before it, in presentation order."""

    def __init__(self) -> None:
        self._orders: dict[int, int] = {}
        self._num_packets = 0
        self._behind: list[tuple[int | None, bool]] = []
        """Frames from the last I or P frame on: place in decoding order, and whether they are referred to."""
        self._last: BlockMotion | None = None

    def sees(self, packet: Packet[VideoStream]) -> None:
        """Note when a frame is decoded; packets come in that order."""
        if packet.pts is not None:
            self._orders[packet.pts] = self._num_packets
            self._num_packets += 1
            if len(self._orders) > _MOST_ORDERS:
                del self._orders[next(iter(self._orders))]

    def motion(self, frame: VideoFrame) -> BlockMotion:
        """The motion from a frame, not yet turned, to the one shown before it."""
        vectors_N = _past_vectors(frame)
        distance = self._distance(frame)
        motion = _gridded(vectors_N, distance, height=frame.height, width=frame.width)
        last = self._last
        if (
            motion.known == 0
            and last is not None
            and (last.height, last.width) == (frame.height, frame.width)
        ):
            motion = BlockMotion(last.vectors_2hw, 0.0, frame.height, frame.width)
        self._last = motion
        return motion

    def _distance(self, frame: VideoFrame) -> int:
        """Frames back to the reference that vectors lead to, as far as can be told."""
        order = None if frame.pts is None else self._orders.pop(frame.pts, None)
        behind = self._behind
        back = next((n for n, (_, referred) in enumerate(reversed(behind), start=1) if referred), 1)
        if frame.pict_type in _KEYED:
            anchors = len(behind) or 1
            self._behind = [(order, True)]
            return anchors
        # a B frame that was decoded before one shown earlier was so because others refer to it
        ahead = order is not None and any(o is not None and o > order for o, _ in behind)
        if len(behind) < _MOST_ORDERS:
            behind.append((order, ahead))
        return back


def _past_vectors(frame: VideoFrame) -> npt.NDArray[Any]:
    """The vectors that lead back in time.

    The container of side data is made apart from the frame: one that the frame knew would keep it alive.
    """
    try:
        container: Mapping[str, Any] = av.sidedata.sidedata.SideDataContainer(frame)  # type: ignore[call-arg]
    except ValueError:  # one is of a type that PyAV has no name for
        return np.zeros(0, [("source", "i4")])
    data = container.get("MOTION_VECTORS")
    if data is None:
        return np.zeros(0, [("source", "i4")])
    vectors_N = data.to_ndarray()
    return np.asarray(vectors_N[vectors_N["source"] < 0])


def _gridded(vectors_N: npt.NDArray[Any], distance: int, *, height: int, width: int) -> BlockMotion:
    rows, columns = -(-height // _CELL), -(-width // _CELL)
    if not len(vectors_N):
        return BlockMotion(np.zeros((2, rows, columns), np.float32), 0.0, height, width)
    x_N, y_N = (vectors_N[name].astype(np.int64).clip(0) // _CELL for name in ("dst_x", "dst_y"))
    cells_N = y_N.clip(max=rows - 1) * columns + x_N.clip(max=columns - 1)
    area_N = vectors_N["w"].astype(np.float32) * vectors_N["h"]
    unit_N = area_N / np.maximum(vectors_N["motion_scale"], 1) / distance

    def summed(weights_N: npt.NDArray[Any]) -> FloatArray:
        sums = np.bincount(cells_N, weights_N, minlength=rows * columns)
        return sums.reshape(rows, columns).astype(np.float32)

    area_hw = summed(area_N)
    sum_2hw = np.stack([summed(unit_N * vectors_N["motion_x"]), summed(unit_N * vectors_N["motion_y"])])
    known = float(np.minimum(area_hw, _CELL**2).sum()) / (height * width)
    vectors_2hw = _exact(_filled(sum_2hw, area_hw), height=height, width=width)
    return BlockMotion(vectors_2hw, min(known, 1.0), height, width)


def _filled(sum_2hw: FloatArray, area_hw: FloatArray) -> FloatArray:
    """Means of the cells; a cell without vectors takes the mean of the nearest square that has some."""
    empty_hw = area_hw == 0
    vectors_2hw = sum_2hw / np.where(empty_hw, 1, area_hw)
    reach = 3
    while empty_hw.any() and reach <= 2 * max(area_hw.shape):
        near_hw = cv2.blur(area_hw, (reach, reach), borderType=cv2.BORDER_CONSTANT)
        found_hw = empty_hw & (near_hw > 1e-3)
        for part_hw, sums_hw in zip(vectors_2hw, sum_2hw, strict=True):
            blurred_hw = cv2.blur(sums_hw, (reach, reach), borderType=cv2.BORDER_CONSTANT)
            part_hw[found_hw] = blurred_hw[found_hw] / near_hw[found_hw]
        empty_hw &= ~found_hw
        reach = 2 * reach + 1
    return np.asarray(vectors_2hw, np.float32)


def _exact(vectors_2hw: FloatArray, *, height: int, width: int) -> FloatArray:
    """The field on as many cells that cover the frame exactly; codecs pad it to whole macroblocks."""
    rows, columns = vectors_2hw.shape[1:]
    if (rows * _CELL, columns * _CELL) == (height, width):
        return vectors_2hw
    x = ((np.arange(columns) + 0.5) * (width / columns) / _CELL - 0.5).astype(np.float32)
    y = ((np.arange(rows) + 0.5) * (height / rows) / _CELL - 0.5).astype(np.float32)
    x_hw, y_hw = np.meshgrid(x, y)
    parts = [
        cv2.remap(part_hw, x_hw, y_hw, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for part_hw in vectors_2hw
    ]
    return np.stack(parts).astype(np.float32)
