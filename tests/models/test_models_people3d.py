"""Rendered people: geometry without a renderer, and pictures where anny, EGL and the assets are there."""

import gzip
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partstream_core.labels import PALETTE, PARTS
from partstream_models.commands import people3d as build
from partstream_models.data.people3d import motions, split, textures
from partstream_models.data.people3d.body import BodyModel
from partstream_models.data.people3d.cache import PeopleWriter, RenderedPerson, Traits
from partstream_models.data.people3d.characters import Looks
from partstream_models.data.people3d.engine import PeopleEngine, bleed
from partstream_models.data.people3d.garments import Garment, components
from partstream_models.data.people3d.meshes import Binding, make_surface, read_json_garment, read_mhclo
from partstream_models.data.people3d.people import Worn
from partstream_models.data.people3d.pose import (
    POINTS,
    Poser,
    Rig,
    about,
    bone_transforms,
    halfway,
    skin,
    swing,
)
from partstream_models.data.people3d.renderer import average
from partstream_models.data.people3d.scene import KIND_PLAIN, Material

CUBE = """mtllib none
v 0 0 0
v 1 0 0
v 1 1 0
vt 0 0
vt 1 0
vt 1 1
g cloth
f 1/1 2/2 3/3
"""
MHCLO = """# comment
obj_file cloth.obj
x_scale 0 1 10.0
z_scale 0 2 10.0
y_scale 0 3 10.0
verts 0
material cloth.mhmat
3
0 1 2 0.5 0.25 0.25 0.1 0.2 0.3
1
delete_verts
4 - 6 9
"""


def write_garment(folder: Path, text: str = MHCLO) -> Path:
    (folder / "cloth.obj").write_text(CUBE)
    path = folder / "cloth.mhclo"
    path.write_text(text)
    return path


def test_a_garment_lies_where_its_base_vertices_are(tmp_path: Path) -> None:
    mesh = read_mhclo(write_garment(tmp_path))
    garment = Garment("cloth", mesh.surface, mesh.binding, np.zeros(1, np.int64), "")
    base = np.zeros((10, 3), np.float32)
    base[1], base[2], base[3] = (
        (2, 0, 0),
        (0, 2, 0),
        (0, 0, 4),
    )  # 2, 2 and 4 times the scale
    fitted = garment.fitted(base)
    assert fitted[0] == pytest.approx(base[3])
    # MakeHuman's offset (x .1, y .2 up, z .3 front) decimetres is (.01 left, -.03 back, .02 up) metres here
    expected = 0.25 * base[1] + 0.25 * base[2] + np.array([0.01 * 2, -0.03 * 2, 0.02 * 4])
    assert fitted[1] == pytest.approx(expected, abs=1e-6)
    assert np.flatnonzero(mesh.binding.deleted).tolist() == [4, 5, 6, 9]


@pytest.mark.parametrize("text", ["", "obj_file cloth.obj\nverts 0\n1 2", "verts 0\n3\n4\n5\n"])
def test_a_damaged_garment_names_its_file(tmp_path: Path, text: str) -> None:
    path = write_garment(tmp_path, text)
    with pytest.raises(ValueError, match=str(path)):
        read_mhclo(path)


def test_a_garment_as_json_has_the_faces_of_its_masks(tmp_path: Path) -> None:
    path = tmp_path / "cloth.json.gz"
    data = {
        "metadata": {},
        "uvs": [[0, 0, 1, 0, 1, 1, 0, 1]],
        "faces": [11, 0, 1, 2, 3, 0, 0, 1, 2, 3, 10, 0, 1, 2, 0, 3, 2, 1],  # a quad and a triangle
        "deleteVerts": [0, 1],
        "offsets": [[0, 0, 0]] * 4,
        "weights": [[1, 0, 0]] * 4,
        "ref_vIdxs": [[0, 1, 2]] * 4,
    }
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    mesh = read_json_garment(path)
    triangles = mesh.surface.vertex_N[mesh.surface.triangles_T3]
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.surface.uv_N2[mesh.surface.triangles_T3[2]].tolist() == [[0, 1], [1, 1], [1, 0]]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"cannot read the garment {path}"):
        read_json_garment(path)


def test_triangles_that_share_a_vertex_are_one_component() -> None:
    faces = [[(0, -1), (1, -1), (2, -1)], [(2, -1), (3, -1), (4, -1)], [(5, -1), (6, -1), (7, -1)]]
    first, second, third = components(make_surface(faces, np.zeros((0, 2), np.float32)))
    assert first == second != third


RIG = Rig(
    (
        "root", "spine05", "spine01", "neck01", "head",
        *(f"{bone}.{mark}" for mark in "LR" for bone in ("clavicle", "upperarm01", "lowerarm01", "wrist")),
        *(f"{bone}.{mark}" for mark in "LR" for bone in ("upperleg01", "lowerleg01", "foot", "toe1-1")),
    ),
    (-1, 0, 1, 2, 3, 2, 5, 6, 7, 2, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19),
)  # fmt: skip
HEADS = np.array(
    [
        [0, 0, 0], [0, 0, 0.1], [0, 0, 0.4], [0, 0, 0.55], [0, 0, 0.6],
        [0.03, 0, 0.5], [0.2, 0, 0.5], [0.4, 0, 0.3], [0.55, -0.1, 0.15],
        [-0.03, 0, 0.5], [-0.2, 0, 0.5], [-0.4, 0, 0.3], [-0.55, -0.1, 0.15],
        [0.1, 0, 0], [0.12, 0, -0.45], [0.14, 0, -0.9], [0.14, -0.15, -0.95],
        [-0.1, 0, 0], [-0.12, 0, -0.45], [-0.14, 0, -0.9], [-0.14, -0.15, -0.95],
    ],
    np.float32,
)  # fmt: skip
ENDS = {"elbow": "lowerarm01", "wrist": "wrist", "knee": "lowerleg01", "ankle": "foot"}


def some_pose(seed: int) -> dict[str, np.ndarray]:
    """Points of a body whose limbs point anywhere."""
    rng = np.random.default_rng(seed)
    spin = about(rng.normal(size=3), float(rng.uniform(0, 3)))
    points = {}
    for side, sign in (("left", 1), ("right", -1)):
        for start, middle, end, at in (
            ("shoulder", "elbow", "wrist", (0.2 * sign, 0, 0.5)),
            ("hip", "knee", "ankle", (0.1 * sign, 0, 0)),
        ):
            first, second = rng.normal(size=(2, 3))
            points[f"{side}_{start}"] = np.array(at)
            points[f"{side}_{middle}"] = points[f"{side}_{start}"] + 0.4 * first / np.linalg.norm(first)
            points[f"{side}_{end}"] = points[f"{side}_{middle}"] + 0.4 * second / np.linalg.norm(second)
        points[f"{side}_toe"] = points[f"{side}_ankle"] + np.array([0, -0.1, -0.05])
    points["chest"], points["neck"], points["head"] = np.array([[0, 0, 0.5], [0, 0, 0.55], [0, -0.02, 0.68]])
    assert set(points) == set(POINTS)
    return {name: spin @ point for name, point in points.items()}


@pytest.mark.parametrize("seed", range(12))
def test_limbs_point_where_the_points_of_a_pose_do(seed: int) -> None:
    points = some_pose(seed)
    turns = Poser(RIG, HEADS).rotations(points)
    assert np.einsum("bij,bkj->bik", turns, turns) == pytest.approx(
        np.broadcast_to(np.eye(3), turns.shape), abs=1e-9
    )
    placed = bone_transforms(RIG, HEADS, turns)
    posed = np.einsum("bij,bj->bi", placed[:, :, :3], HEADS) + placed[:, :, 3]
    for side, mark in (("left", "L"), ("right", "R")):
        for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
            bones = [
                RIG.index(f"{ENDS.get(name, 'upperarm01' if name == 'shoulder' else 'upperleg01')}.{mark}")
                for name in (start, end)
            ]
            found = posed[bones[1]] - posed[bones[0]]
            wanted = points[f"{side}_{end}"] - points[f"{side}_{start}"]
            cosine = found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted)
            assert cosine > 0.9999, (side, start, end)


def test_a_bent_knee_turns_the_thigh_until_the_shin_lies_behind_it() -> None:
    points = some_pose(0) | {
        "left_hip": np.array([0.1, 0, 0]), "right_hip": np.array([-0.1, 0, 0]),
        "chest": np.array([0, 0, 0.5]),
        "left_shoulder": np.array([0.2, 0, 0.5]), "right_shoulder": np.array([-0.2, 0, 0.5]),
        "left_knee": np.array([0.1, -0.3, -0.3]), "left_ankle": np.array([0.5, -0.3, -0.4]),
    }  # fmt: skip
    turns = Poser(RIG, HEADS).rotations(points)
    thigh = turns[RIG.index("upperleg01.L")]
    shin = points["left_ankle"] - points["left_knee"]
    behind = thigh @ np.array([0.0, 1.0, 0.0])
    left = thigh @ np.array([1.0, 0.0, 0.0])
    assert behind @ shin > 0
    assert abs(left @ shin) < 0.1 * np.linalg.norm(shin)


def test_halfway_and_swing_agree_with_turning_about_one_axis() -> None:
    axis, angle = np.array([0.3, -0.5, 0.8]), 1.3
    assert halfway(np.eye(3), about(axis, angle), 0.4) == pytest.approx(about(axis, 0.4 * angle), abs=1e-9)
    start = np.cross(axis, [1.0, 0, 0])
    assert swing(start, about(axis, angle) @ start) == pytest.approx(about(axis, angle), abs=1e-9)
    assert swing(start, -start) @ start == pytest.approx(-start, abs=1e-9)


def test_skin_follows_one_bone_rigidly() -> None:
    turns = Poser(RIG, HEADS).rotations(some_pose(3))
    moves = bone_transforms(RIG, HEADS, turns)
    weights = np.zeros((2, len(RIG.bones)), np.float32)
    weights[:, RIG.index("wrist.R")] = 1
    pair = HEADS[[RIG.index("wrist.R"), RIG.index("lowerarm01.R")]]
    posed = skin(pair, weights, moves)
    assert np.linalg.norm(posed[0] - posed[1]) == pytest.approx(np.linalg.norm(pair[0] - pair[1]), rel=1e-5)


def test_samples_of_a_pixel_vote_for_its_part_and_leave_background_out() -> None:
    labels = np.array([[5, 5, 0, 0], [5, 9, 0, 9]], np.uint8)
    color = np.zeros((2, 4, 4), np.uint8)
    color[labels > 0] = (100, 50, 20, 255)
    picture = average(color, labels, np.ones((2, 4), np.float32))
    assert picture.parts_HW.tolist() == [[5, 9]]
    assert picture.alpha_HW.tolist() == [[255, 63]]
    assert picture.image_HWC.tolist() == [[[100, 50, 20], [100, 50, 20]]]


def test_colours_run_on_outside_of_the_person() -> None:
    image, alpha = np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8)
    image[:, :10], alpha[:, :10] = (200, 100, 50), 255
    full = bleed(image, alpha)
    assert full[:, :10].tolist() == image[:, :10].tolist()
    assert np.abs(full[:, 10:13].astype(int) - [200, 100, 50]).max() <= 2


@pytest.mark.parametrize("kind", textures.CLOTHS)
def test_cloth_is_the_same_for_a_seed_and_other_for_another(kind: str) -> None:
    first = textures.draw_cloth(kind, 4)
    assert np.array_equal(first, textures.draw_cloth(kind, 4))
    assert not np.array_equal(first, textures.draw_cloth(kind, 5))


def test_the_largest_square_lies_in_the_mask_and_is_nearly_as_large_as_can_be() -> None:
    mask = np.zeros((200, 150), bool)
    mask[20:120, 10:140] = True
    square = textures.largest_square(mask)
    assert square is not None
    row, column, side = square
    assert mask[row : row + side, column : column + side].all()
    assert side >= 92
    assert textures.largest_square(mask[:50, :30]) is None


def test_mirrored_cloth_repeats_without_a_seam() -> None:
    cloth = textures.mirrored(np.random.default_rng(1).integers(0, 256, (90, 90, 3), np.uint8))
    assert np.array_equal(cloth[0], cloth[-1])
    assert np.array_equal(cloth[:, 0], cloth[:, -1])


def test_the_sides_of_the_split_share_no_asset() -> None:
    names = [*sorted(split.HELD_OUT), "free", "also free"]
    train, benchmark = split.allowed(names, "train"), split.allowed(names, "benchmark")
    assert train == ("free", "also free")
    assert set(benchmark) == split.HELD_OUT
    assert split.allowed(["free"], "benchmark") == ("free",)
    assert split.split_of(split.FIRST_BENCHMARK_BODY - 1) == "train"
    assert split.split_of(split.FIRST_BENCHMARK_BODY) == "benchmark"


def test_recorded_people_stand_upright_with_their_left_on_their_left(data_dir: Path) -> None:
    folder = data_dir / "mocap"
    for name in ("02_01.amc.gz", "cmu_bvh/005_01.bvh.gz", "deepmimic/humanoid3d_walk.txt.gz"):
        motion = motions.read(folder, name)
        points = {key: track.mean(axis=0) for key, track in motion.frame_range(0, 10).items()}
        middle = (points["left_hip"] + points["right_hip"]) / 2
        up = points["chest"] - middle
        left = points["left_hip"] - points["right_hip"]
        toes = (points["left_toe"] + points["right_toe"] - points["left_ankle"] - points["right_ankle"]) / 2
        assert up[2] > 0.9 * np.linalg.norm(up), name
        assert points["left_ankle"][2] < middle[2] < points["head"][2], name
        assert np.cross(left, up) @ toes > 0, f"{name}: the toes point to the front"


def test_a_damaged_recording_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "02_01.amc.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"cannot read the motion .*02_01\.amc\.gz"):
        motions.read(tmp_path, "02_01.amc.gz")
    with pytest.raises(ValueError, match=f"no recorded motions in {tmp_path / 'none'}"):
        motions.names(tmp_path / "none")


@pytest.fixture(scope="module")
def engine(data_dir: Path) -> PeopleEngine:
    for module in ("anny", "moderngl"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed (partstream-models[people3d])")
    if not (data_dir / "people3d").is_dir():
        pytest.skip(f"no assets of people in {data_dir}")
    try:
        return PeopleEngine(data_dir)
    except ValueError as error:
        if "EGL" not in str(error):
            raise
        pytest.skip(str(error))


def rendered(engine: PeopleEngine, number: int) -> list[RenderedPerson]:
    return list(engine.pictures(engine.subject(number), 2))


@pytest.mark.slow
def test_a_number_is_always_the_same_person(engine: PeopleEngine) -> None:
    first, again = rendered(engine, 12), rendered(engine, 12)
    other = rendered(engine, 13)
    for one, same in zip(first, again, strict=True):
        assert np.array_equal(one.parts_HW, same.parts_HW)
        assert np.abs(one.image_HWC.astype(int) - same.image_HWC).max() <= 2
        assert one.body == 12
    assert first[0].traits != other[0].traits
    assert first[0].parts_HW.shape != first[1].parts_HW.shape  # another pose or camera


@pytest.mark.slow
def test_parts_lie_where_the_person_is_and_joints_on_their_parts(engine: PeopleEngine) -> None:
    hits, tries = 0, 0
    for number in range(20, 26):
        for person in rendered(engine, number):
            assert ((person.parts_HW > 0) == (person.alpha_HW > 0)).all()
            assert max(person.alpha_HW.shape) <= 408
            for joint, names in ((0, ("face",)), (9, ("left-arm", "gloves")), (10, ("right-arm", "gloves"))):
                x, y, visible = person.joints_J3[joint]
                if visible:
                    tries += 1
                    hits += PARTS[person.parts_HW[int(y), int(x)]] in names
    assert tries >= 8
    assert hits >= 0.6 * tries  # sleeves, hats and scarves may lie over a joint


@pytest.mark.slow
def test_a_body_grows_from_child_to_adult(engine: PeopleEngine) -> None:
    model: BodyModel = engine.studio.model
    heights = [np.ptp(model.make({"age": age}).vertices_V3[:13380, 2]) for age in (-1 / 3, 0, 1 / 3, 2 / 3)]
    assert heights == sorted(heights)
    assert heights[0] < 0.7
    assert 1.5 < heights[-1] < 1.9


def test_missing_assets_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no skin textures in {tmp_path / 'people3d' / 'skins'}"):
        PeopleEngine(tmp_path)


def test_a_binding_without_scale_adds_its_offsets_as_they_are() -> None:
    binding = Binding(
        np.array([[0, 0, 0]]), np.array([[1, 0, 0]], np.float32), np.array([[0.1, 0.2, 0.3]], np.float32), (),
        np.zeros(1, bool),
    )  # fmt: skip
    surface = make_surface([[(0, -1), (0, -1), (0, -1)]], np.zeros((0, 2), np.float32))
    garment = Garment("one", surface, binding, np.zeros(1, np.int64), "")
    assert garment.fitted(np.ones((1, 3), np.float32)) == pytest.approx(np.array([[1.1, 1.2, 1.3]]))


def test_a_recipe_is_hashed_and_stays_on_one_side_of_the_split() -> None:
    train = build.make_recipe(bodies=10, views=3, first=5, benchmark=False)
    assert train["split"] == "train"
    assert train == build.make_recipe(bodies=10, views=3, first=5, benchmark=False)
    held_out = build.make_recipe(bodies=10, views=3, first=5, benchmark=True)
    assert held_out["split"] == "benchmark"
    assert held_out["first"] == split.FIRST_BENCHMARK_BODY + 5
    assert train["sha256"] != held_out["sha256"]
    with pytest.raises(ValueError, match="on both sides of the split"):
        build.make_recipe(bodies=10, views=3, first=split.FIRST_BENCHMARK_BODY - 5, benchmark=False)


def test_the_contact_sheet_shows_pictures_beside_their_parts(tmp_path: Path) -> None:
    picture = np.zeros((40, 20, 3), np.uint8)
    joints = np.zeros((17, 3), np.float32)
    parts = np.full((40, 20), 5, np.uint8)
    alpha = np.full((40, 20), 255, np.uint8)
    traits = Traits(age=30.0, gender=0.5, skin_tone=0.5, build=0.5)
    with PeopleWriter(tmp_path / "cache", {}) as writer:
        for number in range(3):
            writer.add(RenderedPerson(picture, alpha, parts, joints, number, traits, "lying", is_cut=False))
    out = tmp_path / "sheet.png"
    build.sheet(out, tmp_path / "cache", columns=2)
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (2 * 300, 2 * 600, 3)
    assert sheet[150, 70].tolist() == [0, 0, 0]
    assert sheet[150, 370].tolist() == PALETTE[5].tolist()


@pytest.mark.slow
def test_what_is_worn_outside_hides_what_is_below(engine: PeopleEngine) -> None:
    studio = engine.studio
    body = studio.model.template
    looks = Looks("", (1.0, 1.0, 1.0), (0.1, 0.1, 0.1), None, is_shaved=False, hair="", hair_color=(0, 0, 0))
    plain = Material(KIND_PLAIN, tint=(0.5, 0.5, 0.5))
    top = Worn(studio.tailor.top(hem=0.1, sleeve=1.9, neck=0.55, width=0.1), plain)
    coat = Worn(
        studio.tailor.top(hem=0.0, sleeve=1.95, neck=0.58, width=0.08, offset=0.02, part="coat"), plain
    )
    alone, covered = studio.dress(body, looks, [top]), studio.dress(body, looks, [top, coat])
    shown = [(person.pieces[-1 - below].cut_N >= 0).mean() for person, below in ((alone, 0), (covered, 1))]
    assert shown[0] > 0.5
    assert shown[1] < 0.2
