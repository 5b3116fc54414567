"""The CCP part maps: the mapping, the splits by hints, void, and the recorded hash."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from partstream_core.labels import PARTS, VOID
from partstream_evaluation import ccp

UInt8Array = NDArray[np.uint8]

# The published list, by number.
NAMES = (
    "null", "accessories", "bag", "belt", "blazer", "blouse", "bodysuit", "boots", "bra", "bracelet",
    "cape", "cardigan", "clogs", "coat", "dress", "earrings", "flats", "glasses", "gloves", "hair",
    "hat", "heels", "hoodie", "intimate", "jacket", "jeans", "jumper", "leggings", "loafers",
    "necklace", "panties", "pants", "pumps", "purse", "ring", "romper", "sandals", "scarf", "shirt",
    "shoes", "shorts", "skin", "skirt", "sneakers", "socks", "stockings", "suit", "sunglasses",
    "sweater", "sweatshirt", "swimwear", "t-shirt", "tie", "tights", "top", "vest", "wallet", "watch",
    "wedges",
)  # fmt: skip
HEIGHT, WIDTH = 96, 128


def labels(**blocks: tuple[slice, slice]) -> UInt8Array:
    """A label map with blocks of classes; `_` in a name stands for `-`."""
    label_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    for name, block in blocks.items():
        label_map[block] = NAMES.index(name.replace("_", "-"))
    return label_map


def hints(**channels: UInt8Array | int) -> UInt8Array:
    """A hint grid that is zero but for the given channels."""
    grid = np.zeros((len(ccp.HINTS), HEIGHT // 16 + 1, WIDTH // 16 + 1), np.uint8)
    for name, values in channels.items():
        grid[ccp.HINTS.index(name.replace("_", "-"))] = values
    return grid


def halves(left: int, right: int) -> UInt8Array:
    """A channel with one value in the left half of the picture and another in the right half."""
    grid = np.full((HEIGHT // 16 + 1, WIDTH // 16 + 1), left, np.uint8)
    grid[:, WIDTH // 32 :] = right
    return grid


def parts_in(part_map: UInt8Array, block: tuple[slice, slice]) -> set[str]:
    """Names of the parts in a block."""
    return {"void" if label == VOID else PARTS[label] for label in np.unique(part_map[block])}


def write_list(folder: Path, names: tuple[str, ...]) -> None:
    rows = "".join(f"{number}\t{name}\n" for number, name in enumerate(names))
    (folder / "label_list.txt").write_text(rows)


def test_the_published_list_is_taken(tmp_path: Path) -> None:
    write_list(tmp_path, NAMES)
    assert ccp.read_class_names(tmp_path) == NAMES
    assert len(NAMES) == ccp.NUM_CLASSES == 59


def test_every_class_has_a_part_of_the_label_set() -> None:
    assert set(ccp.PART_OF_CLASS) < set(NAMES)
    assert set(ccp.PART_OF_CLASS.values()) < set(PARTS)
    block = (slice(32, 64), slice(32, 64))
    for number, name in enumerate(NAMES):
        label_map = np.full((HEIGHT, WIDTH), NAMES.index("dress"), np.uint8)
        label_map[block] = number
        found = ccp.part_map(label_map, hints(face=255), NAMES)
        assert parts_in(found, block) == {EXPECTED.get(name, "dress")}, name


# Where no hint but the face speaks: skin is face, shoes are right ones, things on a dress become the dress.
EXPECTED = {
    **dict.fromkeys(("null", "bag", "purse", "wallet"), "background"),
    **dict.fromkeys(("blazer", "cape", "cardigan", "coat", "jacket", "suit"), "coat"),
    **dict.fromkeys(("blouse", "bodysuit", "bra", "hoodie", "intimate", "jumper", "shirt"), "upper-clothes"),
    **dict.fromkeys(("sweater", "sweatshirt", "swimwear", "t-shirt", "tie", "top", "vest"), "upper-clothes"),
    **dict.fromkeys(("jeans", "leggings", "panties", "pants", "shorts"), "pants"),
    **dict.fromkeys(("socks", "stockings", "tights"), "socks"),
    **dict.fromkeys(("glasses", "sunglasses"), "sunglasses"),
    **dict.fromkeys(("boots", "clogs", "flats", "heels", "loafers", "pumps", "sandals"), "right-shoe"),
    **dict.fromkeys(("shoes", "sneakers", "wedges"), "right-shoe"),
    **{name: name for name in ("gloves", "hair", "hat", "scarf", "skirt")},
    "skin": "face",
}


@pytest.mark.parametrize("names", [NAMES[:-1], (*NAMES[:-1], "socks"), (*NAMES, "umbrella")])
def test_another_list_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    write_list(tmp_path, names)
    with pytest.raises(ValueError, match="not CCP's list"):
        ccp.read_class_names(tmp_path)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"label_list\.txt"):
        ccp.read_class_names(tmp_path)


@pytest.mark.parametrize("value", [59, 255])
def test_a_class_that_ccp_has_not_is_refused(value: int) -> None:
    label_map = labels()
    label_map[3, 5] = value
    with pytest.raises(ValueError, match=f"class {value}"):
        ccp.part_map(label_map, hints(), NAMES)


@pytest.mark.parametrize("shape", [(9, 7, 9), (11, 7, 9), (7, 9)])
def test_hints_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"hints must be \[10, h, w\]"):
        ccp.part_map(labels(), np.zeros(shape, np.uint8), NAMES)


grids = st.tuples(st.just(2), st.integers(2, 4), st.integers(2, 4)).flatmap(
    lambda shape: hnp.arrays(np.uint8, shape)
)


@given(grid=grids)
def test_hints_are_exact_at_grid_points(grid: UInt8Array) -> None:
    height, width = (grid.shape[1] - 1) * 16 + 1, (grid.shape[2] - 1) * 16 + 1
    full = ccp.upsample_hints(grid, height, width)
    assert np.array_equal(full[:, ::16, ::16], grid.astype(np.int64) * 256)


@settings(max_examples=25)
@given(grid=grids, cut=st.tuples(st.integers(0, 15), st.integers(0, 15)))
def test_hints_between_grid_points_are_bilinear(grid: UInt8Array, cut: tuple[int, int]) -> None:
    height, width = (grid.shape[1] - 1) * 16 + 1 - cut[0], (grid.shape[2] - 1) * 16 + 1 - cut[1]
    places = np.mgrid[:height, :width] / 16
    for channel, full in zip(grid, ccp.upsample_hints(grid, height, width), strict=True):
        oracle = ndimage.map_coordinates(channel.astype(np.float64), places, order=1)
        assert np.allclose(full / 256, oracle, atol=1e-9)


def test_a_part_map_depends_on_its_inputs_alone_and_leaves_them_be() -> None:
    rng = np.random.default_rng(5)
    label_map = rng.integers(0, 59, (6, 8), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    grid = rng.integers(0, 256, hints().shape, dtype=np.uint8)
    before = label_map.copy(), grid.copy()
    first, second = ccp.part_map(label_map, grid, NAMES), ccp.part_map(label_map, grid, NAMES)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(label_map, before[0])
    assert np.array_equal(grid, before[1])


LEFT_BLOCK = (slice(70, 90), slice(10, 50))
RIGHT_BLOCK = (slice(70, 90), slice(78, 118))


def test_each_shoe_goes_where_feet_and_legs_point() -> None:
    label_map = labels(boots=LEFT_BLOCK)
    label_map[RIGHT_BLOCK] = NAMES.index("boots")
    facing = hints(left_foot=halves(0, 200), right_foot=halves(200, 0))  # the person faces the camera
    part_map = ccp.part_map(label_map, facing, NAMES)
    assert parts_in(part_map, LEFT_BLOCK) == {"right-shoe"}
    assert parts_in(part_map, RIGHT_BLOCK) == {"left-shoe"}
    away = ccp.part_map(label_map, hints(left_leg=halves(200, 0), right_leg=halves(0, 200)), NAMES)
    assert parts_in(away, LEFT_BLOCK) == {"left-shoe"}
    assert parts_in(away, RIGHT_BLOCK) == {"right-shoe"}


def test_two_large_shoes_are_one_of_each_even_if_both_look_left() -> None:
    label_map = labels(shoes=LEFT_BLOCK)
    label_map[RIGHT_BLOCK] = NAMES.index("shoes")
    part_map = ccp.part_map(label_map, hints(left_foot=halves(250, 180), right_foot=40), NAMES)
    assert parts_in(part_map, LEFT_BLOCK) == {"left-shoe"}
    assert parts_in(part_map, RIGHT_BLOCK) == {"right-shoe"}


def test_shoes_that_touch_are_told_apart_by_the_pixel() -> None:
    block = (slice(70, 90), slice(16, 112))
    part_map = ccp.part_map(
        labels(sneakers=block), hints(left_foot=halves(255, 0), right_foot=halves(0, 255)), NAMES
    )
    assert parts_in(part_map, (slice(70, 90), slice(16, 48))) == {"left-shoe"}
    assert parts_in(part_map, (slice(70, 90), slice(64, 112))) == {"right-shoe"}


@pytest.mark.parametrize(
    ("channel", "part"),
    [
        ("face", "face"),
        ("torso", "torso-skin"),
        ("left_arm", "left-arm"),
        ("right_arm", "right-arm"),
        ("left_leg", "left-leg"),
        ("right_leg", "right-leg"),
        ("left_foot", "left-leg"),
        ("right_foot", "right-leg"),
    ],
)
def test_skin_is_what_the_strongest_hint_says(channel: str, part: str) -> None:
    block = (slice(20, 60), slice(20, 60))
    weaker = hints(**dict.fromkeys((name.replace("-", "_") for name in ccp.HINTS[:8]), 30))
    weaker[ccp.HINTS.index(channel.replace("_", "-"))] = 90
    assert parts_in(ccp.part_map(labels(skin=block), weaker, NAMES), block) == {part}


def test_one_hand_is_never_half_left_and_half_right() -> None:
    block = (slice(20, 40), slice(30, 70))  # most of it lies in the left half
    unsure = hints(left_arm=halves(200, 100), right_arm=halves(100, 200))
    assert parts_in(ccp.part_map(labels(skin=block), unsure, NAMES), block) == {"left-arm"}


def test_a_suit_is_a_coat_above_and_pants_where_the_legs_are() -> None:
    legs = hints(torso=100)
    legs[ccp.HINTS.index("left-leg"), 4:] = 200
    part_map = ccp.part_map(labels(suit=(slice(0, 96), slice(32, 96))), legs, NAMES)
    assert parts_in(part_map, (slice(0, 48), slice(32, 96))) == {"coat"}
    assert parts_in(part_map, (slice(64, 96), slice(32, 96))) == {"pants"}


def test_things_become_what_they_lie_on() -> None:
    label_map = labels(dress=(slice(0, 60), slice(20, 60)), belt=(slice(30, 36), slice(20, 60)))
    label_map[60:90, 20:60] = NAMES.index("skirt")
    label_map[84:88, 20:60] = NAMES.index("watch")
    part_map = ccp.part_map(label_map, hints(), NAMES)
    assert parts_in(part_map, (slice(30, 36), slice(20, 60))) == {"dress"}
    assert parts_in(part_map, (slice(84, 88), slice(20, 60))) == {"skirt"}


def test_a_thing_far_from_everybody_stays_background() -> None:
    block = (slice(10, 20), slice(100, 110))
    part_map = ccp.part_map(labels(necklace=block, dress=(slice(10, 20), slice(10, 20))), hints(), NAMES)
    assert parts_in(part_map, block) == {"background"}
    assert parts_in(ccp.part_map(labels(ring=block), hints(), NAMES), block) == {"background"}


def test_a_bystander_is_void_and_the_labelled_person_is_not() -> None:
    person = (slice(10, 90), slice(4, 30))
    part_map = ccp.part_map(labels(dress=person), hints(person=halves(0, 255)), NAMES)
    assert parts_in(part_map, person) == {"dress"}
    assert parts_in(part_map, (slice(0, HEIGHT), slice(80, WIDTH))) == {"void"}
    assert parts_in(part_map, (slice(0, HEIGHT), slice(30, 36))) == {"background"}


def test_people_the_second_network_sees_around_the_labelled_one_are_no_bystanders() -> None:
    person = (slice(0, 96), slice(24, 104))
    part_map = ccp.part_map(labels(dress=person), hints(person=255), NAMES)
    assert parts_in(part_map, person) == {"dress"}
    assert VOID not in part_map[:, 0:24]  # nearer than a bystander stands


def test_body_that_the_labels_leave_out_is_void() -> None:
    person, missed = (slice(0, 60), slice(40, 80)), (slice(68, 90), slice(44, 76))
    seen = hints(person=255, body=255)
    part_map = ccp.part_map(labels(jeans=person), seen, NAMES)
    assert parts_in(part_map, person) == {"pants"}
    assert parts_in(part_map, missed) == {"void"}


def test_a_photo_without_labels_is_void_as_a_whole() -> None:
    assert (ccp.part_map(labels(), hints(), NAMES) == VOID).all()


@given(
    label_map=hnp.arrays(np.uint8, (3, 4), elements=st.integers(0, 58)),
    grid=hnp.arrays(np.uint8, (10, 3, 4)),
)
@settings(max_examples=40, deadline=None)
def test_part_maps_hold_parts_and_void_only(label_map: UInt8Array, grid: UInt8Array) -> None:
    big = label_map.repeat(8, axis=0).repeat(8, axis=1)
    part_map = ccp.part_map(big, grid, NAMES)
    assert part_map.shape == big.shape
    assert set(np.unique(part_map)) <= {*range(len(PARTS)), VOID}
    garment = np.isin(big, [NAMES.index(name) for name in ("dress", "hair", "hat", "scarf", "jeans")])
    assert not np.isin(part_map[garment], [0, VOID]).any()


def test_a_label_map_that_is_no_label_map_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        ccp.read_label_map(tmp_path / "none.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    with pytest.raises(ValueError, match="not an 8-bit label map"):
        ccp.read_label_map(tmp_path / "colour.png")
    noise = np.random.default_rng(0).integers(0, 59, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    assert np.array_equal(ccp.read_label_map(tmp_path / "whole.png"), noise)
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"half\.png"):
        ccp.read_label_map(tmp_path / "half.png")


def test_another_list_of_validation_photos_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"val\.txt"):
        ccp.validation_ids(tmp_path)
    write_list(tmp_path, NAMES)
    (tmp_path / "val.txt").write_text("9999\n")
    with pytest.raises(ValueError, match="'9999'"):
        list(ccp.validation_part_maps(tmp_path))


def test_the_hash_sees_every_pixel_id_and_size() -> None:
    plain = np.arange(12, dtype=np.uint8).reshape(3, 4)
    changed = plain.copy()
    changed[2, 3] += 1
    variants = [
        [("0001", plain), ("0002", plain)],
        [("0002", plain), ("0001", plain)],
        [("0001", plain)],
        [("0001", plain), ("0002", changed)],
        [("0001", plain), ("0002", plain.reshape(4, 3))],
    ]
    assert len({ccp.sha256_of(maps) for maps in variants}) == len(variants)
    assert ccp.sha256_of(variants[0]) == ccp.sha256_of(iter(variants[0]))


@pytest.mark.slow
def test_the_validation_maps_are_the_recorded_ones(data_dir: Path) -> None:
    maps = dict(ccp.validation_part_maps(data_dir / "ccp"))
    assert tuple(maps) == ccp.validation_ids(data_dir / "ccp")
    assert len(maps) == 100
    assert ccp.sha256_of(maps.items()) == ccp.VALIDATION_SHA256
    seen = set(np.unique(np.concatenate([part_map.ravel() for part_map in maps.values()])))
    assert seen == {*range(len(PARTS)), VOID}
