"""Scenes in sharp surroundings: reproducible, true to their labels, and turned by any angle."""

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partstream_core.labels import FLIP_PAIRS, PARTS, VOID
from partstream_models.data.batches import BatchConfig, Batches
from partstream_models.data.people3d.cache import PeopleWriter, RenderedPerson, Traits
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.cutouts import Layer, Pose, paste, person_layer
from partstream_models.data.scenes.draw import SceneConfig, draw_scenes
from partstream_models.data.scenes.labelled import LabelledPicture
from partstream_models.data.scenes.pictures import PictureCache, PictureSource
from partstream_models.data.scenes.scene import Scene
from partstream_models.data.scenes.sources import SceneFolders, SceneSources, group_bodies

UInt8Array = NDArray[np.uint8]
SEEDS = range(16)
BODY_PART = PARTS.index("dress")


def rendered_person(body: int) -> RenderedPerson:
    """A rendered person made of one block."""
    alpha = np.zeros((80, 40), np.uint8)
    alpha[5:75, 8:32] = 255
    return RenderedPerson(
        image_HWC=np.full((80, 40, 3), 20 * body, np.uint8),
        alpha_HW=alpha,
        parts_HW=np.where(alpha > 0, BODY_PART, 0).astype(np.uint8),
        joints_J3=np.zeros((17, 3), np.float32),
        body=body,
        traits=Traits(age=30, gender=0.5, skin_tone=0.5, build=0.5),
        kind="standing",
        is_cut=False,
    )


def labelled_picture() -> LabelledPicture:
    """A picture with one person, whose parts are not known."""
    people = np.zeros((90, 120), np.uint8)
    people[20:80, 50:70] = 1
    people[:, 100:] = VOID
    parts = np.where(people > 0, VOID, 0).astype(np.uint8)
    return LabelledPicture(
        "made",
        np.full((90, 120, 3), 90, np.uint8),
        parts,
        people,
        np.where(people == 1, 9, 0).astype(np.uint8),
        np.zeros((1, 17, 3), np.float32),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Backdrops and things of noise, and a clip without anybody."""
    folder, rng = tmp_path_factory.mktemp("backdrops"), np.random.default_rng(0)
    for name, count in (("photos", 2), ("views", 3), ("things", 2), ("empty", 0)):
        (folder / name).mkdir()
        for number in range(count):
            pixels = rng.integers(0, 256, (60, 90, 4 if name == "things" else 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    writer = cv2.VideoWriter(str(folder / "empty/clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for number in range(30):
        writer.write(np.full((48, 64, 3), number * 8, np.uint8))
    writer.release()
    return folder


@pytest.fixture(scope="module")
def sources(photos: PhotoCache, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SceneSources:
    cache = tmp_path_factory.mktemp("caches") / "photos"
    bare = SceneFolders(cache, folder, folder / "empty").read(photos)
    assert bare is not None
    rendered = [rendered_person(body) for body in (1, 2, 1, 2, 3)]
    return replace(
        bare,
        rendered=rendered,
        bodies=group_bodies(person.body for person in rendered),
        labelled=[labelled_picture()] * 2,
    )


def test_a_folder_of_rendered_people_is_among_the_sources(
    photos: PhotoCache, folder: Path, tmp_path: Path
) -> None:
    with PeopleWriter(tmp_path / "rendered", recipe={}) as writer:
        for body in (7, 9, 7):
            writer.add(rendered_person(body))
    sources = SceneFolders(tmp_path / "photos", folder, rendered=tmp_path / "rendered").read(photos)
    assert sources is not None
    assert sources.bodies == ((0, 2), (1,))
    assert sources.num_identities == len(photos) + 2
    config = replace(COMPOSITES, rendered_share=1.0)
    seen = {identity for seed in SEEDS for identity in draw(sources, seed, config)[0].identities_N.tolist()}
    assert seen & {len(photos), len(photos) + 1}


def draw(sources: SceneSources, seed: int, config: SceneConfig) -> tuple[Scene, Scene]:
    return draw_scenes(sources, np.random.default_rng(seed), height=96, width=128, config=config)


PHOTOS = SceneConfig(empty_share=0, photo_share=1, labelled_share=0)
LABELLED = SceneConfig(empty_share=0, photo_share=0, labelled_share=1)
COMPOSITES = SceneConfig(empty_share=0, photo_share=0, labelled_share=0)
ALL = (PHOTOS, LABELLED, COMPOSITES, SceneConfig())


@pytest.mark.parametrize("config", ALL)
def test_the_same_seed_draws_the_same_scenes(sources: SceneSources, config: SceneConfig) -> None:
    copied = pickle.loads(pickle.dumps(sources))  # noqa: S301 - our own
    for seed in SEEDS:
        for one, other in zip(draw(sources, seed, config), draw(copied, seed, config), strict=True):
            assert np.array_equal(one.image_HWC, other.image_HWC)
            assert np.array_equal(one.parts_HW, other.parts_HW)
            assert np.array_equal(one.instances_HW, other.instances_HW)
            assert np.array_equal(one.identities_N, other.identities_N)


@pytest.mark.parametrize("config", ALL)
def test_parts_lie_on_people_and_people_are_numbered(sources: SceneSources, config: SceneConfig) -> None:
    drawn = [scene for seed in SEEDS for scene in draw(sources, seed, config)]
    for scene in drawn:
        assert scene.image_HWC.shape == (96, 128, 3)
        known = scene.parts_HW != VOID
        assert (scene.instances_HW[known & (scene.parts_HW > 0)] > 0).all()
        assert (scene.instances_HW[known & (scene.parts_HW == 0)] == 0).all()
        people = scene.instances_HW[scene.instances_HW != VOID]
        assert people.max(initial=0) <= len(scene.identities_N)
        assert scene.identities_N.max(initial=-1) < sources.num_identities
    assert sum(bool((scene.instances_HW == 1).any()) for scene in drawn) > len(drawn) / 2


def test_people_of_labelled_pictures_have_no_identity_and_unknown_parts(sources: SceneSources) -> None:
    for seed in SEEDS:
        for scene in draw(sources, seed, LABELLED):
            assert scene.identities_N.tolist() == [-1]
            assert scene.teacher_HW is not None
            assert (scene.parts_HW[scene.instances_HW == 1] == VOID).all()
            assert (scene.teacher_HW[scene.instances_HW == 1] == 9).all()


def test_two_composites_show_the_same_people(sources: SceneSources) -> None:
    config = replace(COMPOSITES, photo_backdrop_share=0, labelled_backdrop_share=0)
    seen: set[int] = set()
    for seed in SEEDS:
        one, other = draw(sources, seed, config)
        assert sorted(one.identities_N.tolist()) == sorted(other.identities_N.tolist())
        seen.update(one.identities_N.tolist())
    assert min(seen) < len(sources.photos) <= max(seen)  # photographed and rendered people


def test_an_empty_scene_has_nobody(sources: SceneSources) -> None:
    for seed in SEEDS:
        for scene in draw(sources, seed, replace(COMPOSITES, empty_share=1)):
            assert not scene.parts_HW.any()
            assert not scene.instances_HW.any()
            assert len(scene.identities_N) == 0


def blank_scene(side: int) -> Scene:
    planes = [np.zeros((side, side), np.uint8) for _ in range(3)]
    return Scene(np.zeros((side, side, 3), np.uint8), planes[0], planes[1], np.zeros(0, np.int64), planes[2])


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 37.0])
@pytest.mark.parametrize("height", [20.0, 60.0])
def test_a_pasted_layer_has_its_middle_size_and_angle(angle: float, height: float) -> None:
    solid = np.full((80, 40), 255, np.uint8)
    layer = Layer(np.full((80, 40, 3), 200, np.uint8), solid, np.full((80, 40), 3, np.uint8))
    scene = blank_scene(128)
    pose = Pose(height=height, x=63.5, y=63.5, angle=angle, stretch=1.0)
    paste(scene, layer, pose, 5)
    rows, columns = np.nonzero(scene.instances_HW == 5)
    assert rows.mean() == pytest.approx(63.5, abs=0.6)
    assert columns.mean() == pytest.approx(63.5, abs=0.6)
    assert len(rows) == pytest.approx(height * height / 2, rel=0.1)
    axis = np.linalg.eigh(np.cov(columns, rows))[1][:, 1] * np.sqrt(len(rows))
    expected = np.array([np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))]) * np.sqrt(len(rows))
    assert min(np.abs(axis - expected).max(), np.abs(axis + expected).max()) < 0.1 * np.sqrt(len(rows))
    assert np.array_equal(scene.parts_HW == 3, scene.instances_HW == 5)
    assert scene.image_HWC[64, 64].tolist() == [200, 200, 200]


def test_a_layer_outside_of_the_scene_changes_nothing() -> None:
    solid = np.full((10, 10), 255, np.uint8)
    layer = Layer(np.full((10, 10, 3), 200, np.uint8), solid, solid // 255)
    scene = blank_scene(32)
    paste(scene, layer, Pose(height=10, x=60, y=10, angle=30, stretch=1), 1)
    assert not scene.image_HWC.any()
    assert not scene.parts_HW.any()
    assert not scene.instances_HW.any()


def test_a_mirrored_rendered_person_exchanges_left_and_right(sources: SceneSources) -> None:
    left, right = FLIP_PAIRS[0]
    person = rendered_person(1)
    parts = np.where(person.parts_HW > 0, left, 0).astype(np.uint8)
    only = replace(sources, rendered=[replace(person, parts_HW=parts)], bodies=((0,),))
    found = {
        int(person_layer(only, len(only.photos), np.random.default_rng(seed), colour_seed=0).parts_HW.max())
        for seed in range(12)
    }
    assert found == {left, right}


def test_batches_draw_scenes_and_need_sources(photos: PhotoCache, sources: SceneSources) -> None:
    config = BatchConfig(batch_size=4, sizes=((64, 96),), scenes=SceneConfig())
    batch = Batches(photos, config, seed=1, sources=sources).draw(0)
    assert batch.images_BHWC.shape == (4, 64, 96, 3)
    assert batch.num_skipped == 0
    with pytest.raises(ValueError, match="scenes need sources"):
        Batches(photos, config, seed=1)


@pytest.mark.parametrize(
    "changes", [{"photo_share": 0.9, "labelled_share": 0.9}, {"max_people": 0}, {"smallest_person": 3.0}]
)
def test_a_config_out_of_range_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must add up|cannot be drawn"):
        SceneConfig(**changes)  # type: ignore[arg-type]


def test_pictures_and_every_25th_frame_are_kept(folder: Path, tmp_path: Path) -> None:
    sources = [PictureSource(folder=folder / name) for name in ("views", "empty")]
    cache = PictureCache(tmp_path / "cache", sources)
    assert [cache[number].shape for number in range(len(cache))] == [(60, 90, 3)] * 3 + [(48, 64, 3)] * 2
    expected = np.asarray(Image.open(folder / "views/1.png"))
    assert np.array_equal(cache[1], expected)
    before = (tmp_path / "cache/pictures.bin").stat().st_mtime_ns
    again = PictureCache(tmp_path / "cache", sources)
    assert (tmp_path / "cache/pictures.bin").stat().st_mtime_ns == before
    copied = pickle.loads(pickle.dumps(again))  # noqa: S301 - our own
    assert np.array_equal(copied[1], expected)


def test_a_damaged_picture_is_left_out_and_counted(folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    whole = (folder / "photos/0.png").read_bytes()
    (pictures / "a.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "b.png").write_bytes(whole)
    cache = PictureCache(tmp_path / "cache", [PictureSource(folder=pictures)])
    assert (len(cache), cache.num_skipped) == (1, 1)


def test_a_cache_that_was_cut_short_is_named(folder: Path, tmp_path: Path) -> None:
    sources = [PictureSource(folder=folder / "views")]
    PictureCache(tmp_path / "cache", sources)
    path = tmp_path / "cache/pictures.bin"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"is damaged: delete .*cache"):
        PictureCache(tmp_path / "cache", sources)


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder of pictures at"):
        PictureSource(folder=tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture can be read in"):
        PictureCache(tmp_path / "cache", [PictureSource(folder=tmp_path / "empty")])
