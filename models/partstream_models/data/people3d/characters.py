"""Appearance of a rendered person: age, build, skin, hair and expression."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from partstream_models.data.people3d.garments import HAIR
from partstream_models.data.people3d.split import Split, allowed

Color = tuple[float, float, float]
"""Linear RGB."""

SHORT_HAIR: Final = ("afro01", "short01", "short02", "short03", "short04")
LONG_HAIR: Final = tuple(name for name in HAIR if name not in SHORT_HAIR)

_HAIR_COLORS: Final[tuple[Color, ...]] = (
    (0.012, 0.010, 0.009), (0.03, 0.018, 0.012), (0.07, 0.035, 0.018), (0.16, 0.085, 0.04),
    (0.42, 0.27, 0.12), (0.62, 0.48, 0.28), (0.25, 0.06, 0.02), (0.35, 0.35, 0.36), (0.75, 0.75, 0.76),
)  # fmt: skip
_GREYS: Final = (7, 8)
_IRIS: Final[tuple[Color, ...]] = (
    (0.05, 0.025, 0.012), (0.09, 0.05, 0.02), (0.08, 0.14, 0.22), (0.08, 0.13, 0.07),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tone:
    """A tone of skin: light or dark textures and a tint."""

    is_dark: bool
    tint: Color


_TONES: Final = (
    Tone(False, (1.05, 1.03, 1.03)), Tone(False, (1.0, 0.97, 0.93)), Tone(False, (0.85, 0.78, 0.70)),
    Tone(False, (0.68, 0.58, 0.47)), Tone(False, (0.50, 0.40, 0.31)), Tone(True, (1.35, 2.1, 2.4)),
    Tone(True, (0.9, 1.4, 1.65)), Tone(True, (0.55, 0.85, 1.0)),
)  # fmt: skip
_AGES: Final = (((1.5, 4.0), 0.05), ((4.0, 13.0), 0.14), ((13.0, 50.0), 0.51), ((50.0, 90.0), 0.30))
"""Ranges of years and how often they are drawn."""


@dataclass(frozen=True, slots=True)
class Character:
    """Appearance of a rendered person."""

    years: float
    gender: float
    """0 feminine to 1 masculine."""
    tone: Tone
    phenotype: dict[str, float]
    expression: dict[str, float]

    @property
    def is_child(self) -> bool:
        """Below 13."""
        return self.years < 13


@dataclass(frozen=True, slots=True)
class Looks:
    """How a body itself looks."""

    skin_texture: str
    skin_tint: Color
    iris: Color
    scalp: Color | None
    """Colour of the scalp below hair; none for a bare head, whose scalp counts as face."""
    is_shaved: bool
    """The scalp shows the texture's stubble and counts as hair."""
    hair: str
    """Name of the hair; empty for none."""
    hair_color: Color


def draw_character(rng: np.random.Generator) -> Character:
    """A person of any age, build and skin tone."""
    low, high = _AGES[int(rng.choice(len(_AGES), p=[share for _, share in _AGES]))][0]
    years = float(rng.uniform(low, high))
    tone = _TONES[int(rng.integers(len(_TONES)))]
    phenotype = {
        "age": float(np.interp(years, [0, 1, 11, 25, 90], [-1 / 3, 0, 1 / 3, 2 / 3, 1])),
        "gender": float(rng.beta(0.5, 0.5)),
        "muscle": float(rng.beta(2.5, 2.5)),
        "weight": float(rng.beta(1.7, 1.7)),
        "height": float(rng.beta(3, 3)),
        "proportions": float(rng.beta(3, 3)),
        "cupsize": float(rng.beta(2, 2)),
        "firmness": float(rng.beta(2, 2)),
        "african": float(rng.uniform(0.5, 1)) if tone.is_dark else float(rng.uniform(0, 0.3)),
        "asian": float(rng.uniform(0, 1)),
        "caucasian": 0.1 if tone.is_dark else float(rng.uniform(0, 1)),
    }
    return Character(years, phenotype["gender"], tone, phenotype, _draw_expression(rng))


def _draw_expression(rng: np.random.Generator) -> dict[str, float]:
    def above_zero(mean: float, spread: float) -> float:
        return float(np.clip(rng.normal(mean, spread), 0, 1))

    smile, frown, blink = above_zero(0.2, 0.5), above_zero(-0.3, 0.4), float(rng.random() < 0.07)
    return {
        "jawOpen": above_zero(-0.1, 0.3), "mouthSmileLeft": smile, "mouthSmileRight": smile,
        "mouthFrownLeft": frown, "mouthFrownRight": frown, "eyeBlinkLeft": blink, "eyeBlinkRight": blink,
        "browInnerUp": above_zero(0, 0.4),
    }  # fmt: skip


def draw_looks(rng: np.random.Generator, who: Character, skins: Sequence[Path], split: Split) -> Looks:
    """The body's skin, eyes and hair.

    Args:
        rng: Source of chance.
        who: The person.
        skins: Skin textures, named by age, tone and sex.
        split: Which hair may be used.
    """
    color = _draw_hair_color(rng, who)
    hair, scalp, shaved = "", None, False
    if rng.random() < (0.22 if who.gender > 0.5 and not who.is_child else 0.03):
        shaved = bool(rng.random() < 0.6)
    else:
        is_short = rng.random() < (0.85 if who.gender > 0.5 else 0.2)
        hair = str(rng.choice(allowed(SHORT_HAIR if is_short else LONG_HAIR, split)))
        scalp = (0.7 * color[0], 0.7 * color[1], 0.7 * color[2])
    return Looks(
        skin_texture=f"file:{_draw_skin(rng, who, skins)}",
        skin_tint=who.tone.tint,
        iris=_IRIS[int(rng.integers(2 if who.tone.is_dark else 4))],
        scalp=scalp,
        is_shaved=shaved,
        hair=hair,
        hair_color=color,
    )


def _draw_skin(rng: np.random.Generator, who: Character, skins: Sequence[Path]) -> Path:
    age = "young" if who.years < 38 else "middleage" if who.years < 62 else "old"
    tone, sex = "dark" if who.tone.is_dark else "light", "female" if who.gender < 0.5 else "male"
    alike = [path for path in skins if f"_{tone}skinned_{sex}_" in path.name]
    fitting = [path for path in alike if path.name.startswith(age)] or alike or list(skins)
    return fitting[int(rng.integers(len(fitting)))]


def _draw_hair_color(rng: np.random.Generator, who: Character) -> Color:
    if who.years > 50 and rng.random() < (who.years - 45) / 40:
        return _HAIR_COLORS[int(rng.choice(_GREYS))]
    return _HAIR_COLORS[int(rng.integers(3 if who.tone.is_dark else 7))]
