import pickle
from pathlib import Path

import numpy as np
import pytest

from partstream_models.data.people3d.cache import (
    INDEX,
    PIXELS,
    PeopleWriter,
    RenderedPeople,
    RenderedPerson,
    Traits,
)


def person(seed: int, *, height: int, width: int) -> RenderedPerson:
    """A cut-out of noise."""
    rng = np.random.default_rng(seed)
    return RenderedPerson(
        image_HWC=rng.integers(0, 256, (height, width, 3), np.uint8),
        alpha_HW=rng.integers(0, 256, (height, width), np.uint8),
        parts_HW=rng.integers(0, 20, (height, width), np.uint8),
        joints_J3=rng.integers(0, 50, (17, 3)).astype(np.float32),
        body=seed // 2,
        traits=Traits(age=30.0, gender=0.5, skin_tone=0.25, build=0.75),
        kind="motion",
        is_cut=seed % 2 == 1,
    )


PEOPLE = [person(0, height=7, width=5), person(1, height=4, width=9), person(2, height=6, width=6)]


def write(folder: Path) -> Path:
    with PeopleWriter(folder, {"seed": 3}) as writer:
        for one in PEOPLE:
            writer.add(one)
    return folder


def same(one: RenderedPerson, other: RenderedPerson) -> bool:
    arrays = ("image_HWC", "alpha_HW", "parts_HW", "joints_J3")
    values = ("body", "traits", "kind", "is_cut")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and all(
        getattr(one, name) == getattr(other, name) for name in values
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    people = RenderedPeople(write(tmp_path / "cache"))
    assert len(people) == 3
    assert all(same(people[number], one) for number, one in enumerate(PEOPLE))
    assert people.bodies().tolist() == [0, 0, 1]
    assert people.recipe == {"seed": 3}


def test_a_loading_process_maps_the_file_instead_of_copying_it(tmp_path: Path) -> None:
    people = RenderedPeople(write(tmp_path / "cache"))
    pickled = pickle.dumps(people)
    assert len(pickled) < 5000
    assert same(pickle.loads(pickled)[2], PEOPLE[2])  # noqa: S301  (made two lines above)


def test_a_build_that_stops_with_an_error_leaves_no_index(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(RuntimeError, match="no light"), PeopleWriter(tmp_path, {}) as writer:
        writer.add(PEOPLE[0])
        raise RuntimeError("no light")
    with pytest.raises(ValueError, match=f"{INDEX} is missing; delete the folder {tmp_path}"):
        RenderedPeople(tmp_path)


def test_a_file_of_pixels_that_was_cut_names_what_to_delete(tmp_path: Path) -> None:
    write(tmp_path)
    pixels = tmp_path / PIXELS
    pixels.write_bytes(pixels.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"has 532 of 535 bytes; delete the folder"):
        RenderedPeople(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"people": 3}'])
def test_a_damaged_index_is_one_clear_error(tmp_path: Path, text: str) -> None:
    write(tmp_path)
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(ValueError, match=r"damaged .* delete the folder"):
        RenderedPeople(tmp_path)
