"""People seen from behind."""

import numpy as np
from numpy.typing import NDArray

from partstream_core.labels import FLIP_PAIRS, PARTS, VOID
from partstream_models.data.photos.back_views import from_behind, swap_sides

HAIR, FACE, GLASSES = (PARTS.index(name) for name in ("hair", "face", "sunglasses"))


def portrait() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Dark hair above a bright face with glasses, and two arms."""
    parts = np.zeros((60, 40), np.uint8)
    parts[5:15, 10:30], parts[15:30, 12:28], parts[18:21, 14:26] = HAIR, FACE, GLASSES
    parts[30:50, 5:12], parts[30:50, 28:35], parts[50:] = (
        PARTS.index("left-arm"),
        PARTS.index("right-arm"),
        VOID,
    )
    image = np.full((60, 40, 3), 200, np.uint8)
    image[parts == HAIR] = (40, 30, 20)
    return image, parts


def test_a_face_becomes_hair_and_sides_change() -> None:
    image, parts = portrait()
    seen, labels = from_behind(image, parts, np.random.default_rng(0))
    face = (parts == FACE) | (parts == GLASSES)
    assert (labels[face] == HAIR).all()
    assert np.array_equal(labels[~face], swap_sides(parts)[~face])
    assert np.abs(seen[face].astype(int) - (40, 30, 20)).mean() < 40
    far = np.ones_like(face)
    far[10:35, 7:33] = False
    assert np.array_equal(seen[far], image[far])
    assert (parts == FACE).any()  # the photo itself stays


def test_someone_without_hair_stays_as_they_are() -> None:
    image, parts = portrait()
    parts[parts == HAIR] = 0
    seen, labels = from_behind(image, parts, np.random.default_rng(0))
    assert seen is image
    assert labels is parts


def test_only_sides_are_exchanged() -> None:
    labels = np.array([[*range(len(PARTS)), VOID]], np.uint8)
    swapped = swap_sides(labels)
    assert np.array_equal(swap_sides(swapped), labels)
    changed = {number for number in range(len(PARTS)) if swapped[0, number] != number}
    assert changed == {number for pair in FLIP_PAIRS for number in pair}
