"""Batches: the people in them, and a stream that can be taken up anywhere."""

from collections.abc import Container
from itertools import islice

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from partstream_core.labels import VOID
from partstream_models.data.batches import (
    MIN_PIXELS,
    Batch,
    BatchConfig,
    Batches,
    loader,
    people_of,
)
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.photos.cache import Photo, PhotoCache
from partstream_models.data.scenes.scene import Scene

CONFIG = BatchConfig(batch_size=4, sizes=((64, 64), (96, 64)))


def same(one: Batch, other: Batch) -> bool:
    maps = (
        torch.equal(one.images_BHWC, other.images_BHWC),
        torch.equal(one.parts_BHW, other.parts_BHW),
        torch.equal(one.instances_BHW, other.instances_BHW),
    )
    people = [
        torch.equal(a.boxes_N4, b.boxes_N4)
        and torch.equal(a.centers_N2, b.centers_N2)
        and torch.equal(a.identities_N, b.identities_N)
        and torch.equal(a.rows_N, b.rows_N)
        for a, b in zip(one.people, other.people, strict=True)
    ]
    return all(maps) and all(people)


def scene_of(instances: NDArray[np.uint8], identities: list[int]) -> Scene:
    height, width = instances.shape
    image = np.zeros((height, width, 3), np.uint8)
    return Scene(image, (instances > 0).astype(np.uint8), instances, np.array(identities, np.int64))


def l_shape() -> NDArray[np.uint8]:
    """A person bent round a corner, whose box center is not on the person."""
    instances = np.zeros((60, 80), np.uint8)
    instances[10:50, 10:20] = 1
    instances[40:50, 10:60] = 1
    return instances


def test_a_sampling_center_lies_on_its_person() -> None:
    people, _ = people_of(scene_of(l_shape(), [7]))
    assert people.boxes_N4.tolist() == [[10, 10, 60, 50]]
    assert people.centers_N2.tolist() == [[28.5, 40.5]]  # HVISNet's oracle: row 40, column 28
    assert (people.identities_N.tolist(), people.rows_N.tolist()) == ([7], [1])


def test_box_centers_are_there_on_request() -> None:
    people, _ = people_of(scene_of(l_shape(), [7]), box_centers=True)
    assert people.centers_N2.tolist() == [[35, 30]]
    assert l_shape()[30, 35] == 0


def test_tiny_people_become_void_and_the_others_keep_their_rows() -> None:
    instances = l_shape()
    instances[0:1, 0 : MIN_PIXELS - 1] = 2
    instances[55:60, 70:80] = 3
    scene = scene_of(instances, [4, 5, 6])
    people, found = people_of(scene)
    assert people.rows_N.tolist() == [1, 3]
    assert people.identities_N.tolist() == [4, 6]
    assert (found[instances == 2] == VOID).all()
    assert np.array_equal(found[instances != 2], instances[instances != 2])
    assert (scene.instances_HW == instances).all()


def test_who_is_fully_hidden_is_nobody() -> None:
    people, _ = people_of(scene_of(l_shape(), [4, 5]))
    assert people.identities_N.tolist() == [4]
    nobody, _ = people_of(scene_of(np.zeros((8, 8), np.uint8), []))
    assert nobody.boxes_N4.shape == (0, 4)
    assert nobody.centers_N2.shape == (0, 2)


def test_boxes_and_centers_of_drawn_scenes_fit_their_masks(photos: PhotoCache) -> None:
    num_people = 0
    for number in range(6):
        batch = Batches(photos, CONFIG, seed=1).draw(number)
        assert batch.images_BHWC.shape[0] == len(batch.people) == 4
        assert tuple(batch.parts_BHW.shape[1:]) in CONFIG.sizes
        for instances, people in zip(batch.instances_BHW, batch.people, strict=True):
            for box, center, row in zip(people.boxes_N4, people.centers_N2, people.rows_N, strict=True):
                mask = instances == row
                rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
                assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                assert mask[int(center[1]), int(center[0])]
                assert mask.sum() >= MIN_PIXELS
                num_people += 1
    assert num_people > 20


def test_a_number_and_a_seed_make_a_batch(photos: PhotoCache) -> None:
    first, second = Batches(photos, CONFIG, seed=1), Batches(photos, CONFIG, seed=1, first=9)
    assert same(first.draw(5), second.draw(5))
    assert not same(first.draw(5), first.draw(6))
    assert not same(first.draw(5), Batches(photos, CONFIG, seed=2).draw(5))


def test_a_stream_that_is_taken_up_goes_on_where_it_was(photos: PhotoCache) -> None:
    whole = list(islice(Batches(photos, CONFIG, seed=3), 4))
    rest = list(islice(Batches(photos, CONFIG, seed=3, first=2), 2))
    assert all(same(one, other) for one, other in zip(whole[2:], rest, strict=True))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_processes_draw_the_same_stream(photos: PhotoCache, num_workers: int) -> None:
    stream = iter(loader(Batches(photos, CONFIG, seed=3, first=1), num_workers=num_workers))
    found = [next(stream) for _ in range(3)]
    expected = [Batches(photos, CONFIG, seed=3).draw(number) for number in (1, 2, 3)]
    assert all(same(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("batch_size", [0, 1, 7])
def test_batches_of_odd_sizes_are_refused(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be even, got {batch_size}"):
        BatchConfig(batch_size=batch_size)


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32, got 64x100"):
        BatchConfig(sizes=((64, 64), (64, 100)))


def test_large_scenes_make_small_batches() -> None:
    config = BatchConfig(max_pixels=16 * 256 * 256)
    assert [config.num_scenes(256, 256), config.num_scenes(512, 288), config.num_scenes(512, 352)] == [
        16,
        6,
        4,
    ]
    assert config.num_scenes(2048, 2048) == 2
    assert config.num_scenes(32, 32) == config.batch_size
    assert BatchConfig().num_scenes(2048, 2048) == 16


def test_pairs_from_clips_show_the_same_people(photos: PhotoCache) -> None:
    clip = ClipConfig(num_frames=2, max_people=4, empty_share=0.0, cut_share=0.0, leaving_share=0.0)
    config = BatchConfig(batch_size=8, sizes=((96, 96),), clip_share=1.0, clip=clip)
    found = shared = 0
    for number in range(4):
        batch = Batches(photos, config, seed=2).draw(number)
        for one, other in zip(batch.people[::2], batch.people[1::2], strict=True):
            found += len(one.identities_N)
            shared += len(set(one.identities_N.tolist()) & set(other.identities_N.tolist()))
        assert not (batch.images_BHWC[0] == batch.images_BHWC[1]).all()
    assert shared > 0.6 * found > 0


class DamagedPhotos(PhotoCache):
    """A cache of which some reads, by their number from 1, find a damaged photo."""

    def __init__(self, photos: PhotoCache, *, damaged: Container[int]) -> None:
        self.__setstate__(photos.__getstate__())
        self._damaged, self._num_reads = damaged, 0

    def __getitem__(self, number: int) -> Photo:
        self._num_reads += 1
        if self._num_reads in self._damaged:
            raise ValueError("a damaged photo")
        return super().__getitem__(number)


def test_a_scene_that_cannot_be_drawn_is_counted_and_replaced(photos: PhotoCache) -> None:
    batch = Batches(DamagedPhotos(photos, damaged=(1, 3)), CONFIG, seed=1).draw(0)
    assert batch.num_skipped == 2
    assert len(batch.images_BHWC) == CONFIG.batch_size


def test_a_batch_of_which_nothing_can_be_drawn_is_an_error(photos: PhotoCache) -> None:
    damaged = DamagedPhotos(photos, damaged=range(1, 10_000))
    with pytest.raises(RuntimeError, match="batch 7 cannot be drawn: a damaged photo"):
        Batches(damaged, CONFIG, seed=1).draw(7)
