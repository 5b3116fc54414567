"""The common form of all result formats: clips of frames with their people."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import box_of_mask
from partstream_core.labels import NUM_PARTS, PARTS
from partstream_core.results import JointResult, PartResult, PersonResult
from partstream_core.rle import Rle, area, decode, encode_label_map, run_lengths

LabelMap = npt.NDArray[np.integer]
ONLY_FRAME: Final = "0"
"""Name of the frame of a photo, which is a clip of one."""


@dataclass(frozen=True, slots=True, order=True)
class FrameKey:
    """Which frame of which clip."""

    clip: str
    frame: str
    """Its number without leading zeros, or its name where that is no number."""

    def __str__(self) -> str:
        return f"frame {self.frame} of {self.clip}"


@dataclass(frozen=True, slots=True)
class FrameObjects:
    """One frame's people, their masks all RLE of one size."""

    source: Path
    """The file they stand in, for errors."""
    size: tuple[int, int] | None
    """Height and width; None where the format does not say, because nobody is there."""
    people: tuple[PersonResult, ...]
    ignored: Rle | None = None
    """A region in which nothing is asked."""


@dataclass(frozen=True, slots=True)
class ResultSet:
    """Truth or results of any number of clips."""

    frames: dict[FrameKey, FrameObjects]
    has_parts: bool
    has_identities: bool
    """Whether identities last over frames."""


def frame_name(stem: str) -> str:
    """The name of a frame in a file's: numbers lose leading zeros."""
    return str(int(stem)) if stem.isascii() and stem.isdigit() else stem


def person(
    identity: int,
    score: float,
    mask: Rle,
    parts: tuple[PartResult, ...] = (),
    joints: tuple[JointResult, ...] = (),
) -> PersonResult:
    """A person from a mask; the box is the mask's.

    Raises:
        ValueError: The score is not a number from 0 to 1, or the mask is damaged.
    """
    if not 0 <= score <= 1:
        raise ValueError(f"a score must be a number from 0 to 1, got {score}")
    run_lengths(mask)
    box = box_of_mask(decode(mask)) or (0.0, 0.0, 0.0, 0.0)
    return PersonResult(identity, score, box, mask, parts, joints)


def people_of_maps(
    owners_HW: LabelMap, parts_HW: LabelMap | None = None, scores: dict[int, float] | None = None
) -> tuple[PersonResult, ...]:
    """People from a map of identities, from 1, and a map of parts; who has no score has 1."""
    identities = [each for each in np.unique(owners_HW).tolist() if each > 0]
    parts: dict[int, list[PartResult]] = {identity: [] for identity in identities}
    if parts_HW is not None:
        codes_HW = np.where(owners_HW > 0, owners_HW.astype(np.int64) * NUM_PARTS + parts_HW % NUM_PARTS, 0)
        codes = [identity * NUM_PARTS + part for identity in identities for part in range(1, NUM_PARTS)]
        for code, mask in encode_label_map(codes_HW, codes).items():
            identity, part = divmod(code, NUM_PARTS)
            score = (scores or {}).get(identity, 1.0)
            parts[identity].append(PartResult(PARTS[part], score, area(mask), mask))
    masks = encode_label_map(owners_HW, identities)
    return tuple(
        person(identity, (scores or {}).get(identity, 1.0), masks[identity], tuple(parts[identity]))
        for identity in identities
    )


def mask_of(found: PersonResult | PartResult, where: object) -> Rle:
    """The mask as RLE.

    Raises:
        ValueError: It has none; the message begins with `where`.
    """
    if not isinstance(found.mask, Rle):
        raise ValueError(f"{where}: masks must be RLE, got {type(found.mask).__name__}")
    return found.mask


def size_of(people: tuple[PersonResult, ...], source: Path) -> tuple[int, int] | None:
    """The size that the masks of a frame agree on; None where there is nobody.

    Raises:
        ValueError: They do not agree, or one is not RLE; the message names the file.
    """
    masks = [mask_of(found, source) for found in people]
    masks += [mask_of(part, source) for found in people for part in found.parts]
    sizes = {(mask.height, mask.width) for mask in masks}
    if len(sizes) > 1:
        raise ValueError(f"{source}: masks of one frame must have one size, got {sorted(sizes)}")
    return sizes.pop() if sizes else None
