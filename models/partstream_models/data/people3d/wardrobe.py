"""Draws who a person is and what they wear."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from partstream_models.data.people3d.garments import HAIR, SHOES, Catalogue, Garment
from partstream_models.data.people3d.people import Looks, Worn
from partstream_models.data.people3d.renderer import KIND_CLOTH, KIND_HAIR, KIND_PLAIN, KIND_TEXTURE, Material
from partstream_models.data.people3d.shells import Shell, Tailor
from partstream_models.data.people3d.split import CLOTH_SEEDS, Split, allowed
from partstream_models.data.people3d.textures import CLOTHS

TOPS: Final = (
    "female_casualsuit01/top", "female_elegantsuit01/top", "female_sportsuit01/top", "male_casualsuit01/top",
    "male_casualsuit02/top", "male_casualsuit03/top", "male_casualsuit04/top", "male_casualsuit06/top",
    "male_worksuit01/top", "Asymmetric_Tunic_and_Sash", "Sleeveless", "Tank_Top_01", "TubeTop", "VNeckTop",
    "female_top_01", "short_tail_camo_tee", "spaghetti-top",
)  # fmt: skip
BOTTOMS: Final = (
    "female_casualsuit01/bottom", "female_casualsuit02/bottom", "female_sportsuit01/bottom",
    "male_casualsuit01/bottom", "male_casualsuit02/bottom", "male_elegantsuit01/bottom", "Tightjeans",
    "ShortJeans",
)  # fmt: skip
SKIRTS: Final = ("female_elegantsuit01/bottom", "JeansSkirt", "miniskirt", "Skirt_Full_Long")
DRESSES: Final = (
    "F_Beach_Dress_01", "F_Dress_01", "F_Dress_02", "F_Dress_03", "F_Dress_04", "TubeDress",
)  # fmt: skip
COATS: Final = ("Coat", "male_casualsuit05/top", "male_elegantsuit01/top")
HATS: Final = ("fedora01", "Fishing_Hat_01", "pith_helmet")
_SHORT_HAIR: Final = ("afro01", "short01", "short02", "short03", "short04")

_PHOTO_SHARE: Final = 0.5
"""Share of cloths that are cut from photos."""
_HAIR_COLORS: Final = (
    (0.012, 0.010, 0.009), (0.03, 0.018, 0.012), (0.07, 0.035, 0.018), (0.16, 0.085, 0.04),
    (0.42, 0.27, 0.12), (0.62, 0.48, 0.28), (0.25, 0.06, 0.02), (0.35, 0.35, 0.36), (0.75, 0.75, 0.76),
)  # fmt: skip
_IRIS: Final = ((0.05, 0.025, 0.012), (0.09, 0.05, 0.02), (0.08, 0.14, 0.22), (0.08, 0.13, 0.07))


@dataclass(frozen=True, slots=True)
class Tone:
    """A tone of skin: light or dark textures and a linear tint."""

    is_dark: bool
    tint: tuple[float, float, float]


_TONES: Final = (
    Tone(False, (1.05, 1.03, 1.03)), Tone(False, (1.0, 0.97, 0.93)), Tone(False, (0.85, 0.78, 0.70)),
    Tone(False, (0.68, 0.58, 0.47)), Tone(False, (0.50, 0.40, 0.31)), Tone(True, (1.7, 1.65, 1.6)),
    Tone(True, (1.15, 1.1, 1.05)), Tone(True, (0.75, 0.72, 0.72)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Character:
    """Who a person is."""

    years: float
    gender: float
    tone: Tone
    phenotype: dict[str, float]
    expression: dict[str, float]

    @property
    def is_child(self) -> bool:
        """Below 13."""
        return self.years < 13


def draw_character(rng: np.random.Generator) -> Character:
    """A person of any age, build and skin tone."""
    group = rng.random()
    low, high = (
        (1.5, 4) if group < 0.05 else (4, 13) if group < 0.19 else (13, 50) if group < 0.7 else (50, 90)
    )
    years = float(rng.uniform(low, high))
    gender = float(rng.beta(0.5, 0.5))
    tone = _TONES[int(rng.integers(len(_TONES)))]
    african = float(rng.uniform(0.5, 1)) if tone.is_dark else float(rng.uniform(0, 0.3))
    phenotype = {
        "age": float(np.interp(years, [0, 1, 11, 25, 90], [-1 / 3, 0, 1 / 3, 2 / 3, 1])),
        "gender": gender,
        "muscle": float(rng.beta(2.5, 2.5)),
        "weight": float(rng.beta(1.7, 1.7)),
        "height": float(rng.beta(3, 3)),
        "proportions": float(rng.beta(3, 3)),
        "cupsize": float(rng.beta(2, 2)),
        "firmness": float(rng.beta(2, 2)),
        "african": african,
        "asian": float(rng.uniform(0, 1)),
        "caucasian": 0.1 if tone.is_dark else float(rng.uniform(0, 1)),
    }
    smile, frown = max(0.0, float(rng.normal(0.2, 0.5))), max(0.0, float(rng.normal(-0.3, 0.4)))
    blink = 1.0 if rng.random() < 0.07 else 0.0
    expression = {
        "jawOpen": max(0.0, float(rng.normal(-0.1, 0.3))), "mouthSmileLeft": smile, "mouthSmileRight": smile,
        "mouthFrownLeft": frown, "mouthFrownRight": frown, "eyeBlinkLeft": blink, "eyeBlinkRight": blink,
        "browInnerUp": max(0.0, float(rng.normal(0, 0.4))),
    }  # fmt: skip
    return Character(
        years, gender, tone, phenotype, {name: min(value, 1.0) for name, value in expression.items()}
    )


class Wardrobe:
    """Draws outfits.

    Args:
        catalogue: Garments by name.
        tailor: Cuts shells.
        skins: The skin textures.
        split: Which assets may be used.
        photo_ids: Photos that cloth may be cut from; the benchmark uses none.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        tailor: Tailor,
        skins: Sequence[Path],
        split: Split,
        photo_ids: Sequence[str],
    ) -> None:
        self._catalogue = catalogue
        self._tailor = tailor
        self._split = split
        self._photo_ids = photo_ids if split == "train" else ()
        usable = allowed([path.stem for path in skins], split)
        self._skins = [path for path in skins if path.stem in usable]

    def _pick(self, rng: np.random.Generator, names: Sequence[str]) -> str:
        return str(rng.choice(allowed(names, self._split)))

    def looks(
        self, rng: np.random.Generator, who: Character
    ) -> tuple[Looks, tuple[float, float, float], str]:
        """The body's looks, the hair's colour and the name of the hair (empty for none)."""
        age = "young" if who.years < 38 else "middleage" if who.years < 62 else "old"
        tone = "dark" if who.tone.is_dark else "light"
        sex = "female" if who.gender < 0.5 else "male"
        alike = [path for path in self._skins if f"_{tone}skinned_{sex}_" in path.name]
        fitting = [path for path in alike if path.name.startswith(age)] or alike
        texture = f"file:{fitting[int(rng.integers(len(fitting)))]}"
        grey = who.years > 50 and rng.random() < (who.years - 45) / 40
        number = int(rng.choice([7, 8])) if grey else int(rng.integers(3 if who.tone.is_dark else 7))
        color = _HAIR_COLORS[number]
        style = rng.random()
        bald_share = 0.22 if who.gender > 0.5 and not who.is_child else 0.03
        if style < bald_share:
            hair, scalp, shaved = "", None, rng.random() < 0.6
        else:
            short = rng.random() < (0.85 if who.gender > 0.5 else 0.2)
            pool = _SHORT_HAIR if short else tuple(name for name in HAIR if name not in _SHORT_HAIR)
            hair = self._pick(rng, pool)
            scalp, shaved = tuple(0.7 * value for value in color), False
        iris = _IRIS[int(rng.integers(2 if who.tone.is_dark else 4))]
        return Looks(texture, who.tone.tint, iris, scalp, shaved), color, hair  # type: ignore[arg-type]

    def outfit(
        self, rng: np.random.Generator, who: Character, hair: str, hair_color: tuple[float, float, float]
    ) -> list[Worn]:
        """What the person wears, from inside to outside."""
        worn: list[Worn] = []
        feminine = rng.random() > who.gender if rng.random() < 0.8 else rng.random() < 0.5
        if rng.random() < 0.35:
            worn.append(
                self._cloth(
                    rng,
                    self._tailor.socks(
                        top=float(rng.choice([1.6, 1.35, 1.05, 0.3, -0.2], p=[0.3, 0.2, 0.2, 0.1, 0.2]))
                    ),
                    0.003,
                )
            )
        dressed = feminine and rng.random() < 0.42
        if dressed:
            worn += self._dress(rng)
        else:
            worn += self._lower(rng, feminine)
            worn += self._upper(rng, feminine)
        if rng.random() < 0.30:
            worn += self._coat(rng)
        worn += self._accessories(rng, hair, hair_color)
        return worn

    def _tint(self, rng: np.random.Generator) -> tuple[float, float, float]:
        if rng.random() < 0.4:
            return (1.0, 1.0, 1.0)
        shade = rng.uniform(0.35, 1.15)
        color = np.clip(shade * (1 + rng.normal(0, 0.28, 3)), 0.05, 1.5)
        return float(color[0]), float(color[1]), float(color[2])

    def _cloth(
        self, rng: np.random.Generator, item: Garment | Shell, lift: float, kinds: tuple[str, ...] = CLOTHS
    ) -> Worn:
        seed = int(rng.integers(*CLOTH_SEEDS[self._split]))
        cloth = f"cloth:{rng.choice(kinds)}:{seed}"
        if self._photo_ids and rng.random() < _PHOTO_SHARE:
            cloth = f"ccp:{self._photo_ids[int(rng.integers(len(self._photo_ids)))]}:{seed}"
        scale, folds = float(rng.uniform(2.5, 6)), float(rng.uniform(0.1, 0.45))
        gloss = float(rng.choice([0.02, 0.05, 0.1, 0.4], p=[0.4, 0.3, 0.2, 0.1]))
        return Worn(item, Material(KIND_CLOTH, cloth, (1.0, 1.0, 1.0), scale, gloss, folds, lift))

    def _asset(self, rng: np.random.Generator, name: str, lift: float, cloth_share: float = 0.35) -> Worn:
        garment = self._catalogue.garment(name)
        if not garment.texture or rng.random() < cloth_share:
            return self._cloth(rng, garment, lift)
        folds = float(rng.uniform(0, 0.2))
        return Worn(
            garment,
            Material(
                KIND_TEXTURE, "file:" + garment.texture, self._tint(rng), gloss=0.08, folds=folds, lift=lift
            ),
        )

    def _dress(self, rng: np.random.Generator) -> list[Worn]:
        if rng.random() < 0.5:
            return [self._asset(rng, self._pick(rng, DRESSES), 0.009)]
        top = self._tailor.top(
            hem=0.10,
            sleeve=float(rng.choice([0.05, 0.35, 0.6, 1.2, 1.95])),
            neck=float(rng.uniform(0.44, 0.6)),
            part="dress",
        )
        skirt = self._tailor.skirt(
            waist=0.15, hem=float(rng.uniform(-0.65, -0.1)), flare=float(rng.uniform(0, 1.2)),
            folds=float(rng.uniform(0, 0.12)), num_folds=int(rng.integers(5, 14)), part="dress",
        )  # fmt: skip
        first = self._cloth(rng, top, 0.009)
        return [first, Worn(skirt, first.material)]

    def _lower(self, rng: np.random.Generator, feminine: bool) -> list[Worn]:
        if feminine and rng.random() < 0.5:
            if rng.random() < 0.5:
                return [self._asset(rng, self._pick(rng, SKIRTS), 0.006)]
            return [
                self._cloth(
                    rng,
                    self._tailor.skirt(
                        waist=0.15, hem=float(rng.uniform(-0.65, -0.12)), flare=float(rng.uniform(0, 1.3)),
                        folds=float(rng.uniform(0, 0.14)), num_folds=int(rng.integers(5, 16)),
                    ),
                    0.006,
                )
            ]  # fmt: skip
        if rng.random() < 0.65:
            return [self._asset(rng, self._pick(rng, BOTTOMS), 0.006)]
        pants = self._tailor.pants(
            waist=0.16,
            length=float(rng.choice([0.35, 0.6, 0.9, 1.5, 1.95])),
            offset=float(rng.uniform(0.006, 0.016)),
        )
        return [
            self._cloth(rng, pants, 0.006, ("plain", "denim", "plain", "melange", "stripes", "camouflage"))
        ]

    def _upper(self, rng: np.random.Generator, feminine: bool) -> list[Worn]:
        if rng.random() < 0.04:
            return []
        if rng.random() < 0.55:
            pool = TOPS if feminine else TOPS[:9]
            return [self._asset(rng, self._pick(rng, pool), 0.009)]
        top = self._tailor.top(
            hem=float(rng.uniform(-0.02, 0.16)), sleeve=float(rng.choice([0.02, 0.4, 0.55, 1.0, 1.5, 1.95])),
            neck=float(rng.uniform(0.47, 0.6)), offset=float(rng.uniform(0.004, 0.014)),
        )  # fmt: skip
        return [self._cloth(rng, top, 0.009)]

    def _coat(self, rng: np.random.Generator) -> list[Worn]:
        if rng.random() < 0.5:
            coat = self._asset(rng, self._pick(rng, COATS), 0.02)
            return [replace(coat, inflate=0.011)]
        gap = float(rng.choice([0.0, 0.01, 0.05]))
        top = self._tailor.top(
            hem=0.09, sleeve=1.97, neck=float(rng.uniform(0.55, 0.6)), offset=float(rng.uniform(0.02, 0.032)),
            part="coat", opening=gap,
        )  # fmt: skip
        first = self._cloth(rng, top, 0.02, ("plain", "knit", "melange", "plain", "plaid", "denim"))
        skirt = self._tailor.skirt(
            waist=0.12, hem=float(rng.uniform(-0.5, 0.02)), flare=float(rng.uniform(0.1, 0.6)), folds=0.02,
            num_folds=6, part="coat", offset=0.03, opening=gap,
        )  # fmt: skip
        return [first, Worn(skirt, first.material)]

    def _accessories(
        self, rng: np.random.Generator, hair: str, hair_color: tuple[float, float, float]
    ) -> list[Worn]:
        worn: list[Worn] = []
        if rng.random() < 0.86:
            name = "WinterBoots" if rng.random() < 0.15 else self._pick(rng, SHOES)
            worn.append(self._asset(rng, name, 0.010, cloth_share=0.12))
        if rng.random() < 0.24:
            worn.append(
                self._cloth(
                    rng,
                    self._tailor.gloves(start=float(rng.choice([1.93, 1.8, 1.2]))),
                    0.012,
                    ("plain", "knit", "plain"),
                )
            )
        if rng.random() < 0.24:
            scarf = self._tailor.scarf(
                top=0.62, bottom=float(rng.uniform(0.49, 0.54)), offset=float(rng.uniform(0.025, 0.045)),
                tail=float(rng.choice([0.6, 0.3, 0.15])), tail_at=float(rng.uniform(-0.08, 0.08)),
            )  # fmt: skip
            worn.append(self._cloth(rng, scarf, 0.03, ("knit", "plaid", "stripes", "plain", "floral")))
        hat = rng.random()
        if hair:
            garment = self._catalogue.garment(hair)
            texture = "hair:" + garment.texture if garment.texture else ""
            kind = KIND_HAIR if texture else KIND_PLAIN
            tint = tuple(2.6 * value for value in hair_color) if texture else hair_color
            if hat >= 0.28 or hair not in ("afro01",):
                worn.append(Worn(garment, Material(kind, texture, tint, gloss=0.25, lift=0.026)))  # type: ignore[arg-type]
        if hat < 0.15:
            worn.append(self._asset(rng, self._pick(rng, HATS), 0.035))
        elif hat < 0.28:
            cap = self._tailor.cap(
                height=float(rng.uniform(0.0, 0.35)), offset=float(rng.uniform(0.012, 0.03))
            )
            worn.append(self._cloth(rng, cap, 0.04, ("knit", "plain", "stripes", "melange")))
        if rng.random() < 0.28:
            worn.append(self._asset(rng, "glasses", 0.012, cloth_share=0.0))
        return worn
