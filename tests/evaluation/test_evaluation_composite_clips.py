"""The composite benchmark: its people, its ranges, its truth, and its recipe."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core.labels import PARTS, VOID, flip_labels
from partstream_evaluation.composite.backdrop import draw_texture, paint_out
from partstream_evaluation.composite.people import Cutout, blend, cut_out, draw, mirrored, shrunk, upper_body
from partstream_evaluation.composite.plan import Plan, draw_plan, find_plan, fits, measure
from partstream_evaluation.composite.recipe import FORMATS, LEVELS, Clip, Recipe, published
from partstream_evaluation.composite.render import RenderedFrame, draw_look, render, render_flow
from partstream_evaluation.composite.source import Source
from partstream_evaluation.composite.truth import make_benchmark, small_people

UInt8Array = NDArray[np.uint8]
RECIPE = Recipe(num_frames=12)
HEAD, BODY, LEFT, RIGHT = (PARTS.index(name) for name in ("face", "coat", "left-shoe", "right-shoe"))


def draw_person(number: int) -> tuple[UInt8Array, UInt8Array]:
    """A person of blocks, each part in a colour of its own."""
    parts = np.zeros((240, 120), np.uint8)
    parts[10:60, 40:80] = HEAD
    parts[60:200, 20 + number % 9 : 100] = BODY
    parts[200:230, 25:55] = RIGHT
    parts[200:230, 65:95] = LEFT
    colours = np.random.default_rng(number).integers(0, 256, (256, 3))
    return colours[parts].astype(np.uint8), parts


@pytest.fixture(scope="module")
def people() -> dict[str, Cutout]:
    return {f"{number:04d}": cut_out(f"{number:04d}", *draw_person(number)) for number in range(12)}


@pytest.fixture(scope="module")
def easy(people: dict[str, Cutout]) -> Plan:
    return find_plan(RECIPE, Clip(LEVELS[0], FORMATS[0], 0), people)


@pytest.fixture(scope="module")
def medium(people: dict[str, Cutout]) -> Plan:
    return find_plan(RECIPE, Clip(LEVELS[1], FORMATS[0], 8), people)


def frames_of(plan: Plan) -> list[RenderedFrame]:
    rng = np.random.default_rng(3)
    return list(render(plan, draw_texture(rng, 300, 500), draw_look(rng), rng))


def test_a_cut_out_keeps_the_parts_and_leaves_void_and_small_pieces_behind() -> None:
    image, parts = draw_person(1)
    parts[100:110, 30:40] = VOID
    parts[5:8, 5:8] = BODY
    found = cut_out("0001", image, parts)
    kept = np.where(parts == VOID, 0, parts)[10:230]
    assert np.count_nonzero(found.parts_HW) == np.count_nonzero(kept)
    assert found.parts_HW.shape[0] == 220
    assert found.width == pytest.approx(found.parts_HW.shape[1] / 220)


def test_a_photo_of_nobody_cannot_be_cut_out() -> None:
    with pytest.raises(ValueError, match="0007 shows nobody"):
        cut_out("0007", np.zeros((20, 20, 3), np.uint8), np.full((20, 20), VOID, np.uint8))


def test_a_cut_out_drawn_in_its_own_place_is_itself(people: dict[str, Cutout]) -> None:
    cutout = people["0003"]
    height, width = cutout.parts_HW.shape
    y, x = np.mgrid[:height, :width]
    drawn = draw(cutout, (np.stack([x, y], axis=-1) + 0.5) / height)
    assert np.array_equal(drawn.parts_HW, cutout.parts_HW)
    assert np.array_equal(drawn.rgba_HW4, cutout.rgba_HW4)


def test_a_mirror_swaps_left_and_right(people: dict[str, Cutout]) -> None:
    cutout = people["0004"]
    assert np.array_equal(mirrored(cutout).parts_HW, flip_labels(cutout.parts_HW))
    assert np.array_equal(mirrored(mirrored(cutout)).rgba_HW4, cutout.rgba_HW4)


def test_a_small_copy_and_an_upper_body_keep_their_proportions(people: dict[str, Cutout]) -> None:
    cutout = people["0002"]
    assert shrunk(cutout, 110).width == pytest.approx(cutout.width, rel=0.02)
    assert shrunk(cutout, 9999) is cutout
    assert upper_body(cutout, 0.5).parts_HW.shape[0] == 110


def test_blending_shows_either_side_at_the_ends() -> None:
    below, above = np.full((4, 4, 3), 10, np.uint8), np.full((4, 4, 4), 200, np.uint8)
    above[..., 3] = np.array([0, 0, 255, 255])
    assert np.unique(blend(below, above)).tolist() == [10, 200]


def test_painting_out_leaves_nothing_of_what_stood_there() -> None:
    wall = np.tile(np.arange(160, dtype=np.uint8)[:, None, None], (1, 200, 3))
    people = np.zeros((160, 200), bool)
    people[40:140, 80:110] = True
    photo = wall.copy()
    photo[people] = (255, 0, 255)
    assert np.abs(paint_out(photo, people).astype(int) - wall).max() <= 3


def test_a_photo_that_is_all_people_cannot_be_painted() -> None:
    with pytest.raises(ValueError, match="whole photo"):
        paint_out(np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), bool))


def test_the_same_attempt_draws_the_same_clip(easy: Plan, people: dict[str, Cutout]) -> None:
    again = draw_plan(RECIPE, easy.clip, people, easy.attempt)
    for one, other in zip(frames_of(easy), frames_of(again), strict=True):
        assert np.array_equal(one.image_HWC, other.image_HWC)
        assert np.array_equal(one.parts_HW, other.parts_HW)
        assert np.array_equal(one.instances_HW, other.instances_HW)


def test_another_attempt_is_another_clip(easy: Plan, people: dict[str, Cutout]) -> None:
    other = draw_plan(RECIPE, easy.clip, people, easy.attempt + 1)
    assert not np.array_equal(frames_of(easy)[0].parts_HW, frames_of(other)[0].parts_HW)


def test_a_pixel_has_a_part_exactly_where_it_has_a_person(medium: Plan) -> None:
    for frame in frames_of(medium):
        assert np.array_equal(frame.parts_HW > 0, frame.instances_HW > 0)
        assert set(np.unique(frame.parts_HW)) <= {0, HEAD, BODY, LEFT, RIGHT}


def test_a_level_bounds_what_is_drawn_and_not_only_what_was_estimated(medium: Plan) -> None:
    """The share that is hidden, at full resolution and in every frame, from each person drawn alone."""
    visible = sum(int((frame.instances_HW > 0).sum()) for frame in frames_of(medium))
    alone = 0
    for actor in medium.actors:
        alone += sum(
            int((frame.instances_HW > 0).sum()) for frame in frames_of(replace(medium, actors=(actor,)))
        )
    low, high = medium.clip.level.occluded
    assert low <= 1 - visible / alone <= high
    assert len(medium.actors) in range(medium.clip.level.people[0], medium.clip.level.people[1] + 1)


def test_the_nearer_person_hides_the_farther_one(medium: Plan) -> None:
    order = medium.order(0)
    heights = [actor.heights_T[0] for actor in medium.actors]
    assert order[-1] is medium.actors[int(np.argmax(heights))]


def test_flow_finds_the_same_person_and_part_again(easy: Plan) -> None:
    """Followed over a frame, nearly every pixel of a person is the same part of the same person."""
    frames = frames_of(easy)
    way = render_flow(easy, 4, 5)
    y, x = np.nonzero(frames[4].instances_HW)
    to_x = np.floor(x + 0.5 + way[y, x, 0]).astype(int)
    to_y = np.floor(y + 0.5 + way[y, x, 1]).astype(int)
    height, width = frames[4].parts_HW.shape
    inside = (to_x >= 0) & (to_y >= 0) & (to_x < width) & (to_y < height)
    y, x, to_x, to_y = y[inside], x[inside], to_x[inside], to_y[inside]
    code = [frame.parts_HW + 20 * frame.instances_HW.astype(int) for frame in frames[4:6]]
    assert (code[0][y, x] == code[1][to_y, to_x]).mean() > 0.96
    assert (code[0][y, x] == code[1][y, x]).mean() < (code[0][y, x] == code[1][to_y, to_x]).mean()


def test_a_plan_outside_its_level_does_not_fit(easy: Plan) -> None:
    found = measure(easy)
    assert fits(easy, found)
    for wrong in (
        replace(found, num_people=3), replace(found, occluded=0.2), replace(found, lowest=0.3),
        replace(found, highest=0.95), replace(found, fewest_frames=1),
    ):  # fmt: skip
        assert not fits(easy, wrong)


def test_only_people_under_sixteen_pixels_at_network_resolution_are_ignored() -> None:
    instances = np.zeros((540, 960), np.uint8)
    instances[10:39, 10:30] = 1  # 29 rows of 960 wide: 15.5 at 512
    instances[10:41, 100:120] = 2  # 31 rows: 16.5
    instances[100:200, 300:302] = 3  # a sliver of 57 pixels at 512
    assert list(small_people(instances, RECIPE)) == [1, 3]


def test_the_published_recipe_is_the_one_in_the_code() -> None:
    known = published()
    clips = known.recipe.clips()
    assert len(clips) == 24 == len(known.recipe.attempts)
    assert [clip.level.name for clip in clips] == ["easy"] * 8 + ["medium"] * 8 + ["hard"] * 8
    assert set(known.truth_sha256) == {clip.name for clip in clips}
    assert known.recipe.sha256() != replace(known.recipe, seed=1).sha256()
    assert json.loads(json.dumps(known.recipe.to_json())) == known.recipe.to_json()


def test_clips_on_disk_are_drawn_once_and_their_truth_is_checked(
    tmp_path: Path, people: dict[str, Cutout], easy: Plan
) -> None:
    recipe = replace(RECIPE, num_frames=4, formats=(FORMATS[0],) * 6, attempts=(easy.attempt,) * 18)
    reads: list[int] = []

    def read() -> Source:
        reads.append(1)
        return Source(people, tmp_path, {})

    clip = recipe.clips()[5]  # a clip before a texture
    made = make_benchmark(tmp_path, recipe, read, clips=[clip])
    again = make_benchmark(tmp_path, recipe, read, clips=[clip])
    assert reads == [1] and made == again
    assert len(list(made.frames(clip).glob("*.jpg"))) == 4
    assert made.truth(clip).parts_THW.shape == (4, 288, 512)
    with np.load(tmp_path / "truth" / f"{clip.name}.npz") as arrays:
        changed = {name: arrays[name].copy() for name in arrays.files}
    changed["parts_THW"][0, 0, 0] ^= 1
    np.savez(tmp_path / "truth" / f"{clip.name}.npz", **changed)
    with pytest.raises(ValueError, match="its hash differs"):
        made.truth(clip)
    with pytest.raises(ValueError, match="another recipe"):
        make_benchmark(tmp_path, replace(recipe, seed=5), read, clips=[clip])
