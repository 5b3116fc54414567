"""How often `partstream follow` finds a person again after an interruption, on composed clips.

Each clip is interrupted in the middle for five seconds. Every person who is large enough before and after is
named by the mask of one frame before. The first second after the interruption decides: the first mask of the
target that overlaps a person of the truth is right or wrong; without one the person was missed.

Shape suffixes: T frames, H height, W width.
Source: DyeNet (Li and Loy, ECCV 2018), section 2: people are found again by re-identification.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from partstream_evaluation.composite.recipe import Clip, Recipe
from partstream_evaluation.composite.source import Source
from partstream_evaluation.composite.truth import Benchmark, UInt8Array, make_benchmark
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand
from partstream_evaluation.follow.evaluate import BoolArray, read_masks
from partstream_evaluation.metrics.davis import region_iou

_NAME = "target"
_RATE = 25
"""Frames a second at which a folder of pictures is read."""
_GAP_FRAMES = 5 * _RATE
_NAMED_AT = 3
"""Frame whose mask names the person."""
_LEAST_AREA_PX = 600
_LEAST_IOU = 0.3
"""From here on a mask is of a person."""
_FITS_NOBODY = "no person fits the mask"
"""In the message of a follow that refuses a mask where no person was found."""


class Interruption(StrEnum):
    """What is seen meanwhile."""

    COVERED = "covered"
    """A plain grey picture."""
    CUT = "cut"
    """The next clip, with its own people, again and again."""


@dataclass(frozen=True, slots=True)
class RefindCounts:
    """People by what became of them."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    not_named: int = 0
    """No person was found where the mask is; they do not count."""

    @property
    def num_cases(self) -> int:
        """People who were named."""
        return self.right + self.wrong + self.missed

    def __add__(self, other: "RefindCounts") -> "RefindCounts":
        return RefindCounts(
            self.right + other.right,
            self.wrong + other.wrong,
            self.missed + other.missed,
            self.not_named + other.not_named,
        )


def evaluate_refind(
    folder: Path,
    recipe: Recipe,
    read: Callable[[], Source],
    command: PartstreamCommand,
    *,
    clips: Sequence[Clip],
    interruption: Interruption,
) -> dict[str, RefindCounts]:
    """Counts by name of the clip.

    Args:
        folder: Where the composed clips are kept; drawn where they are missing.
        recipe: Of the clips.
        read: Reads the photos; not called where nothing is to be drawn.
        command: What follows.
        clips: Those to interrupt; at least two.
        interruption: What is seen meanwhile.

    Raises:
        EvaluationError: The command cannot be run, or failed for another reason than that nobody was found.
        ValueError: There are fewer than two clips, or a clip is damaged.
    """
    if len(clips) < 2:
        raise ValueError(f"a cut goes to another clip: at least 2 are needed, got {len(clips)}")
    benchmark = make_benchmark(folder, recipe, read, clips=clips)
    found = {}
    for number, clip in enumerate(benchmark.clips):
        following = benchmark.clips[(number + 1) % len(clips)]
        with tempfile.TemporaryDirectory(prefix="partstream-evaluate-") as name:
            pictures = Path(name) / clip.name
            _interrupt(benchmark, clip, following, interruption, pictures)
            found[clip.name] = _counts(benchmark.truth(clip).instances_THW, pictures, command)
    return found


def _interrupt(
    benchmark: Benchmark, clip: Clip, following: Clip, interruption: Interruption, output: Path
) -> None:
    """Write the clip's pictures into a folder, with the interruption in the middle."""
    pictures = sorted(benchmark.frames(clip).iterdir())
    others = sorted(benchmark.frames(following).iterdir())
    size = (clip.format.width, clip.format.height)
    output.mkdir()
    middle = len(pictures) // 2
    for number, path in enumerate(pictures):
        place = number if number < middle else number + _GAP_FRAMES
        (output / f"{place:06d}.jpg").symlink_to(path.resolve())
    for number in range(_GAP_FRAMES):
        if interruption is Interruption.COVERED:
            picture = Image.new("RGB", size, (118, 118, 118))
        else:
            with Image.open(others[number % len(others)]) as other:
                picture = ImageOps.fit(other.convert("RGB"), size)
        picture.save(output / f"{middle + number:06d}.jpg", quality=95, subsampling=0)


def _counts(truth_THW: UInt8Array, pictures: Path, command: PartstreamCommand) -> RefindCounts:
    total = RefindCounts()
    for identity in people_to_find(truth_THW):
        mask = pictures.parent / f"{identity}.png"
        Image.fromarray((truth_THW[_NAMED_AT] == identity).astype(np.uint8) * 255).save(mask)
        output = pictures.parent / f"found-{identity}"
        try:
            command.follow(pictures, output, f"{_NAME}@{_NAMED_AT / _RATE}:{mask}")
        except EvaluationError as error:
            if _FITS_NOBODY not in " ".join(str(error).split()):
                raise
            total += RefindCounts(not_named=1)
            continue
        masks = list(read_masks(output / "follow.ndjson", pictures.name))
        if len(masks) != len(truth_THW) + _GAP_FRAMES:
            num_frames = len(truth_THW) + _GAP_FRAMES
            raise EvaluationError(f"{pictures.name} is {num_frames} frames, its follow has {len(masks)}")
        middle = len(truth_THW) // 2
        after = slice(middle + _GAP_FRAMES, middle + _GAP_FRAMES + _RATE)
        total += judge(truth_THW[middle : middle + _RATE], masks[after], identity)
    return total


def people_to_find(truth_THW: UInt8Array) -> list[int]:
    """Identities that are large enough when they are named, and in each frame that decides."""
    middle = len(truth_THW) // 2
    wanted = [truth_THW[_NAMED_AT], *truth_THW[middle : middle + _RATE]]
    identities = [int(each) for each in np.unique(truth_THW) if each]
    return [
        each
        for each in identities
        if all(np.count_nonzero(frame_HW == each) >= _LEAST_AREA_PX for frame_HW in wanted)
    ]


def judge(truth_THW: UInt8Array, masks: Sequence[BoolArray | None], identity: int) -> RefindCounts:
    """Whom the first mask shows that overlaps a person.

    Args:
        truth_THW: Identities of the frames that decide.
        masks: Of the target in these frames; None where it is not seen.
        identity: Of the target.

    Raises:
        EvaluationError: A mask has another size than the truth.
    """
    for truth_HW, mask_HW in zip(truth_THW, masks, strict=True):
        if mask_HW is None:
            continue
        if mask_HW.shape != truth_HW.shape:
            raise EvaluationError(f"the truth is {truth_HW.shape}, the mask {mask_HW.shape}")
        ious = {int(each): region_iou(truth_HW == each, mask_HW) for each in np.unique(truth_HW) if each}
        best = max(ious, key=lambda each: ious[each], default=0)
        if best and ious[best] >= _LEAST_IOU:
            return RefindCounts(right=1) if best == identity else RefindCounts(wrong=1)
    return RefindCounts(missed=1)
