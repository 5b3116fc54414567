"""Draws what a person wears, from inside to outside."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from partstream_models.data.people3d.characters import Character, Color, Looks
from partstream_models.data.people3d.garments import SHOES, Catalogue, Garment
from partstream_models.data.people3d.people import Worn
from partstream_models.data.people3d.scene import KIND_CLOTH, KIND_HAIR, KIND_PLAIN, KIND_TEXTURE, Material
from partstream_models.data.people3d.shells import Shell, Tailor
from partstream_models.data.people3d.split import CLOTH_SEEDS, Split, allowed
from partstream_models.data.people3d.textures import CLOTHS

TOPS: Final = (
    "female_casualsuit01/top", "female_elegantsuit01/top", "female_sportsuit01/top", "male_casualsuit01/top",
    "male_casualsuit02/top", "male_casualsuit03/top", "male_casualsuit04/top", "male_casualsuit06/top",
    "male_worksuit01/top", "Asymmetric_Tunic_and_Sash", "Sleeveless", "Tank_Top_01", "TubeTop", "VNeckTop",
    "female_top_01", "short_tail_camo_tee", "spaghetti-top",
)  # fmt: skip
PLAIN_TOPS: Final = TOPS[:9]
BOTTOMS: Final = (
    "female_casualsuit01/bottom", "female_casualsuit02/bottom", "female_sportsuit01/bottom",
    "male_casualsuit01/bottom", "male_casualsuit02/bottom", "male_elegantsuit01/bottom", "Tightjeans",
    "ShortJeans",
)  # fmt: skip
SKIRTS: Final = ("female_elegantsuit01/bottom", "JeansSkirt", "miniskirt", "Skirt_Full_Long")
DRESSES: Final = (
    "F_Beach_Dress_01", "F_Dress_01", "F_Dress_02", "F_Dress_03", "F_Dress_04", "TubeDress",
)  # fmt: skip
SWIMSUIT: Final = "F_One-piece_Swimsuit_01"
COATS: Final = ("Coat", "male_casualsuit05/top", "male_elegantsuit01/top")
HATS: Final = ("fedora01", "Fishing_Hat_01", "pith_helmet")

_LIFT: Final = {
    "briefs": 0.001, "socks": 0.002, "lower": 0.009, "upper": 0.013, "shoes": 0.012, "boots": 0.017,
    "coat": 0.024, "gloves": 0.016, "scarf": 0.034, "hair": 0.030, "hat": 0.040, "glasses": 0.014,
}  # fmt: skip
"""Metres towards the camera by which what is worn outside wins."""
_PHOTO_SHARE: Final = 0.5
"""Share of cloths that are cut from photos."""
_TROUSER_CLOTH: Final = ("plain", "denim", "plain", "melange", "stripes", "camouflage")
_COAT_CLOTH: Final = ("plain", "knit", "melange", "plain", "plaid", "denim")
_SCARF_CLOTH: Final = ("knit", "plaid", "stripes", "plain", "floral")
_CAP_CLOTH: Final = ("knit", "plain", "stripes", "melange")
_SLEEVES: Final = (0.02, 0.4, 0.55, 1.0, 1.5, 1.95)


class Wardrobe:
    """Draws outfits.

    Args:
        catalogue: Garments by name.
        tailor: Cuts shells.
        split: Which assets may be used.
        photo_ids: Photos that cloth may be cut from; the benchmark uses none.
    """

    def __init__(self, catalogue: Catalogue, tailor: Tailor, split: Split, photo_ids: Sequence[str]) -> None:
        self._catalogue = catalogue
        self._tailor = tailor
        self._split = split
        self._photo_ids = photo_ids if split == "train" else ()

    def outfit(self, rng: np.random.Generator, who: Character, looks: Looks) -> list[Worn]:
        """What the person wears."""
        feminine = bool(rng.random() > who.gender) if rng.random() < 0.8 else bool(rng.random() < 0.5)
        skirted = False
        if rng.random() < 0.04 and who.years > 18:
            body = [self._swimwear(rng, who)]
        elif feminine and rng.random() < 0.42:
            body, skirted = self._dress(rng), True
        else:
            skirted = feminine and bool(rng.random() < 0.5)
            body = [self._skirt(rng) if skirted else self._trousers(rng), *self._upper(rng, who, feminine)]
        worn = [self._briefs(rng)] if skirted else []
        if rng.random() < (0.6 if skirted else 0.4):
            worn.append(self._socks(rng))
        worn += body
        if rng.random() < 0.26:
            worn += self._coat(rng)
        return worn + self._feet(rng) + self._hands(rng) + self._head(rng, looks)

    def _pick(self, rng: np.random.Generator, names: Sequence[str]) -> str:
        return str(rng.choice(allowed(names, self._split)))

    def _tint(self, rng: np.random.Generator) -> Color:
        if rng.random() < 0.4:
            return (1.0, 1.0, 1.0)
        color = np.clip(rng.uniform(0.35, 1.15) * (1 + rng.normal(0, 0.28, 3)), 0.05, 1.5)
        return float(color[0]), float(color[1]), float(color[2])

    def _cloth(
        self,
        rng: np.random.Generator,
        item: Garment | Shell,
        layer: str,
        kinds: tuple[str, ...] = CLOTHS,
    ) -> Worn:
        seed = int(rng.integers(*CLOTH_SEEDS[self._split]))
        cloth = f"cloth:{rng.choice(kinds)}:{seed}"
        if self._photo_ids and rng.random() < _PHOTO_SHARE:
            cloth = f"ccp:{self._photo_ids[int(rng.integers(len(self._photo_ids)))]}:{seed}"
        scale, folds = float(rng.uniform(2.5, 6)), float(rng.uniform(0.1, 0.45))
        gloss = float(rng.choice([0.02, 0.05, 0.1, 0.4], p=[0.4, 0.3, 0.2, 0.1]))
        return Worn(item, Material(KIND_CLOTH, cloth, (1.0, 1.0, 1.0), scale, gloss, folds, _LIFT[layer]))

    def _asset(self, rng: np.random.Generator, name: str, layer: str, cloth_share: float = 0.35) -> Worn:
        garment = self._catalogue.garment(name)
        if not garment.texture or rng.random() < cloth_share:
            return self._cloth(rng, garment, layer)
        folds = float(rng.uniform(0, 0.2))
        texture = f"file:{garment.texture}"
        tint = self._tint(rng)
        return Worn(
            garment, Material(KIND_TEXTURE, texture, tint, gloss=0.08, folds=folds, lift=_LIFT[layer])
        )

    def _socks(self, rng: np.random.Generator) -> Worn:
        """Socks, knee socks or tights."""
        top = float(rng.choice([1.6, 1.35, 1.05, 0.3, -0.2], p=[0.3, 0.2, 0.2, 0.1, 0.2]))
        return self._cloth(rng, self._tailor.socks(top=top), "socks")

    def _briefs(self, rng: np.random.Generator) -> Worn:
        briefs = self._tailor.pants(waist=0.10, length=0.16, offset=0.002)
        return self._cloth(rng, briefs, "briefs", ("plain", "plain", "dots"))

    def _swimwear(self, rng: np.random.Generator, who: Character) -> Worn:
        if who.gender < 0.95:
            return self._asset(rng, SWIMSUIT, "upper")
        return self._cloth(rng, self._tailor.pants(waist=0.10, length=float(rng.uniform(0.25, 0.7))), "lower")

    def _dress(self, rng: np.random.Generator) -> list[Worn]:
        if rng.random() < 0.5:
            return [self._asset(rng, self._pick(rng, DRESSES), "upper")]
        neck, sleeve = float(rng.uniform(0.44, 0.6)), float(rng.choice([0.05, 0.35, 0.6, 1.2, 1.95]))
        width = float(rng.uniform(0.07, 0.17))
        top = self._tailor.top(hem=0.10, sleeve=sleeve, neck=neck, width=width, part="dress")
        skirt = self._tailor.skirt(
            waist=0.15, hem=float(rng.uniform(-0.65, -0.1)), flare=float(rng.uniform(0, 1.2)),
            folds=float(rng.uniform(0, 0.12)), num_folds=int(rng.integers(5, 14)), part="dress",
        )  # fmt: skip
        first = self._cloth(rng, top, "upper")
        return [first, Worn(skirt, first.material)]

    def _skirt(self, rng: np.random.Generator) -> Worn:
        if rng.random() < 0.5:
            return self._asset(rng, self._pick(rng, SKIRTS), "lower")
        skirt = self._tailor.skirt(
            waist=0.15, hem=float(rng.uniform(-0.65, -0.12)), flare=float(rng.uniform(0, 1.3)),
            folds=float(rng.uniform(0, 0.14)), num_folds=int(rng.integers(5, 16)),
        )  # fmt: skip
        return self._cloth(rng, skirt, "lower")

    def _trousers(self, rng: np.random.Generator) -> Worn:
        if rng.random() < 0.65:
            return replace(self._asset(rng, self._pick(rng, BOTTOMS), "lower"), inflate=0.002)
        length = float(rng.choice([0.35, 0.6, 0.9, 1.5, 1.95]))
        offset = float(rng.uniform(0.006, 0.016))
        pants = self._tailor.pants(waist=0.16, length=length, offset=offset)
        return self._cloth(rng, pants, "lower", _TROUSER_CLOTH)

    def _upper(self, rng: np.random.Generator, who: Character, feminine: bool) -> list[Worn]:
        if rng.random() < 0.1 and who.gender > 0.95 and who.years > 18:
            return []
        if rng.random() < 0.55:
            return [self._asset(rng, self._pick(rng, TOPS if feminine else PLAIN_TOPS), "upper")]
        top = self._tailor.top(
            hem=float(rng.uniform(-0.02, 0.16)), sleeve=float(rng.choice(_SLEEVES)),
            neck=float(rng.uniform(0.44, 0.6)), width=float(rng.uniform(0.065, 0.15)),
            offset=float(rng.uniform(0.004, 0.014)),
        )  # fmt: skip
        return [self._cloth(rng, top, "upper")]

    def _coat(self, rng: np.random.Generator) -> list[Worn]:
        if rng.random() < 0.5:
            return [replace(self._asset(rng, self._pick(rng, COATS), "coat"), inflate=0.011)]
        gap = float(rng.choice([0.0, 0.01, 0.05]))
        top = self._tailor.top(
            hem=0.09, sleeve=1.97, neck=float(rng.uniform(0.55, 0.6)), offset=float(rng.uniform(0.02, 0.032)),
            width=float(rng.uniform(0.06, 0.11)), part="coat", opening=gap,
        )  # fmt: skip
        first = self._cloth(rng, top, "coat", _COAT_CLOTH)
        skirt = self._tailor.skirt(
            waist=0.12, hem=float(rng.uniform(-0.5, 0.02)), flare=float(rng.uniform(0.1, 0.6)), folds=0.02,
            num_folds=6, part="coat", offset=0.03, opening=gap,
        )  # fmt: skip
        return [first, Worn(skirt, first.material)]

    def _feet(self, rng: np.random.Generator) -> list[Worn]:
        if rng.random() < 0.14:
            return []
        if rng.random() < 0.15:
            return [self._asset(rng, "WinterBoots", "boots", cloth_share=0.12)]
        name = self._pick(rng, SHOES)
        worn = [self._asset(rng, f"{name}/shoe", "shoes", cloth_share=0.12)]
        if rng.random() < 0.35:
            worn.insert(0, self._asset(rng, f"{name}/sock", "socks", cloth_share=0.5))
        return worn

    def _hands(self, rng: np.random.Generator) -> list[Worn]:
        if rng.random() > 0.26:
            return []
        gloves = self._tailor.gloves(start=float(rng.choice([1.93, 1.8, 1.2])))
        return [self._cloth(rng, gloves, "gloves", ("plain", "knit", "plain"))]

    def _head(self, rng: np.random.Generator, looks: Looks) -> list[Worn]:
        worn: list[Worn] = []
        if rng.random() < 0.25:
            scarf = self._tailor.scarf(
                top=float(rng.uniform(0.58, 0.63)), bottom=float(rng.uniform(0.49, 0.54)),
                offset=float(rng.uniform(0.025, 0.045)), tail=float(rng.choice([0.6, 0.3, 0.15])),
                tail_at=float(rng.uniform(-0.08, 0.08)),
            )  # fmt: skip
            worn.append(self._cloth(rng, scarf, "scarf", _SCARF_CLOTH))
        hat = rng.random()
        if looks.hair and not (hat < 0.28 and looks.hair == "afro01"):
            worn.append(self._hair(looks))
        if hat < 0.15:
            worn.append(self._asset(rng, self._pick(rng, HATS), "hat"))
        elif hat < 0.28:
            cap = self._tailor.cap(
                height=float(rng.uniform(0.0, 0.35)), offset=float(rng.uniform(0.012, 0.03))
            )
            worn.append(self._cloth(rng, cap, "hat", _CAP_CLOTH))
        if rng.random() < 0.32:
            worn.append(self._asset(rng, "glasses", "glasses", cloth_share=0.0))
        return worn

    def _hair(self, looks: Looks) -> Worn:
        garment = self._catalogue.garment(looks.hair)
        red, green, blue = looks.hair_color
        if not garment.texture:
            return Worn(garment, Material(KIND_PLAIN, "", looks.hair_color, gloss=0.2, lift=_LIFT["hair"]))
        tint = (2.1 * red, 2.1 * green, 2.1 * blue)
        texture = f"hair:{garment.texture}"
        return Worn(garment, Material(KIND_HAIR, texture, tint, gloss=0.25, lift=_LIFT["hair"]))
