"""Training clips: reproducible, consistent with themselves, and with flow that leads to the same place."""

from dataclasses import replace

import numpy as np
import pytest

from partstream_core.labels import PARTS
from partstream_models.data.clips.camera import Look, draw_look, film
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import Clip, draw_clip
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.clips.layers import cut_sprite, garment
from partstream_models.data.clips.sheet import clip_sheet, paint_flow
from partstream_models.data.photos.cache import PhotoCache

CONFIG = ClipConfig(num_frames=4, empty_share=0.0, cut_share=0.0, garment_share=0.5)
SIZE = (96, 128)


def clip_of(photos: PhotoCache, number: int, config: ClipConfig = CONFIG) -> Clip:
    return draw_clip(photos, seed=7, number=number, height=SIZE[0], width=SIZE[1], config=config)


def test_a_clip_follows_from_seed_and_number_alone(photos: PhotoCache) -> None:
    for number in range(4):
        one, other = clip_of(photos, number), clip_of(photos, number)
        assert np.array_equal(one.images_THWC, other.images_THWC)
        assert np.array_equal(one.parts_THW, other.parts_THW)
        assert np.array_equal(one.instances_THW, other.instances_THW)
        assert np.array_equal(one.flow(0, 1).flow_HW2, other.flow(0, 1).flow_HW2)
    assert not np.array_equal(clip_of(photos, 0).images_THWC, clip_of(photos, 1).images_THWC)


def test_draws_in_a_row_are_of_different_clips_and_each_clip_has_its_share(photos: PhotoCache) -> None:
    draws = ClipDraws(photos=photos, size=SIZE, clip=CONFIG, seed=7, draws_a_clip=2, at_once=3)
    wanted = [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]
    for number, clip in [*enumerate(wanted), (1, 1)]:  # the last one goes back
        assert np.array_equal(draws.of_draw(number).images_THWC, clip_of(photos, clip).images_THWC), number
    assert draws.of_draw(1) is draws.of_draw(4)
    with pytest.raises(ValueError, match="0 draws of each of 3 clips"):
        replace(draws, draws_a_clip=0)


def test_a_pixel_has_a_part_exactly_where_it_has_a_person(photos: PhotoCache) -> None:
    seen = set()
    for number in range(12):
        clip = clip_of(photos, number)
        assert clip.images_THWC.shape == (4, *SIZE, 3)
        assert np.array_equal(clip.parts_THW > 0, clip.instances_THW > 0)
        assert clip.instances_THW.max() <= len(clip.identities_N)
        assert clip.parts_THW.max() < len(PARTS)
        seen |= set(np.unique(clip.instances_THW).tolist())
    assert len(seen) > 3


def test_a_row_is_the_same_person_in_every_frame(photos: PhotoCache) -> None:
    """Each photo's person wears a garment of their own, so two frames agree on who wears what."""
    wearable = set(range(1, 20)) - {PARTS.index(name) for name in ("hair", "face", "left-arm", "right-arm")}
    wearable -= set(range(PARTS.index("left-leg"), 20))
    checked = 0
    for number in range(10):
        clip = clip_of(photos, number)
        for row in range(1, len(clip.identities_N) + 1):
            worn = [
                set(np.unique(parts[instances == row]).tolist()) & wearable
                for parts, instances in zip(clip.parts_THW, clip.instances_THW, strict=True)
            ]
            worn = [each for each in worn if each]
            checked += len(worn) > 1
            assert len(set().union(*worn)) <= 2  # a garment, and skin between
    assert checked > 10


def test_flow_leads_to_the_same_person_and_part(photos: PhotoCache) -> None:
    agree, stayed = [], []
    for number in range(8):
        clip = clip_of(photos, number)
        flow = clip.flow(0, 2)
        y, x = np.nonzero(flow.visible_HW & (clip.instances_THW[0] > 0))
        to_x = np.rint(x + flow.flow_HW2[y, x, 0]).astype(int)
        to_y = np.rint(y + flow.flow_HW2[y, x, 1]).astype(int)
        assert ((to_x >= 0) & (to_y >= 0) & (to_x < SIZE[1]) & (to_y < SIZE[0])).all()
        code = clip.parts_THW + 20 * clip.instances_THW.astype(int)
        agree += (code[0][y, x] == code[2][to_y, to_x]).tolist()
        stayed += (code[0][y, x] == code[2][y, x]).tolist()
    assert np.mean(agree) > 0.93
    assert np.mean(agree) > np.mean(stayed) + 0.05


def test_flow_of_a_frame_to_itself_is_nothing_and_hides_nothing(photos: PhotoCache) -> None:
    flow = clip_of(photos, 2).flow(1, 1)
    assert np.abs(flow.flow_HW2).max() < 0.02
    assert flow.visible_HW.mean() > 0.999


def test_what_leaves_the_frame_is_not_visible(photos: PhotoCache) -> None:
    for number in range(8):
        flow = clip_of(photos, number).flow(0, 3)
        y, x = np.indices(SIZE)
        x_to, y_to = x + flow.flow_HW2[..., 0], y + flow.flow_HW2[..., 1]
        outside = (x_to < -1) | (y_to < -1) | (x_to > SIZE[1]) | (y_to > SIZE[0])
        assert not flow.visible_HW[outside].any()


def test_a_cut_keeps_identities_and_breaks_flow(photos: PhotoCache) -> None:
    for number in range(6):
        clip = clip_of(photos, number, replace(CONFIG, cut_share=1.0))
        first, second = clip.shots
        assert 0 == first.first < second.first < 4
        assert not clip.flow(second.first - 1, second.first).visible_HW.any()
        assert clip.flow(second.first, second.first).visible_HW.mean() > 0.99


def test_an_empty_clip_shows_nobody(photos: PhotoCache) -> None:
    clip = clip_of(photos, 0, replace(CONFIG, empty_share=1.0, garment_share=1.0))
    assert not clip.parts_THW.any() and not clip.instances_THW.any() and len(clip.identities_N) == 0


def test_a_garment_worn_by_nobody_has_no_parts(photos: PhotoCache) -> None:
    rng = np.random.default_rng(0)
    worn = cut_sprite(photos[0], rng, height=120)
    assert worn is not None and worn.parts_HW.max() > 0
    alone = garment(worn, rng)
    assert alone is not None
    assert alone.mask_HW.any() and not alone.parts_HW.any()


def test_a_frame_by_itself_is_a_scene(photos: PhotoCache) -> None:
    clip = clip_of(photos, 3)
    scene = clip.scene(2)
    assert np.array_equal(scene.parts_HW, clip.parts_THW[2])
    assert np.array_equal(scene.identities_N, clip.identities_N)


def test_a_camera_without_faults_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    assert np.array_equal(film(image, Look(), 0.5, np.random.default_rng(0)), image)


def test_every_camera_keeps_the_frame_s_shape() -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    looks = {draw_look(np.random.default_rng(seed)) for seed in range(60)}
    assert len(looks) > 30
    for look in looks:
        seen = film(image, look, 1.0, np.random.default_rng(1))
        assert seen.shape == image.shape and seen.dtype == np.uint8


def test_noise_differs_from_frame_to_frame() -> None:
    rng, image = np.random.default_rng(0), np.full((16, 16, 3), 128, np.uint8)
    assert not np.array_equal(film(image, Look(noise=8), 0, rng), film(image, Look(noise=8), 0, rng))


def test_the_sheet_has_a_column_a_frame_and_four_rows(photos: PhotoCache) -> None:
    assert clip_sheet(clip_of(photos, 1), every=2).shape == (4 * SIZE[0], 2 * SIZE[1], 3)
    assert np.unique(paint_flow(np.zeros((4, 4, 2), np.float32))).tolist() == [255]


@pytest.mark.parametrize(
    ("field", "value"), [("num_frames", 0), ("max_people", 0), ("smallest_person", 3.0), ("max_people", 300)]
)
def test_settings_that_make_no_sense_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=str(value)):
        ClipConfig(**{field: value})  # type: ignore[arg-type]


def test_people_of_a_group_stand_closer_together(photos: PhotoCache) -> None:
    def spread(share: float) -> float:
        config = ClipConfig(num_frames=1, group_share=share, leaving_share=0.0, empty_share=0.0)
        away = []
        for number in range(40):
            clip = draw_clip(photos, seed=3, number=number, height=96, width=160, config=config)
            rows = [np.nonzero(clip.instances_THW[0] == row + 1)[1] for row in range(len(clip.identities_N))]
            middles = [float(columns.mean()) for columns in rows if len(columns)]
            if len(middles) > 1:
                away.append(max(middles) - min(middles))
        return float(np.mean(away))

    assert spread(1.0) < 0.75 * spread(0.0)
