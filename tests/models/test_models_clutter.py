"""Things that are nobody, on backdrops."""

import numpy as np
from numpy.typing import NDArray

from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.clutter import add_clutter


def drawn(
    photos: PhotoCache, seed: int, *, share: float = 1.0, size: tuple[int, int] = (96, 160)
) -> NDArray[np.uint8]:
    image = np.full((*size, 3), 128, np.uint8)
    return add_clutter(image, photos, np.random.default_rng(seed), share=share)


def test_things_follow_from_the_seed(photos: PhotoCache) -> None:
    assert np.array_equal(drawn(photos, 3), drawn(photos, 3))
    assert not np.array_equal(drawn(photos, 3), drawn(photos, 4))


def test_a_share_of_backdrops_has_things_on_it(photos: PhotoCache) -> None:
    assert all((drawn(photos, seed, share=0.0) == 128).all() for seed in range(20))
    changed = sum((drawn(photos, seed, share=0.5) != 128).any() for seed in range(60))
    assert 15 <= changed <= 45


def test_something_of_the_backdrop_is_left(photos: PhotoCache) -> None:
    left = [(drawn(photos, seed) == 128).mean() for seed in range(30)]
    assert np.mean(left) > 0.2
    assert min(left) < 0.9


def test_any_size_of_backdrop_will_do(photos: PhotoCache) -> None:
    for size in ((32, 32), (512, 40), (40, 512), (600, 900)):
        for seed in range(6):
            assert drawn(photos, seed, size=size).shape == (*size, 3)
