"""What training never sees: bodies, garments, hair, skins and motions of the benchmark of extreme poses.

The benchmark is drawn from held-out assets alone wherever a class has one; training caches are drawn from the
others. Membership is by name and number, so it does not depend on what is rendered in which order.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final, Literal

Split = Literal["train", "benchmark"]

FIRST_BENCHMARK_BODY: Final = 1_000_000
"""Numbers of people below are for training, from here on for the benchmark."""

HELD_OUT_GARMENTS: Final = frozenset(
    {
        "male_casualsuit06/top", "female_casualsuit02/bottom", "male_worksuit01/top", "Sleeveless",
        "VNeckTop", "Tightjeans", "miniskirt", "F_Dress_02", "F_Dress_03", "pith_helmet", "shoes03",
        "shoes05",
    }
)  # fmt: skip
HELD_OUT_HAIR: Final = frozenset({"bob02", "ponytail01", "short02"})
HELD_OUT_SKINS: Final = frozenset(
    {
        "young_lightskinned_female_diffuse3", "young_lightskinned_male_diffuse3",
        "middleage_darkskinned_female_diffuse", "middleage_darkskinned_male_diffuse",
        "middleage_lightskinned_female_diffuse2", "middleage_lightskinned_male_diffuse2",
        "old_lightskinned_female_diffuse2", "old_lightskinned_male_diffuse2",
    }
)  # fmt: skip
HELD_OUT_MOTIONS: Final = frozenset(
    {
        "01_04.amc.gz", "01_09.amc.gz", "01_14.amc.gz", "02_06.amc.gz", "03_04.amc.gz",
        "cmu_bvh/005_04.bvh.gz", "cmu_bvh/005_06.bvh.gz", "cmu_bvh/005_12.bvh.gz",
        "cmu_bvh/005_17.bvh.gz", "cmu_bvh/006_12.bvh.gz", "deepmimic/humanoid3d_backflip.txt.gz",
        "deepmimic/humanoid3d_cartwheel.txt.gz", "deepmimic/humanoid3d_dance_a.txt.gz",
        "deepmimic/humanoid3d_getup_facedown.txt.gz", "deepmimic/humanoid3d_roll.txt.gz",
        "deepmimic/humanoid3d_spinkick.txt.gz",
    }
)  # fmt: skip
HELD_OUT: Final = HELD_OUT_GARMENTS | HELD_OUT_HAIR | HELD_OUT_SKINS | HELD_OUT_MOTIONS
CLOTH_SEEDS: Final[dict[Split, tuple[int, int]]] = {"train": (0, 100_000), "benchmark": (100_000, 110_000)}


def split_of(body: int) -> Split:
    """Which side a person's number is on."""
    return "train" if body < FIRST_BENCHMARK_BODY else "benchmark"


def allowed(names: Sequence[str], split: Split) -> tuple[str, ...]:
    """The assets that a side may use; all of them if its side has none."""
    mine = tuple(name for name in names if (name in HELD_OUT) == (split == "benchmark"))
    return mine or tuple(name for name in names if split == "benchmark" or name not in HELD_OUT)


def held_out_hash() -> str:
    """SHA-256 over what is held out, kept in the recipe of every cache."""
    lists = [sorted(HELD_OUT), FIRST_BENCHMARK_BODY, CLOTH_SEEDS]
    return hashlib.sha256(json.dumps(lists).encode()).hexdigest()
