"""Regions where the part map alone makes a person, a head or a face likely, for uses that need high recall.

Assembly gives pixels to people who were detected and leaves the rest to the background. What it leaves may
still show somebody, so `privacy` covers these cells, too.

Shape suffixes: P parts and background; h, w the network's map, which covers the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import numpy as np

from partstream_core.labels import PARTS
from partstream_server.pipeline.values import FloatArray, MapArray

HEAD_PARTS: Final = frozenset(PARTS.index(name) for name in ("hat", "hair", "sunglasses", "face"))
FACE_PARTS: Final = frozenset(PARTS.index(name) for name in ("sunglasses", "face"))
LIKELY_HEAD: Final = 0.08
"""Least probability of any part of a head. Lower ones cover few more faces and much more else."""
LIKELY_PERSON: Final = 0.5
"""Least probability of any part: below it, things are taken for people."""


class Likely(IntEnum):
    """Values of a map of likely parts; each includes the ones before it."""

    NOTHING = 0
    PERSON = 1
    HEAD = 2
    FACE = 3


def likely_parts(part_probabilities_Phw: FloatArray, part_labels: Sequence[int]) -> MapArray:
    """`Likely` at each cell, [h, w].

    Args:
        part_probabilities_Phw: Covers the whole frame; background first.
        part_labels: Index into `partstream_core.labels.PARTS` of each channel.
    """
    likely_hw = np.zeros(part_probabilities_Phw.shape[1:], np.uint8)
    likely_hw[part_probabilities_Phw[0] < 1 - LIKELY_PERSON] = Likely.PERSON
    for value, labels in ((Likely.HEAD, HEAD_PARTS), (Likely.FACE, FACE_PARTS)):
        channels = [channel for channel, label in enumerate(part_labels) if label in labels]
        if channels:
            likely_hw[part_probabilities_Phw[channels].sum(axis=0) > LIKELY_HEAD] = value
    return likely_hw
