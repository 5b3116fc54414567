"""The benchmark of rendered people on disk: pictures, and what is known of everybody in them.

`pictures/000000.jpg` are the pictures, `truth/000000.npz` holds `parts_HW` (0..19) and `instances_HW` (1 for
the first person, 0 nobody), uint8, and `joints_NJ3` (x, y, and 1 where a joint is to be judged), float32.
`benchmark.json` is written last: the recipe and its hash, who is in each picture, and a hash of each truth.
`partstream_models.data.people3d` makes the folder.

Shape suffixes: H height, W width, N people, J joints.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from partstream_core.jsonread import Fields
from partstream_core.labels import NUM_PARTS

UInt8Array: TypeAlias = npt.NDArray[np.uint8]
Float32Array: TypeAlias = npt.NDArray[np.float32]

INDEX: Final = "benchmark.json"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """What is known of a rendered person."""

    body: int
    """The same number is the same person in the same clothes."""
    kind: str
    """How the pose was made."""
    age: float
    """Years."""
    gender: float
    """Gender presentation, 0 feminine to 1 masculine."""
    skin_tone: float
    """0 lightest to 1 darkest."""
    build: float
    """0 thin to 1 heavy."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureTruth:
    """What is to be found in a picture."""

    parts_HW: UInt8Array
    """Parts 0..19."""
    instances_HW: UInt8Array
    """Number of the person, from 1; 0 nobody."""
    joints_NJ3: Float32Array
    """x, y in pixels, and 1 where the joint is to be judged."""

    def sha256(self) -> str:
        """SHA-256 over sizes and bytes."""
        digest = hashlib.sha256(repr((self.parts_HW.shape, self.joints_NJ3.shape)).encode())
        for array in (self.parts_HW, self.instances_HW, self.joints_NJ3):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class BenchmarkPicture:
    """A picture of the benchmark."""

    name: str
    people: tuple[PersonFacts, ...]
    """In the order of their numbers."""
    truth_sha256: str


@dataclass(frozen=True, slots=True)
class RenderedBenchmark:
    """A benchmark that lies in a folder."""

    folder: Path
    recipe_sha256: str
    pictures: tuple[BenchmarkPicture, ...]

    def image(self, picture: BenchmarkPicture) -> Path:
        """The file of a picture."""
        return self.folder / "pictures" / f"{picture.name}.jpg"

    def truth(self, picture: BenchmarkPicture) -> PictureTruth:
        """The truth of a picture.

        Raises:
            ValueError: The file is missing, damaged or another one.
        """
        path = self.folder / "truth" / f"{picture.name}.npz"
        try:
            with np.load(path) as arrays:
                truth = PictureTruth(arrays["parts_HW"], arrays["instances_HW"], arrays["joints_NJ3"])
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"cannot read the truth {path}: {error}") from error
        if truth.sha256() != picture.truth_sha256:
            raise ValueError(f"{path} is not the truth that belongs to {INDEX}: its hash differs")
        return truth


def write_truth(folder: Path, name: str, truth: PictureTruth) -> str:
    """Write the truth of a picture; its hash.

    Raises:
        ValueError: Maps and joints do not fit together.
    """
    num_people = len(truth.joints_NJ3)
    if truth.parts_HW.shape != truth.instances_HW.shape or truth.joints_NJ3.shape != (num_people, 17, 3):
        shapes = truth.parts_HW.shape, truth.instances_HW.shape, truth.joints_NJ3.shape
        raise ValueError(f"parts, instances and joints must fit together, got {shapes}")
    if truth.instances_HW.max(initial=0) > num_people or truth.parts_HW.max(initial=0) >= NUM_PARTS:
        raise ValueError(f"{name} holds a person or a part that is not there")
    path = folder / "truth" / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, parts_HW=truth.parts_HW, instances_HW=truth.instances_HW, joints_NJ3=truth.joints_NJ3
    )
    return truth.sha256()


def write_index(folder: Path, recipe: dict[str, Any], pictures: Sequence[BenchmarkPicture]) -> str:
    """Write the index, which makes the folder a benchmark; the recipe's hash."""
    sha256 = recipe_sha256(recipe)
    document = {
        "format": _FORMAT,
        "recipe_sha256": sha256,
        "recipe": recipe,
        "pictures": [asdict(picture) for picture in pictures],
    }
    unfinished = folder / f"{INDEX}.part"
    unfinished.write_text(json.dumps(document, indent=1))
    unfinished.replace(folder / INDEX)
    return sha256


def recipe_sha256(recipe: dict[str, Any]) -> str:
    """SHA-256 of a recipe's JSON, keys sorted, no spaces."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_benchmark(folder: Path) -> RenderedBenchmark:
    """The benchmark in a folder.

    Raises:
        ValueError: There is none, or its index is damaged.
    """
    path = folder / INDEX
    if not path.is_file():
        raise ValueError(f"no benchmark of rendered people in {folder}: {INDEX} is missing")
    try:
        fields = Fields(json.loads(path.read_text("utf-8")))
        recipe = fields.get("recipe")
        pictures = tuple(_picture(each) for each in fields.children("pictures"))
        sha256, found_format = fields.string("recipe_sha256"), fields.integer("format")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; delete its folder and make it anew") from error
    if found_format != _FORMAT or not isinstance(recipe, dict) or recipe_sha256(recipe) != sha256:
        raise ValueError(f"{path} is of another version, or its recipe was changed; make it anew")
    if not pictures:
        raise ValueError(f"{path} names no picture")
    return RenderedBenchmark(folder, sha256, pictures)


def _picture(fields: Fields) -> BenchmarkPicture:
    people = tuple(
        PersonFacts(
            body=person.integer("body"),
            kind=person.string("kind"),
            age=person.number("age"),
            gender=person.number("gender"),
            skin_tone=person.number("skin_tone"),
            build=person.number("build"),
        )
        for person in fields.children("people")
    )
    return BenchmarkPicture(fields.string("name"), people, fields.string("truth_sha256"))
