"""The benchmark of rendered people, composed from cut-outs made on the spot over validation photos."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partstream_core.labels import PARTS
from partstream_evaluation.rendered.benchmark import read_benchmark
from partstream_models.commands.rendered_benchmark import main
from partstream_models.data.people3d.benchmark import RenderedRecipe, make
from partstream_models.data.people3d.cache import PeopleWriter, RenderedPeople, RenderedPerson, Traits

COAT = PARTS.index("coat")
SKETCH = replace(RenderedRecipe(), num_pictures=4, sizes=((96, 64), (64, 96)), backdrops=("0010",))


def person(body: int, kind: str) -> RenderedPerson:
    """A red bar of a coat with one joint at each end, in a frame with room around it."""
    alpha = np.zeros((60, 30), np.uint8)
    alpha[10:50, 10:20] = 255
    joints = np.ones((17, 3), np.float32)
    joints[:, 0], joints[:, 1] = 15, np.linspace(12, 48, 17)
    return RenderedPerson(
        image_HWC=np.broadcast_to(np.array([200, 20, 20], np.uint8), (60, 30, 3)),
        alpha_HW=alpha,
        parts_HW=np.where(alpha > 0, COAT, 0).astype(np.uint8),
        joints_J3=joints,
        body=body,
        traits=Traits(age=30.0, gender=0.5, skin_tone=0.25, build=0.75),
        kind=kind,
        is_cut=False,
    )


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A cache of two who lie and one who stands."""
    with PeopleWriter(tmp_path / "people", {"first": 900}) as writer:
        for body, kind in enumerate(("lying", "standing", "handstand")):
            writer.add(person(body, kind))
    return tmp_path / "people"


def test_pictures_show_what_their_truth_says(data_dir: Path, people: Path, tmp_path: Path) -> None:
    make(tmp_path / "made", RenderedPeople(people), data_dir / "ccp", SKETCH)
    benchmark = read_benchmark(tmp_path / "made")
    assert len(benchmark.pictures) == 4
    for picture in benchmark.pictures:
        truth = benchmark.truth(picture)
        image = np.asarray(Image.open(benchmark.image(picture))).astype(np.int64)
        assert image.shape[:2] == truth.parts_HW.shape
        assert {each.kind for each in picture.people} <= {"lying", "handstand"}, "nobody stands"
        inside = truth.instances_HW > 0
        redness = image[..., 0] - image[..., 1:].mean(axis=2)
        assert redness[inside].mean() > redness[~inside].mean() + 40
        assert ((truth.parts_HW == COAT) == inside).all()
        assert len(picture.people) == len(truth.joints_NJ3)


def test_joints_move_with_their_people(data_dir: Path, people: Path, tmp_path: Path) -> None:
    make(tmp_path / "made", RenderedPeople(people), data_dir / "ccp", replace(SKETCH, share_turned=1.0))
    benchmark = read_benchmark(tmp_path / "made")
    for picture in benchmark.pictures:
        truth = benchmark.truth(picture)
        for number, joints in enumerate(truth.joints_NJ3, start=1):
            x, y = np.floor(joints[joints[:, 2] > 0, :2]).astype(int).T
            assert (truth.instances_HW[y, x] == number).mean() > 0.8


@pytest.mark.long
def test_the_same_recipe_makes_the_same_truth_and_another_seed_another(
    data_dir: Path, people: Path, tmp_path: Path
) -> None:
    recipes = (SKETCH, SKETCH, replace(SKETCH, seed=1))
    made = []
    for number, recipe in enumerate(recipes):
        folder = tmp_path / str(number)
        sha256 = make(folder, RenderedPeople(people), data_dir / "ccp", recipe)
        made.append((sha256, [picture.truth_sha256 for picture in read_benchmark(folder).pictures]))
    assert made[0] == made[1]
    assert made[2][0] != made[0][0] and made[2][1] != made[0][1]


def test_mistakes_are_told_in_one_line(
    data_dir: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PeopleWriter(tmp_path / "plain", {}) as writer:
        writer.add(person(0, "standing"))
    with pytest.raises(ValueError, match="no cut-out has a pose other than standing, walking"):
        make(tmp_path / "made", RenderedPeople(tmp_path / "plain"), data_dir / "ccp", SKETCH)
    with pytest.raises(ValueError, match="lacks 9999"):
        make(
            tmp_path / "made", RenderedPeople(people), data_dir / "ccp", replace(SKETCH, backdrops=("9999",))
        )
    with pytest.raises(ValueError, match="needs pictures, people"):
        replace(SKETCH, num_pictures=0)
    given = [
        "--data",
        str(data_dir / "ccp"),
        "--people",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "o"),
    ]
    with pytest.raises(SystemExit):
        main(given)
    assert capsys.readouterr().err.startswith("error: no finished cache of rendered people")
