"""Results of a frame's maps, against masks made one by one."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from partstream_core import rle
from partstream_core.labels import NUM_PARTS, PARTS
from partstream_core.outlines import as_ring, outlines
from partstream_core.results import Polygons
from partstream_server.pipeline.encoding import MaskForm, encode_people
from partstream_server.pipeline.upsampling import tight
from partstream_server.pipeline.values import Crop, FoundPerson, LabelMaps


def random_maps(seed: int, *, num_people: int, height: int, width: int) -> LabelMaps:
    """Blobs of people and parts, in the memory order that assembly makes."""
    rng = np.random.default_rng(seed)

    def blobs(num_labels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        noise = rng.random((num_labels, width, height), np.float32)
        smooth = np.stack([cv2.GaussianBlur(one, (0, 0), 3) for one in noise])
        return np.asarray(smooth.argmax(axis=0), np.uint8)

    person_WH, part_WH = blobs(num_people + 1), blobs(NUM_PARTS)
    return LabelMaps(person_WH.T, (part_WH * (person_WH > 0)).T)


def people_of(maps: LabelMaps) -> list[FoundPerson]:
    people = []
    whole = Crop(0, 0, *maps.person_HW.shape)
    for number in range(1, int(maps.person_HW.max()) + 1):
        crop = tight(np.asarray(number == maps.person_HW.T), whole)
        assert crop is not None
        scores = {part: 0.5 + part / 100 for part in range(1, NUM_PARTS)}
        own_hw = maps.person_HW == number
        people.append(FoundPerson(1 - number / 10, (0, 0, 1, 1), crop, None, scores, own_hw))
    return people


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(12, 90), width=st.integers(12, 90))
def test_run_lengths_are_those_of_each_mask_by_itself(seed: int, height: int, width: int) -> None:
    maps = random_maps(seed, num_people=3, height=height, width=width)
    if len(np.unique(maps.person_HW)) != 4:
        return
    results = encode_people(people_of(maps), [4, 9, 2], maps, MaskForm.RLE)
    assert [person.identity for person in results] == [4, 9, 2]
    for number, person in enumerate(results, start=1):
        mask_HW = maps.person_HW == number
        assert person.mask == rle.encode(mask_HW)
        present = [part for part in np.unique(maps.part_HW[mask_HW]) if part]
        assert [part.part for part in person.parts] == [PARTS[part] for part in present]
        for label, part in zip(present, person.parts, strict=True):
            part_HW = mask_HW & (maps.part_HW == label)
            assert part.mask == rle.encode(part_HW)
            assert part.area == part_HW.sum()
            assert part.score == pytest.approx(0.5 + label / 100)
        rows, columns = np.nonzero(mask_HW)
        assert person.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def filled(mask: Polygons) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """The pixels inside by the even-odd rule: those with an odd number of edges to their left."""
    height, width = mask.size
    crossings = np.zeros((height, width + 1), np.int64)
    for ring in mask.rings:
        points = np.array(ring).reshape(-1, 2)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            assert x0 == x1 or y0 == y1, "an edge runs along the pixels"
            if x0 == x1:
                crossings[int(min(y0, y1)) : int(max(y0, y1)), int(x0)] += 1
    return np.asarray(crossings.cumsum(axis=1)[:, :width] % 2 == 1, bool)


@pytest.mark.parametrize("seed", range(5))
def test_polygons_cover_what_run_lengths_cover(seed: int) -> None:
    maps = random_maps(seed, num_people=2, height=120, width=160)
    people = people_of(maps)
    as_runs = encode_people(people, [1, 2], maps, MaskForm.RLE)
    as_rings = encode_people(people, [1, 2], maps, MaskForm.POLYGONS)
    for runs, rings in zip(as_runs, as_rings, strict=True):
        assert isinstance(runs.mask, rle.Rle)
        assert isinstance(rings.mask, Polygons)
        assert np.array_equal(rle.decode(runs.mask), filled(rings.mask))
        assert (rings.box, rings.identity, rings.score) == (runs.box, runs.identity, runs.score)
        for part, same in zip(rings.parts, runs.parts, strict=True):
            assert (part.part, part.area, part.score) == (same.part, same.area, same.score)
            assert isinstance(part.mask, Polygons)
            assert isinstance(same.mask, rle.Rle)
            assert np.array_equal(rle.decode(same.mask), filled(part.mask))


def test_a_hole_is_a_ring_and_a_single_pixel_a_box() -> None:
    person_WH = np.zeros((40, 30), np.uint8)
    person_WH[5:25, 5:25] = 1
    person_WH[10:20, 10:20] = 0
    person_WH[33, 7] = 1
    maps = LabelMaps(person_WH.T, person_WH.T * 5)
    (person,) = encode_people(people_of(maps), [1], maps, MaskForm.POLYGONS)
    assert isinstance(person.mask, Polygons)
    assert person.mask.size == (30, 40)
    assert len(person.mask.rings) == 3
    assert (33.0, 7.0, 34.0, 7.0, 34.0, 8.0, 33.0, 8.0) in person.mask.rings
    assert np.array_equal(filled(person.mask), (person_WH == 1).T)


@settings(max_examples=50, deadline=None)
@given(mask=arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_outlines_filled_are_the_mask_of_any_shape(
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> None:
    rings = tuple(as_ring(ring_N2) for ring_N2 in outlines(mask))
    assert np.array_equal(filled(Polygons((mask.shape[0], mask.shape[1]), rings)), mask)
    drawn = np.zeros(mask.shape, bool)
    for ring in rings:  # COCO's own rasteriser, a ring at a time
        drawn ^= rle_of_coco(ring, mask.shape)
    assert np.array_equal(drawn, mask)


def rle_of_coco(
    ring: tuple[float, ...], size: tuple[int, ...]
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    counts = coco.frPyObjects([list(ring)], *size)[0]["counts"].decode("ascii")
    return rle.decode(rle.Rle(size[0], size[1], counts))


def test_without_masks_everything_else_stays() -> None:
    maps = random_maps(1, num_people=2, height=60, width=80)
    with_masks = encode_people(people_of(maps), [1, 2], maps, MaskForm.RLE)
    without = encode_people(people_of(maps), [1, 2], maps, MaskForm.NONE)
    for full, bare in zip(with_masks, without, strict=True):
        assert bare.mask is None
        assert [part.mask for part in bare.parts] == [None] * len(bare.parts)
        assert [(part.part, part.area) for part in bare.parts] == [
            (part.part, part.area) for part in full.parts
        ]
        assert bare.box == full.box


def test_nobody_is_an_empty_result() -> None:
    empty = LabelMaps(np.zeros((8, 6), np.uint8).T, np.zeros((8, 6), np.uint8).T)
    assert encode_people([], [], empty, MaskForm.RLE) == ()


def test_a_crowd_is_encoded_like_a_few() -> None:
    """More people than a byte's codes hold."""
    maps = random_maps(2, num_people=20, height=200, width=300)
    people = people_of(maps)
    assert len(people) == 20
    for number, person in enumerate(encode_people(people, range(1, 21), maps, MaskForm.RLE), start=1):
        assert person.mask == rle.encode(maps.person_HW == number)
        for part in person.parts:
            part_HW = (maps.person_HW == number) & (maps.part_HW == PARTS.index(part.part))
            assert part.mask == rle.encode(part_HW)
            assert part.area == part_HW.sum()
