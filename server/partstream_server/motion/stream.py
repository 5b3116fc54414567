"""Flow of a stream's frames to its last key frame, whatever it is computed from.

Shape suffixes: see the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from partstream_server.decode import BlockMotion
from partstream_server.motion.field import Flow, between_sizes
from partstream_server.motion.optical import HostFlow


@dataclass(frozen=True, slots=True)
class View:
    """A frame as flow sees it."""

    image_HW3: npt.NDArray[np.uint8]
    """At the size of the network's input."""
    motion: BlockMotion | None = None
    """Since the frame before it, where the source tells."""


class StreamFlow(Protocol):
    """Flow to the last key frame; each frame of the stream is told once and in order, as key or to ask."""

    def key(self, view: View) -> None:
        """Make a frame the one that flow leads to."""
        ...

    def flow(self, view: View, *, height: int, width: int) -> Flow:
        """[2, h, w]: from a frame to the key frame, in pixels of a map of this size.

        Raises:
            ValueError: There was no key frame, or the frame lacks what flow is computed from.
        """
        ...


class ImageFlow:
    """Flow from the pixels of both frames."""

    def __init__(self, source: HostFlow) -> None:
        self._source = source
        self._key: View | None = None

    def key(self, view: View) -> None:
        """See `StreamFlow`."""
        self._key = view

    def flow(self, view: View, *, height: int, width: int) -> Flow:
        """See `StreamFlow`."""
        if self._key is None:
            raise ValueError("there was no key frame yet")
        return self._source.flow(view.image_HW3, self._key.image_HW3, height=height, width=width)


class CodecFlow:
    """Flow from the encoder's motion, led on from frame to frame."""

    def __init__(self) -> None:
        self._since: BlockMotion | None = None
        self._has_key = False

    @property
    def known(self) -> float:
        """Least share of a frame since the key frame whose motion was told; 1 at the key frame."""
        return 1.0 if self._since is None else self._since.known

    def key(self, view: View) -> None:  # noqa: ARG002 - what moved before a key frame is not asked for again
        """See `StreamFlow`."""
        self._since, self._has_key = None, True

    def flow(self, view: View, *, height: int, width: int) -> Flow:
        """See `StreamFlow`."""
        if not self._has_key:
            raise ValueError("there was no key frame yet")
        if view.motion is None:
            raise ValueError("this source does not tell how its blocks moved")
        self._since = view.motion if self._since is None else view.motion.after(self._since)
        rows, columns = self._since.vectors_2hw.shape[1:]
        cells_2 = np.array([columns / view.motion.width, rows / view.motion.height], np.float32)
        vectors_2hw = self._since.vectors_2hw * cells_2[:, None, None]  # in cells, the pixels of its map
        return between_sizes(vectors_2hw, height=height, width=width)
