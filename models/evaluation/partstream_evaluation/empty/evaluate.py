"""`partstream-evaluate empty`: people seen in pictures that hold none."""

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from partstream_evaluation.empty.frames import EmptyPicture, EmptySources, draw
from partstream_evaluation.empty.recipe import EmptyRecipe
from partstream_evaluation.evaluate.runner import PartstreamCommand, read_photo


@dataclass(frozen=True, slots=True)
class FalsePerson:
    """Somebody who is not there."""

    picture: str
    kind: str
    score: float
    box: tuple[float, float, float, float]
    area: int
    """Pixels of all parts."""


@dataclass(frozen=True, slots=True)
class EmptyReport:
    """How many people were seen in pictures without any, and where."""

    num_pictures: int
    num_false_people: int
    false_people_per_100: float
    num_pictures_with_people: int
    by_kind: dict[str, tuple[int, int]]
    """False people and pictures, by kind."""
    false_people: tuple[FalsePerson, ...]
    """Best score first."""
    command: str
    recipe_sha256: str
    pictures_sha256: str
    """Over names, sizes and bytes of the pictures."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        kinds = {
            kind: {"num_false_people": people, "num_pictures": pictures}
            for kind, (people, pictures) in self.by_kind.items()
        }
        return {**asdict(self), "by_kind": kinds}


def evaluate(
    sources: EmptySources,
    command: PartstreamCommand,
    *,
    recipe: EmptyRecipe | None = None,
    pictures_dir: Path | None = None,
) -> EmptyReport:
    """Draw the pictures, run `partstream` on each by itself, and count whom it sees.

    Args:
        sources: Folders of clips and photos.
        command: How to call `partstream`.
        recipe: Which pictures; by default those of the package.
        pictures_dir: Where pictures stay to be looked at; by default they are thrown away.

    Raises:
        EvaluationError: The command failed.
        ValueError: A clip, photo or label map is missing, damaged or another one.
    """
    recipe = recipe or EmptyRecipe()
    with TemporaryDirectory(prefix="partstream-empty-") as folder:
        pictures = pictures_dir or Path(folder) / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        digest, kinds = hashlib.sha256(), {}
        for picture in draw(recipe, sources):
            digest.update(
                f"{picture.name} {picture.image_HWC.shape}\n".encode() + picture.image_HWC.tobytes()
            )
            kinds[_save(picture, pictures)] = picture.kind
        if not kinds:
            raise ValueError("the recipe names no picture")
        line = command.parse_photos(list(kinds), Path(folder) / "found")
        found = [
            FalsePerson(path.stem, kind, each.score, each.box, sum(part.area for part in each.parts))
            for path, kind in kinds.items()
            for each in read_photo(Path(folder) / "found", path).people
        ]
    people, total = Counter(each.kind for each in found), Counter(kinds.values())
    return EmptyReport(
        num_pictures=len(kinds),
        num_false_people=len(found),
        false_people_per_100=100 * len(found) / len(kinds),
        num_pictures_with_people=len({each.picture for each in found}),
        by_kind={kind: (people[kind], total[kind]) for kind in total},
        false_people=tuple(sorted(found, key=lambda each: -each.score)),
        command=line,
        recipe_sha256=recipe.sha256(),
        pictures_sha256=digest.hexdigest(),
    )


def _save(picture: EmptyPicture, folder: Path) -> Path:
    path = folder / f"{picture.name}.png"
    Image.fromarray(picture.image_HWC).save(path, compress_level=1)
    return path
