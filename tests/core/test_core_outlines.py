"""Outlines against masks: every rasteriser gives back the pixels they were made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from partstream_core import rle
from partstream_core.outlines import as_ring, fill, outlines, single_path
from partstream_core.regions import NoMaskError, as_rle, region_of
from partstream_core.results import Polygons

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Points = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
any_mask = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def drawn(text: str) -> Pixels:
    """A mask from rows of # and ."""
    return np.array([[letter == "#" for letter in row] for row in text.split()])


CASES = {
    "a single pixel": drawn("... .#. ..."),
    "a frame of one pixel": drawn("#"),
    "the whole frame": drawn("### ###"),
    "a hole": drawn("##### #...# #.#.# #...# #####"),
    "pixels that touch diagonally": drawn("#.. .#. ..#"),
    "the other diagonal": drawn("..# .#. #.."),
    "a hole that touches the outside diagonally": drawn(".### #.## ###."),
    "pixels at every border": drawn("#.#.# ..... #...# ..... #.#.#"),
    "nothing": drawn("... ..."),
}


def windings(paths: list[Points], size: tuple[int, ...]) -> Points:
    """How often closed paths turn around the middle of each pixel, clockwise on the screen, [H, W].

    The lines of paths may be slanted; each is counted where it crosses a row's middle left of the pixel.
    """
    turns_HW = np.zeros(size, np.int64)
    y_H, x_W = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    for path in paths:
        for (x0, y0), (x1, y1) in zip(path.tolist(), np.roll(path, -1, axis=0).tolist(), strict=True):
            if y0 != y1:
                crossed_H = (y_H > min(y0, y1)) & (y_H < max(y0, y1))
                at_H = x0 + (y_H - y0) * (x1 - x0) / (y1 - y0)
                turns_HW += (crossed_H[:, None] & (at_H[:, None] < x_W)) * (1 if y0 > y1 else -1)
    return turns_HW


def by_coco(ring: Points, size: tuple[int, ...]) -> Pixels:
    counts = coco.frPyObjects([as_ring(ring)], *size)[0]["counts"].decode("ascii")
    return rle.decode(rle.Rle(size[0], size[1], counts))


def check(mask: Pixels) -> None:
    rings = outlines(mask)
    turns = windings(rings, mask.shape)
    assert np.array_equal(turns, mask), "once around each pixel of the mask, never around another: both rules"
    polygons = Polygons((mask.shape[0], mask.shape[1]), tuple(as_ring(ring) for ring in rings))
    assert np.array_equal(fill(polygons), mask)
    path = single_path(rings)
    assert np.array_equal(windings([path], mask.shape), mask)
    if len(path):
        assert np.array_equal(by_coco(path, mask.shape), mask)


@pytest.mark.parametrize("name", CASES)
def test_outlines_fill_to_the_mask(name: str) -> None:
    check(CASES[name])


@settings(max_examples=100, deadline=None)
@given(any_mask)
def test_outlines_of_any_mask_fill_to_it(mask: Pixels) -> None:
    check(mask)


def test_pixels_that_touch_diagonally_are_boxes_of_their_own() -> None:
    for name in ("pixels that touch diagonally", "the other diagonal"):
        assert [len(ring) for ring in outlines(CASES[name])] == [4, 4, 4]


def test_holes_run_the_other_way() -> None:
    def signed_area(ring: Points) -> float:
        (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, axis=0).T
        return float((x * next_y - next_x * y).sum() / 2)

    assert [signed_area(ring) for ring in outlines(CASES["a hole"])] == [25.0, -9.0, 1.0]


@settings(max_examples=100, deadline=None)
@given(any_mask)
def test_a_region_counts_what_its_mask_holds(mask: Pixels) -> None:
    region = region_of(rle.encode(mask))
    if region is None:
        assert not mask.any()
        return
    rows, columns = np.nonzero(mask)
    assert region.area == mask.sum()
    assert region.centroid == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5))
    assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    x0, y0, x1, y1 = region.box
    assert np.array_equal(region.crop_hw, mask[y0:y1, x0:x1])
    assert np.array_equal(windings(region.outlines(), mask.shape), mask)
    image = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), np.uint8)
    assert region.mean_colour(image) == pytest.approx(tuple(image[mask].mean(axis=0)))


def test_polygons_become_run_lengths_and_nothing_is_an_error() -> None:
    mask = CASES["a hole"]
    polygons = Polygons((5, 5), tuple(as_ring(ring) for ring in outlines(mask)))
    assert as_rle(polygons) == rle.encode(mask)
    with pytest.raises(NoMaskError, match="masks='rle'"):
        region_of(None)


def test_a_picture_of_another_size_has_no_colours_for_a_region() -> None:
    region = region_of(rle.encode(CASES["a hole"]))
    assert region is not None
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(5, 5\)"):
        region.mean_colour(np.zeros((4, 5, 3), np.uint8))
