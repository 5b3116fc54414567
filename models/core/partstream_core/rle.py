"""Masks as COCO's compressed run-length encoding: encode, decode, area.

A mask is read column by column; `counts` spells the lengths of its runs, the first of them zeros. Masks of
a whole label map are cut from one pass over the map, and a mask known only inside a crop is encoded without
making the full one: both matter at video size, where masks one by one are the slowest thing a frame meets.

Shape suffixes: H height, W width of the frame; h, w of a crop; R runs.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_FIRST_CHARACTER = 48
_MORE, _SIGN, _BITS = 0x20, 0x10, 5
_MAX_CHARACTERS = 7  # 34 bits and a sign: more than the pixels of any frame, and no sum overflows


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask of `height` x `width` pixels, as COCO's compressed RLE."""

    height: int
    width: int
    counts: str


def encode(mask_HW: BoolArray) -> Rle:
    """The mask as RLE."""
    height, width = mask_HW.shape
    encoded = coco.encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    return Rle(height, width, encoded["counts"].decode("ascii"))


def encode_label_map(label_map_HW: npt.NDArray[np.integer], labels: Iterable[int]) -> dict[int, Rle]:
    """The mask of each label as RLE, in the order of `labels`; a label without a pixel is left out."""
    masks = Runs.of(label_map_HW).masks()
    return {label: masks[label].rle for label in labels if label in masks}


@dataclass(frozen=True, slots=True)
class Counted:
    """A mask and the number of its pixels."""

    rle: Rle
    area: int


@dataclass(frozen=True, slots=True)
class Runs:
    """A label map as its runs of equal labels, column by column."""

    height: int
    width: int
    starts_R: IntArray
    """First pixel of each run; a run ends before the next one begins, the last at the last pixel."""
    labels_R: npt.NDArray[np.integer]

    @classmethod
    def of(cls, label_map_HW: npt.NDArray[np.integer]) -> "Runs":
        """The runs of a map."""
        height, width = label_map_HW.shape
        flat = label_map_HW.ravel(order="F")
        starts_R = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)[: flat.size]
        return cls(height, width, starts_R, flat[starts_R])

    def relabelled(self, labels_R: npt.NDArray[np.integer]) -> "Runs":
        """The runs of the map whose runs have other labels; neighbours of one label become one run."""
        kept = np.append(True, labels_R[1:] != labels_R[:-1])[: labels_R.size]
        return Runs(self.height, self.width, self.starts_R[kept], labels_R[kept])

    def masks(self, *, background: int | None = None) -> dict[int, Counted]:
        """The mask of each label that there is, by label; none of the background."""
        ends_R = np.append(self.starts_R[1:], self.height * self.width)[: self.starts_R.size]
        wanted_R = self.labels_R != background if background is not None else np.ones(ends_R.size, bool)
        inside = np.flatnonzero(wanted_R)
        order = inside[np.argsort(self.labels_R[inside], kind="stable")]
        if not order.size:
            return {}
        starts, ends, labels = self.starts_R[order], ends_R[order], self.labels_R[order]
        first = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
        areas = np.add.reduceat(ends - starts, first).tolist()
        counts = _spelled(starts, ends, first, self.height * self.width)
        return {
            label: Counted(Rle(self.height, self.width, text), area)
            for label, text, area in zip(labels[first].tolist(), counts, areas, strict=True)
        }


def encode_crop(mask_hw: BoolArray, *, top: int, left: int, height: int, width: int) -> Rle:
    """The RLE, at full size, of a mask that is `mask_hw` inside a crop and empty outside.

    Args:
        mask_hw: The mask inside the crop, [h, w].
        top: Row of the full mask where the crop begins.
        left: Column of the full mask where the crop begins.
        height: Height of the full mask.
        width: Width of the full mask.

    Raises:
        ValueError: The crop does not lie inside the full mask.
    """
    crop_height, crop_width = mask_hw.shape
    if top < 0 or left < 0 or top + crop_height > height or left + crop_width > width:
        crop = f"{crop_height}x{crop_width} at row {top}, column {left}"
        raise ValueError(f"the crop {crop} does not lie inside {height}x{width}")
    columns = np.zeros((crop_width, crop_height + 2), np.int8)
    columns[:, 1:-1] = mask_hw.T
    change = np.diff(columns, axis=1)
    start_column, start_row = np.nonzero(change == 1)
    end_column, end_row = np.nonzero(change == -1)
    starts = (left + start_column) * height + top + start_row
    ends = (left + end_column) * height + top + end_row
    if starts.size:
        apart = starts[1:] != ends[:-1]  # a run down to the last row goes on at the top of the next column
        starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    return _from_runs(starts, ends, height, width)


def decode(rle: Rle) -> BoolArray:
    """The mask, bool [H, W].

    Raises:
        ValueError: The counts are damaged, or do not fit the size.
    """
    runs_R = run_lengths(rle)
    values_R = np.arange(runs_R.size) % 2 == 1
    return np.repeat(values_R, runs_R).reshape(rle.width, rle.height).T


def area(rle: Rle) -> int:
    """Number of the mask's pixels.

    Raises:
        ValueError: The counts are damaged, or do not fit the size.
    """
    return int(run_lengths(rle)[1::2].sum())


def iou_matrix(a_N: Sequence[Rle], b_M: Sequence[Rle]) -> npt.NDArray[np.float64]:
    """Intersection over union of each pair of masks, [N, M].

    Raises:
        ValueError: A mask is damaged, or they are not all of one size.
    """
    sizes = {(rle.height, rle.width) for rle in (*a_N, *b_M)}
    if len(sizes) > 1:
        raise ValueError(f"masks must have one size to be compared, got {sorted(sizes)}")
    if not a_N or not b_M:
        return np.zeros((len(a_N), len(b_M)))
    for rle in (*a_N, *b_M):
        run_lengths(rle)
    a, b = ([{"size": [rle.height, rle.width], "counts": rle.counts} for rle in side] for side in (a_N, b_M))
    return np.asarray(coco.iou(a, b, [0] * len(b)))


def run_lengths(rle: Rle) -> IntArray:
    """Lengths of the runs, zeros first, int64 [R]; they sum to the number of pixels.

    Read here and not by pycocotools, which trusts its input: it decodes empty counts to uninitialised memory.

    Raises:
        ValueError: The counts are damaged, or do not fit the size.
    """
    if rle.height < 1 or rle.width < 1:
        raise ValueError(f"a mask is at least 1x1, got {rle.height}x{rle.width}")
    characters = np.frombuffer(rle.counts.encode("ascii", errors="replace"), np.uint8)
    codes = characters.astype(np.int64) - _FIRST_CHARACTER
    if codes.size == 0 or codes.min() < 0 or codes.max() >= 1 << (_BITS + 1) or codes[-1] & _MORE:
        raise ValueError(f"counts are not compressed RLE: {_excerpt(rle.counts)}")
    last = np.flatnonzero(codes & _MORE == 0)
    first = np.append(0, last[:-1] + 1)
    sizes = last - first + 1
    if sizes.max() > _MAX_CHARACTERS:
        raise ValueError(f"counts hold a number that is too long: {_excerpt(rle.counts)}")
    place = np.arange(codes.size) - np.repeat(first, sizes)
    runs = np.add.reduceat((codes & 0x1F) << (_BITS * place), first)
    runs -= np.where(codes[last] & _SIGN, np.int64(1) << (_BITS * sizes), 0)
    # From the fourth on, a count is stored as the difference from the one two before it.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0 or runs.sum() != rle.height * rle.width:
        raise ValueError(f"counts do not sum to {rle.height}x{rle.width} pixels: {_excerpt(rle.counts)}")
    return runs


def _excerpt(counts: str, length: int = 32) -> str:
    return repr(counts if len(counts) <= length else counts[:length] + "...")


def _from_runs(starts: IntArray, ends: IntArray, height: int, width: int) -> Rle:
    """The RLE of the pixels in [start, end) of each pair, in column-major order, apart from each other."""
    if not starts.size:
        return encode(np.zeros((height, width), bool))
    (counts,) = _spelled(starts, ends, np.zeros(1, np.int64), height * width)
    return Rle(height, width, counts)


def _spelled(starts: IntArray, ends: IntArray, first: IntArray, num_pixels: int) -> list[str]:
    """The compressed counts of several masks at once.

    Args:
        starts: Where each run of ones begins, mask after mask.
        ends: Where it ends.
        first: Index of each mask's first run.
        num_pixels: Of a mask.
    """
    mask_of = np.zeros(starts.size, np.int64)
    mask_of[first[1:]] = 1
    mask_of = np.cumsum(mask_of)
    last = np.append(first[1:], starts.size) - 1
    zeros_at = 2 * np.arange(starts.size) + mask_of  # each mask has one count more than twice its runs
    tail_at = zeros_at[last] + 2
    runs = np.empty(tail_at[-1] + 1, np.int64)
    before = np.roll(ends, 1)
    before[first] = 0
    runs[zeros_at] = starts - before
    runs[zeros_at + 1] = ends - starts
    runs[tail_at] = num_pixels - ends[last]
    # from the fourth on, a count is stored as the difference from the one two before it
    numbers = runs.copy()
    numbers[2:] -= runs[:-2]
    begin = zeros_at[first]
    for place in range(3):  # a mask has three counts at least
        numbers[begin + place] = runs[begin + place]
    tails = np.zeros(runs.size, bool)
    tails[tail_at] = True
    return _characters(numbers, dropped=tails & (runs == 0), begin=begin)


def _characters(
    numbers: IntArray, *, dropped: npt.NDArray[np.bool_], begin: IntArray
) -> list[str]:  # fmt: skip
    """Signed numbers in groups of five bits, low ones first; a text for the numbers from each `begin` on."""
    magnitude = numbers ^ (numbers >> 8 * numbers.itemsize - 1)
    sizes = np.ones(numbers.size, np.uint8)  # the first group has four bits and the sign
    bound, greatest = 1 << _BITS - 1, int(magnitude.max(initial=0))
    while bound <= greatest:
        sizes += magnitude >= bound
        bound <<= _BITS
    sizes[dropped] = 0
    ends = np.cumsum(sizes, dtype=np.int64)
    text = np.empty(ends[-1], np.uint8)
    left, at, groups = sizes, ends - sizes, numbers  # of the numbers that have a group at this place
    while left.size:
        more = left > 1
        codes = (groups & 0x1F).astype(np.uint8)
        codes |= more * np.uint8(_MORE)
        codes += _FIRST_CHARACTER
        there = left > 0
        text[at[there]] = codes[there]
        left, at, groups = left[more] - np.uint8(1), at[more] + 1, groups[more] >> _BITS
    characters = text.tobytes().decode("ascii")
    edges = np.append(ends[begin] - sizes[begin], ends[-1]).tolist()
    return [characters[start:end] for start, end in itertools.pairwise(edges)]
