"""The photo cache: what it keeps, what it skips, and when it is made anew."""

import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partstream_core.labels import PARTS, VOID
from partstream_evaluation.ccp import part_map, read_class_names, read_label_map, validation_ids
from partstream_models.data.batches import cache_statistics
from partstream_models.data.photos.cache import (
    HEIGHT,
    HintSource,
    PhotoCache,
    labelled_photos,
    read_photo,
    training_ids,
)

UInt8Array = NDArray[np.uint8]
TreeMaker = Callable[[Path], Path]


def never(photo_id: str, photo_HWC: UInt8Array) -> UInt8Array:
    raise AssertionError(f"asked for hints of {photo_id} {photo_HWC.shape}, though the cache was finished")


def test_validation_photos_never_are_training_photos(ccp_tree: Path, photos: PhotoCache) -> None:
    held_out = set(validation_ids(ccp_tree))
    ids = training_ids(ccp_tree)
    assert held_out == {"0003", "0008"}
    assert len(ids) == 8
    assert not held_out & set(ids)
    assert not held_out & {photos[number].photo_id for number in range(len(photos))}


def test_validation_photos_never_are_training_photos_of_the_real_set(data_dir: Path) -> None:
    ids = training_ids(data_dir / "ccp")
    assert len(ids) == 904
    assert not set(ids) & set(validation_ids(data_dir / "ccp"))


def test_a_folder_without_photos_is_told(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("0001\n")
    with pytest.raises(ValueError, match="no photos in"):
        training_ids(tmp_path)


def test_a_photo_comes_back_shrunk_with_its_parts(
    ccp_tree: Path, photos: PhotoCache, make_hints: HintSource
) -> None:
    names = read_class_names(ccp_tree)
    for number, photo_id in enumerate(training_ids(ccp_tree)):
        photo = photos[number]
        source = read_photo(ccp_tree / "photos" / f"{photo_id}.jpg")
        width = round(source.shape[1] * HEIGHT / source.shape[0])
        assert photo.photo_id == photo_id
        assert photo.image_HWC.shape == photo.backdrop_HWC.shape == (HEIGHT, width, 3)
        labels = read_label_map(ccp_tree / "labels" / f"{photo_id}.png")
        parts = part_map(labels, make_hints(photo_id, source), names)
        expected = cv2.resize(parts, (width, HEIGHT), interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(photo.parts_HW, expected)
        assert np.abs(photo.image_HWC.mean(axis=(0, 1)) - source.mean(axis=(0, 1))).max() < 1
    assert photos.num_skipped == 0


def test_the_backdrop_shows_the_photo_without_its_person(photos: PhotoCache) -> None:
    photo = photos[0]
    person = photo.parts_HW > 0
    far = ~cv2.dilate(person.astype(np.uint8), np.ones((61, 61), np.uint8)).astype(bool)
    assert far.any()
    difference = np.abs(photo.image_HWC.astype(int) - photo.backdrop_HWC.astype(int)).max(axis=2)
    assert difference[far].max() <= 1
    wall = photo.image_HWC[far].mean(axis=0)
    assert np.abs(photo.backdrop_HWC[person].astype(float) - wall).mean() < 12  # the wall goes on
    assert np.abs(photo.image_HWC[person].astype(float) - wall).mean() > 24


def spoil_photo(tree: Path) -> None:
    (tree / "photos" / "0001.jpg").write_bytes(b"no photo at all")


def truncate_photo(tree: Path) -> None:
    path = tree / "photos" / "0001.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def resize_photo(tree: Path) -> None:
    with Image.open(tree / "photos" / "0001.jpg") as picture:
        smaller = picture.resize((50, 80))
    smaller.save(tree / "photos" / "0001.jpg")


def remove_labels(tree: Path) -> None:
    (tree / "labels" / "0001.png").unlink()


def spoil_labels(tree: Path) -> None:
    labels = read_label_map(tree / "labels" / "0001.png")
    Image.fromarray(labels + 60).save(tree / "labels" / "0001.png")


@pytest.mark.parametrize("spoil", [spoil_photo, truncate_photo, resize_photo, remove_labels, spoil_labels])
def test_a_photo_that_cannot_be_used_is_skipped_counted_and_named(
    spoil: Callable[[Path], None],
    tmp_path: Path,
    make_tree: TreeMaker,
    make_hints: HintSource,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tree = make_tree(tmp_path / "tree")
    spoil(tree)
    cache = PhotoCache(tree, tmp_path / "cache", training_ids(tree)[:3], make_hints)
    assert [cache[number].photo_id for number in range(len(cache))] == ["0002", "0004"]
    assert cache.num_skipped == 1
    assert "0001" in capsys.readouterr().out
    again = PhotoCache(tree, tmp_path / "cache", training_ids(tree)[:3], never)
    assert (len(again), again.num_skipped) == (2, 1)


def test_a_folder_where_no_photo_can_be_read_is_told(
    tmp_path: Path, make_tree: TreeMaker, make_hints: HintSource
) -> None:
    tree = make_tree(tmp_path / "tree")
    spoil_photo(tree)
    with pytest.raises(ValueError, match="none of the 1 photos"):
        PhotoCache(tree, tmp_path / "cache", ["0001"], make_hints)


def test_a_finished_cache_is_not_made_again_but_other_photos_are(
    ccp_tree: Path, tmp_path: Path, make_hints: HintSource
) -> None:
    first = PhotoCache(ccp_tree, tmp_path, ["0001", "0002"], make_hints)
    again = PhotoCache(ccp_tree, tmp_path, ["0001", "0002"], never)
    assert np.array_equal(first[1].image_HWC, again[1].image_HWC)
    other = PhotoCache(ccp_tree, tmp_path, ["0004"], make_hints)
    assert [other[number].photo_id for number in range(len(other))] == ["0004"]


def test_a_build_that_was_cut_short_does_not_look_finished(
    ccp_tree: Path, tmp_path: Path, make_hints: HintSource
) -> None:
    ids = ["0001", "0002", "0004"]
    PhotoCache(ccp_tree, tmp_path, ids, make_hints)

    def fail_at_the_second(photo_id: str, photo_HWC: UInt8Array) -> UInt8Array:
        if photo_id == "0009":
            raise KeyboardInterrupt
        return make_hints(photo_id, photo_HWC)

    with pytest.raises(KeyboardInterrupt):
        PhotoCache(ccp_tree, tmp_path, ["0005", "0009"], fail_at_the_second)
    mended = PhotoCache(ccp_tree, tmp_path, ids, make_hints)  # not the bytes of 0005 under the name of 0001
    fresh = PhotoCache(ccp_tree, tmp_path / "fresh", ids, make_hints)
    for number in range(3):
        assert np.array_equal(mended[number].image_HWC, fresh[number].image_HWC)


def test_a_loading_process_maps_the_photos_instead_of_copying_them(photos: PhotoCache) -> None:
    packed = pickle.dumps(photos)
    assert len(packed) < 10_000
    unpacked = pickle.loads(packed)  # noqa: S301 - our own bytes
    assert np.array_equal(unpacked[3].parts_HW, photos[3].parts_HW)


def test_labelled_photos_come_as_they_were_published(ccp_tree: Path, make_hints: HintSource) -> None:
    photo = next(labelled_photos(ccp_tree, ["0002"], make_hints))
    assert np.array_equal(photo.image_HWC, read_photo(ccp_tree / "photos" / "0002.jpg"))
    assert photo.parts_HW.shape == photo.image_HWC.shape[:2]
    worn = {PARTS[label] for label in np.unique(photo.parts_HW) if label != VOID}
    assert {"hair", "coat", "face", "left-arm", "right-arm", "left-shoe", "right-shoe"} <= worn


def test_weights_of_photos_and_classes_follow_the_pixels(photos: PhotoCache, tmp_path: Path) -> None:
    statistics = cache_statistics(photos, tmp_path)
    assert statistics.photo_weights.sum() == pytest.approx(1)
    assert statistics.photo_weights.shape == (8,)
    rare = {PARTS.index(name) for name in ("gloves", "sunglasses", "scarf", "skirt")}
    for number in range(8):
        has_rare = bool(rare & set(photos[number].parts_HW.ravel().tolist()))
        heavy = statistics.photo_weights[number] > statistics.photo_weights.min()
        assert heavy == has_rare
    weights = dict(zip(PARTS, statistics.class_weights.tolist(), strict=True))
    assert weights["background"] == min(weights.values())
    assert weights["hat"] == max(weights.values())  # only a held-out photo has one
    assert all(0.4 <= weight <= 3 for weight in weights.values())


def test_statistics_are_counted_once_and_again_for_other_photos(
    ccp_tree: Path, tmp_path: Path, make_hints: HintSource
) -> None:
    first = cache_statistics(PhotoCache(ccp_tree, tmp_path, ["0001", "0002"], make_hints), tmp_path)
    assert (tmp_path / "counts.npy").is_file()
    other = PhotoCache(ccp_tree, tmp_path, ["0005", "0007"], make_hints)
    assert not (tmp_path / "counts.npy").is_file()
    second = cache_statistics(other, tmp_path)
    assert not np.array_equal(first.class_weights, second.class_weights)
    again = cache_statistics(other, tmp_path)
    assert np.array_equal(again.class_weights, second.class_weights)
