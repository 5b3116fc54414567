"""Scenes: reproducible, consistent with themselves, and true to whose garment is whose."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core.labels import PARTS, VOID, flip_labels
from partstream_models.data.photos.cache import HintSource, PhotoCache
from partstream_models.data.scenes.augment import blend_soft, degrade, jitter_colour, random_texture
from partstream_models.data.scenes.compose import ComposeConfig, cut_out, draw_pair
from partstream_models.data.scenes.scene import Scene

GARMENTS = {
    "0001": "dress", "0002": "coat", "0004": "upper-clothes", "0005": "skirt", "0006": "pants",
    "0007": "scarf", "0009": "gloves", "0010": "sunglasses",
}  # fmt: skip
COMPOSITES = ComposeConfig(composite_share=1.0, empty_share=0.0)
SINGLES = ComposeConfig(composite_share=0.0, empty_share=0.0)
SEEDS = range(12)


def pair(photos: PhotoCache, seed: int, config: ComposeConfig) -> tuple[Scene, Scene]:
    return draw_pair(photos, np.random.default_rng(seed), height=96, width=128, config=config)


def scenes(photos: PhotoCache, config: ComposeConfig) -> list[Scene]:
    return [scene for seed in SEEDS for scene in pair(photos, seed, config)]


@pytest.mark.parametrize("config", [COMPOSITES, SINGLES, ComposeConfig()])
def test_the_same_seed_draws_the_same_scenes(photos: PhotoCache, config: ComposeConfig) -> None:
    for seed in SEEDS:
        for one, other in zip(pair(photos, seed, config), pair(photos, seed, config), strict=True):
            assert np.array_equal(one.image_HWC, other.image_HWC)
            assert np.array_equal(one.parts_HW, other.parts_HW)
            assert np.array_equal(one.instances_HW, other.instances_HW)
            assert np.array_equal(one.identities_N, other.identities_N)
    assert not np.array_equal(pair(photos, 0, config)[0].image_HWC, pair(photos, 1, config)[0].image_HWC)


@pytest.mark.parametrize("config", [COMPOSITES, SINGLES])
def test_where_there_is_a_part_there_is_a_person_and_void_is_void_in_both(
    photos: PhotoCache, config: ComposeConfig
) -> None:
    drawn = scenes(photos, config)
    for scene in drawn:
        assert scene.image_HWC.shape == (96, 128, 3)
        assert scene.image_HWC.dtype == scene.parts_HW.dtype == scene.instances_HW.dtype == np.uint8
        void = scene.parts_HW == VOID
        assert np.array_equal(void, scene.instances_HW == VOID)
        assert np.array_equal((scene.parts_HW > 0)[~void], (scene.instances_HW > 0)[~void])
        assert scene.parts_HW[~void].max(initial=0) < len(PARTS)
        assert scene.instances_HW[~void].max(initial=0) <= len(scene.identities_N)
    assert sum(bool((scene.instances_HW > 0).any()) for scene in drawn) > len(drawn) / 2


def test_a_composite_says_whose_garment_is_whose(photos: PhotoCache) -> None:
    all_garments = {PARTS.index(name) for name in GARMENTS.values()}
    num_seen = 0
    for scene in scenes(photos, COMPOSITES):
        for row, identity in enumerate(scene.identities_N, start=1):
            own = PARTS.index(GARMENTS[photos[int(identity)].photo_id])
            worn = all_garments & set(scene.parts_HW[scene.instances_HW == row].tolist())
            assert worn <= {own}
            num_seen += bool(worn)
    assert num_seen > 20


def test_two_composites_of_a_pair_show_the_same_people(photos: PhotoCache) -> None:
    counts = set()
    for seed in SEEDS:
        one, other = pair(photos, seed, COMPOSITES)
        assert sorted(one.identities_N) == sorted(other.identities_N)
        assert len(set(one.identities_N.tolist())) == len(one.identities_N)
        counts.add(len(one.identities_N))
    assert len(counts) > 2
    assert max(counts) <= ComposeConfig().max_people


def test_a_single_scene_is_one_photo(photos: PhotoCache) -> None:
    for scene in scenes(photos, SINGLES):
        assert len(scene.identities_N) == 1
        own = PARTS.index(GARMENTS[photos[int(scene.identities_N[0])].photo_id])
        others = {PARTS.index(name) for name in GARMENTS.values()} - {own}
        assert not others & set(scene.parts_HW.ravel().tolist())


def test_an_empty_scene_has_nobody(photos: PhotoCache) -> None:
    for scene in scenes(photos, ComposeConfig(empty_share=1.0, composite_share=0.0)):
        assert len(scene.identities_N) == 0
        assert not scene.parts_HW.any()
        assert not scene.instances_HW.any()


def test_in_either_orientation_the_left_arm_of_who_faces_us_is_on_our_right(photos: PhotoCache) -> None:
    for seed in range(8):
        parts = cut_out(photos, 2, np.random.default_rng(seed), behind_share=0.0).parts_HW
        left, right = (np.argwhere(parts == PARTS.index(f"{side}-arm"))[:, 1] for side in ("left", "right"))
        assert left.min() > right.max()


def test_both_orientations_are_mirror_images_of_each_other(photos: PhotoCache) -> None:
    cutouts = [cut_out(photos, 2, np.random.default_rng(seed), behind_share=0.0) for seed in range(8)]
    first = cutouts[0]
    other = next(c for c in cutouts if not np.array_equal(c.parts_HW, first.parts_HW))
    assert np.array_equal(flip_labels(first.parts_HW), other.parts_HW)
    assert np.array_equal(first.image_HWC[:, ::-1], other.image_HWC)


def test_back_views_are_drawn_with_their_probability(photos: PhotoCache) -> None:
    def num_back_views(share: float) -> int:
        front, drawn = (
            [cut_out(photos, 2, np.random.default_rng(seed), behind_share=one) for seed in range(8)]
            for one in (0.0, share)
        )
        return sum(not np.array_equal(a.parts_HW, b.parts_HW) for a, b in zip(front, drawn, strict=True))

    assert num_back_views(0.0) == 0
    assert 0 < num_back_views(0.5) < 8
    assert num_back_views(1.0) == 8


def test_photos_with_a_higher_weight_come_up_more_often(photos: PhotoCache) -> None:
    weights = np.full(len(photos), 0.01)
    weights[5] = 1 - weights[:-1].sum()
    found = [
        int(scene.identities_N[0])
        for seed in range(10)
        for scene in draw_pair(
            photos, np.random.default_rng(seed), height=64, width=64, config=SINGLES, weights=weights
        )
    ]
    assert found.count(5) > 15


def test_a_cache_of_few_photos_draws_few_people(
    ccp_tree: Path, tmp_path: Path, make_hints: HintSource
) -> None:
    few = PhotoCache(ccp_tree, tmp_path, ["0001", "0002"], make_hints)
    for seed in SEEDS:
        for scene in pair(few, seed, COMPOSITES):
            assert 1 <= len(scene.identities_N) <= 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"composite_share": 1.2}, "composite_share must be in 0..1, got 1.2"),
        ({"max_people": 0}, "max_people must be at least 1, got 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ComposeConfig(**settings)  # type: ignore[arg-type]


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pasting_leaves_what_is_far_from_the_mask() -> None:
    below, above = noise(40, 50), noise(40, 50, seed=1)
    mask = np.zeros((40, 50), bool)
    mask[10:30, 15:35] = True
    pasted = blend_soft(below, above, mask, np.random.default_rng(0))
    outside = np.ones_like(mask)
    outside[10:30, 15:35] = False
    assert np.array_equal(pasted[outside], below[outside])
    assert np.abs(pasted[16:24, 21:29].astype(int) - above[16:24, 21:29]).max() <= 1
    assert np.array_equal(blend_soft(below, above, mask & False, np.random.default_rng(0)), below)


def test_a_poor_camera_changes_the_picture_and_never_the_labels(photos: PhotoCache) -> None:
    scene = pair(photos, 3, COMPOSITES)[0]
    changed = 0
    for seed in range(20):
        seen = degrade(scene, np.random.default_rng(seed))
        assert seen.image_HWC.shape == scene.image_HWC.shape
        assert seen.image_HWC.dtype == np.uint8
        assert seen.parts_HW is scene.parts_HW
        assert seen.instances_HW is scene.instances_HW
        changed += not np.array_equal(seen.image_HWC, scene.image_HWC)
    assert 5 < changed < 20


def test_colours_change_and_stay_colours() -> None:
    image = noise(20, 30)
    for seed in range(10):
        seen = jitter_colour(image, np.random.default_rng(seed))
        assert seen.shape == image.shape
        assert seen.dtype == np.uint8
        assert not np.array_equal(seen, image)
    unchanged = jitter_colour(image, np.random.default_rng(0), strength=0.0)
    assert np.abs(unchanged.astype(int) - image).max() <= 1


def test_textures_have_the_asked_size_and_differ() -> None:
    textures = [random_texture(np.random.default_rng(seed), 33, 65) for seed in range(4)]
    assert all(texture.shape == (33, 65, 3) for texture in textures)
    assert len({texture.tobytes() for texture in textures}) == 4
