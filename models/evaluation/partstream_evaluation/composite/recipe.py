"""Recipe of the composite benchmark: levels, formats, permitted photos, and the recipe's hash.

The images are not checked in. The recipe and its seed are, and with the photos of the validation list they
give the same clips everywhere.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import Any, Final

SEED: Final = 20240801
NUM_FRAMES: Final = 48
NETWORK_SIDE: Final = 512
"""Longer side of a frame at network resolution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """How hard a clip is; every range is kept by each clip."""

    name: str
    people: tuple[int, int]
    """Fewest and most people of a clip."""
    height: tuple[float, float]
    """Visible height of people, as if nothing stood before them, against the frame's height."""
    occluded: tuple[float, float]
    """Share of the people's pixels, inside the frame and over the clip, that something hides."""
    leaving: bool = False
    """Whether people leave the frame and come back."""


@dataclass(frozen=True, slots=True)
class Format:
    """Shape of the frames, and what people do."""

    name: str
    height: int
    width: int
    seated: bool = False
    """Upper bodies behind tables, as at a desk, instead of people on their feet."""


LEVELS: Final = (
    Level(name="easy", people=(1, 2), height=(0.55, 0.9), occluded=(0.0, 0.1)),
    Level(name="medium", people=(2, 4), height=(0.35, 0.8), occluded=(0.1, 0.3)),
    Level(name="hard", people=(4, 8), height=(0.1, 0.6), occluded=(0.3, 0.6), leaving=True),
)

UPRIGHT: Final = Format("upright", 288, 512)
UPRIGHT_LARGE: Final = Format("upright-large", 540, 960)
SEATED: Final = Format("seated", 288, 512, seated=True)
SEATED_LARGE: Final = Format("seated-large", 540, 960, seated=True)
PORTRAIT: Final = Format("portrait", 960, 540)

FORMATS: Final = (UPRIGHT, PORTRAIT, SEATED, UPRIGHT, UPRIGHT_LARGE, PORTRAIT, SEATED_LARGE, UPRIGHT)
"""Of the clips of each level, in their order."""

BACKDROPS: Final = (
    "0010", "0020", "0110", "0130", "0160", "0280", "0300", "0310", "0320", "0330", "0340", "0400", "0410",
    "0480", "0560", "0590", "0600", "0630", "0650", "0700", "0720", "0750", "0790", "0800", "0820", "0830",
    "0910",
)  # fmt: skip
"""Validation photos that show nobody, not even far away, once the labelled person is painted out."""

EXCLUDED: Final = (
    "0100", "0310", "0380", "0390", "0490", "0500", "0510", "0530", "0550", "0560", "0600", "0670", "0870",
    "0940",
)  # fmt: skip
"""Validation photos whose person is in pieces, or lacks visible parts in the labels."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip of the benchmark; its seed is made of these numbers."""

    level: Level
    format: Format
    number: int
    """From 0 over the whole benchmark."""

    @property
    def name(self) -> str:
        """Names files and rows of tables."""
        return f"{self.number:02d}-{self.level.name}-{self.format.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides what the benchmark looks like, but for the photos."""

    seed: int = SEED
    num_frames: int = NUM_FRAMES
    levels: tuple[Level, ...] = LEVELS
    formats: tuple[Format, ...] = FORMATS
    backdrops: tuple[str, ...] = BACKDROPS
    excluded: tuple[str, ...] = EXCLUDED
    network_side: int = NETWORK_SIDE
    ignored_below: int = 16
    """People whose visible box has a shorter longer side than this, at network resolution, are ignored."""
    ignored_area: int = 64
    """So are those with fewer visible pixels than this, at network resolution."""
    jpeg_quality: int = 95
    attempts: tuple[int, ...] = field(default_factory=tuple)
    """For each clip, the first attempt that keeps the ranges of its level."""

    def clips(self) -> tuple[Clip, ...]:
        """The clips in their order."""
        pairs = [(level, shape) for level in self.levels for shape in self.formats]
        return tuple(Clip(level, shape, number) for number, (level, shape) in enumerate(pairs))

    def to_json(self) -> dict[str, Any]:
        """The recipe as a JSON object."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return document

    def sha256(self) -> str:
        """SHA-256 of the recipe's JSON, keys sorted, no spaces."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Published:
    """The benchmark that figures are reported on."""

    recipe: Recipe
    truth_sha256: dict[str, str]
    """By name of the clip: what every machine should draw from the published photos and labels."""


def published() -> Published:
    """The recipe in the package, which `publish.py` writes.

    Raises:
        ValueError: It was made from another recipe than the one in the code.
    """
    text = resources.files("partstream_evaluation.composite").joinpath("recipe.json").read_text("utf-8")
    document = json.loads(text)
    recipe = Recipe(attempts=tuple(document["recipe"]["attempts"]))
    if recipe.to_json() != document["recipe"] or recipe.sha256() != document["sha256"]:
        raise ValueError("recipe.json and the recipe in the code differ: make recipe.json anew")
    return Published(recipe, document["truth_sha256"])
