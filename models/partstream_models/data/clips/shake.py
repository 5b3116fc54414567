"""A camera that shakes: now and then a frame is smeared, and its neighbours are not.

A clip's look (`clips_look`) is the same for all its frames. What comes and goes is what key frames can make
good for one another: ATEN encodes them to mend those that motion blur spoiled (Zhou et al., MM 2018,
section 1).

Shape suffixes: H height, W width, C colour channels (RGB).
"""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from partstream_models.data.clips.camera import UInt8Array, smear
from partstream_models.data.readers.record import Frame, Recording


@dataclass(frozen=True, kw_only=True, slots=True)
class Shake:
    """How often and how far; lengths against the frame's longer side."""

    share: float = 0.3
    """Of frames that are smeared, each by itself; at 0 nothing is drawn."""
    least: float = 0.03
    most: float = 0.08

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not 0 < self.least <= self.most <= 1:
            raise ValueError(f"no camera shakes a share of {self.share} by {self.least} to {self.most}")

    def of(self, image_HWC: UInt8Array, rng: np.random.Generator) -> UInt8Array:
        """The frame as such a camera has it."""
        if self.share == 0 or rng.random() >= self.share:
            return image_HWC
        angle = float(rng.uniform(0, np.pi))
        length = float(rng.uniform(self.least, self.most)) * max(image_HWC.shape[:2])
        return smear(image_HWC, (length * float(np.cos(angle)), length * float(np.sin(angle))))


def shaken(recording: Recording, shake: Shake, seed: int) -> Recording:
    """The recording from a camera that shakes; the same frames are smeared each time it is read."""
    name = zlib.crc32(recording.name.encode())

    def load(number: int) -> Frame:
        frame = recording.frame(number)
        rng = np.random.default_rng((seed, name, number))
        return replace(frame, image_HWC=shake.of(frame.image_HWC, rng))

    return replace(recording, load=load)
