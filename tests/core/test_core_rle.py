"""RLE against pycocotools, and damaged RLE."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco

from partstream_core.rle import Rle, area, decode, encode, encode_crop, encode_label_map, run_lengths

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
masks = sizes.flatmap(lambda size: hnp.arrays(np.bool_, size))
label_maps = sizes.flatmap(lambda size: hnp.arrays(np.int16, size, elements=st.integers(-1, 3)))


def oracle(mask_HW: NDArray[np.bool_]) -> Rle:
    """What pycocotools makes of the mask."""
    encoded = coco.encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    height, width = mask_HW.shape
    return Rle(height, width, encoded["counts"].decode())


@given(masks)
def test_a_mask_survives_the_round_trip(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(decode(encode(mask)), mask)
    assert area(encode(mask)) == mask.sum()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools on NumPy 2
@given(masks)
def test_decoding_agrees_with_pycocotools(mask: NDArray[np.bool_]) -> None:
    rle = encode(mask)
    theirs = coco.decode({"size": [rle.height, rle.width], "counts": rle.counts.encode()})
    assert np.array_equal(decode(rle), theirs.astype(bool))


@given(label_maps)
def test_a_label_map_gives_the_masks_of_its_labels(label_map: NDArray[np.int16]) -> None:
    found = encode_label_map(label_map, range(-1, 5))
    there = [label for label in range(-1, 5) if (label_map == label).any()]
    assert found == {label: oracle(label_map == label) for label in there}


@given(masks, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_crop_is_encoded_as_its_full_mask_would_be(
    crop: NDArray[np.bool_], top: int, left: int, below: int, right: int
) -> None:
    full = np.pad(crop, ((top, below), (left, right)))
    height, width = full.shape
    assert encode_crop(crop, top=top, left=left, height=height, width=width) == oracle(full)


def test_large_masks_agree_with_pycocotools() -> None:
    rows, columns = np.mgrid[:720, :1280]
    disc = (rows - 300) ** 2 + (columns - 900) ** 2 < 250**2
    assert encode(disc) == oracle(disc) == encode_label_map(disc.astype(np.uint8), [1])[1]
    assert np.array_equal(decode(encode(disc)), disc)
    crop = encode_crop(disc[50:600, 600:1200], top=50, left=600, height=720, width=1280)
    assert crop == oracle(disc)


@pytest.mark.parametrize("top, left", [(-1, 0), (0, -1), (9, 0), (0, 9)])
def test_a_crop_outside_the_frame_is_refused(top: int, left: int) -> None:
    with pytest.raises(ValueError, match="does not lie inside 10x10"):
        encode_crop(np.ones((2, 2), bool), top=top, left=left, height=10, width=10)


@pytest.mark.parametrize(
    "counts", ["", "\x00", "é", "345o", "zzzz", "PPPPPPPPPP", "34", "3456", "T4", "ooooooooO"]
)
def test_damaged_counts_are_refused(counts: str) -> None:
    with pytest.raises(ValueError, match="counts"):
        decode(Rle(3, 4, counts))


@pytest.mark.parametrize("height, width", [(0, 4), (3, 0), (-3, -4)])
def test_a_mask_without_pixels_is_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match="at least 1x1"):
        run_lengths(Rle(height, width, "0"))


@given(st.text(max_size=12))
def test_no_text_makes_a_mask_of_another_size(counts: str) -> None:
    try:
        mask = decode(Rle(3, 4, counts))
    except ValueError:
        return
    assert mask.shape == (3, 4)
