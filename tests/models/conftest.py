"""A tiny CCP folder that is drawn, not photographed, and the photo cache made from it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from partstream_evaluation.ccp import HINTS
from partstream_models.data.photos.cache import HintSource, PhotoCache, training_ids

UInt8Array = NDArray[np.uint8]
TreeMaker = Callable[[Path], Path]

NAMES = (
    "null", "accessories", "bag", "belt", "blazer", "blouse", "bodysuit", "boots", "bra", "bracelet", "cape",
    "cardigan", "clogs", "coat", "dress", "earrings", "flats", "glasses", "gloves", "hair", "hat", "heels",
    "hoodie", "intimate", "jacket", "jeans", "jumper", "leggings", "loafers", "necklace", "panties", "pants",
    "pumps", "purse", "ring", "romper", "sandals", "scarf", "shirt", "shoes", "shorts", "skin", "skirt",
    "sneakers", "socks", "stockings", "suit", "sunglasses", "sweater", "sweatshirt", "swimwear", "t-shirt",
    "tie", "tights", "top", "vest", "wallet", "watch", "wedges",
)  # fmt: skip
HELD_OUT = ("0003", "0008")
GARMENTS = ("dress", "coat", "hat", "shirt", "skirt", "jeans", "scarf", "socks", "gloves", "sunglasses")
"""What the person of each photo wears, so that a garment tells whose it is."""
HEIGHT, WIDTH = 176, 112


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def draw_photo(number: int) -> tuple[UInt8Array, UInt8Array]:
    """A person of blocks in a garment of their own, and the class of each pixel."""
    rng = np.random.default_rng(number)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    middle = 56 + 2 * number % 12
    body = (slice(46, 108), slice(middle - 18, middle + 18))
    labels[14:26, middle - 12 : middle + 12] = NAMES.index("hair")
    labels[26:46, middle - 10 : middle + 10] = NAMES.index("skin")
    labels[50:100, middle - 30 : middle - 20] = NAMES.index("skin")
    labels[50:100, middle + 20 : middle + 30] = NAMES.index("skin")
    labels[body] = NAMES.index(GARMENTS[number - 1])
    labels[108:150, middle - 16 : middle - 3] = NAMES.index("skin")
    labels[108:150, middle + 3 : middle + 16] = NAMES.index("skin")
    labels[150:162, middle - 20 : middle - 3] = NAMES.index("shoes")
    labels[150:162, middle + 3 : middle + 20] = NAMES.index("shoes")
    colours = rng.integers(0, 256, (59, 3))
    noise = rng.normal(0, 6, (HEIGHT, WIDTH, 3))
    return np.clip(colours[labels] + noise, 0, 255).astype(np.uint8), labels


def draw_hints(photo_id: str, photo_HWC: UInt8Array) -> UInt8Array:
    """What the body networks would say of such a picture, given only its size."""
    height, width = photo_HWC.shape[:2]
    grid = np.zeros((len(HINTS), -(-height // 16) + 1, -(-width // 16) + 1), np.uint8)
    rows = np.arange(grid.shape[1])[:, None] * 16
    columns = np.arange(grid.shape[2])[None, :] * 16
    left = columns > 56  # the person faces the camera
    for name, where in {
        "face": rows < 46,
        "left-arm": (rows >= 46) & (rows < 108) & left,
        "right-arm": (rows >= 46) & (rows < 108) & ~left,
        "left-leg": (rows >= 108) & left,
        "right-leg": (rows >= 108) & ~left,
    }.items():
        grid[HINTS.index(name)] = np.where(where, 255, 0)
    return grid


def draw_tree(folder: Path) -> Path:
    """Write ten photos, their label maps and the lists; photos are saved without loss of what matters."""
    (folder / "photos").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "label_list.txt").write_text("".join(f"{row}\t{name}\n" for row, name in enumerate(NAMES)))
    (folder / "val.txt").write_text("".join(f"{name}\n" for name in HELD_OUT))
    for number in range(1, 11):
        image, labels = draw_photo(number)
        Image.fromarray(image).save(folder / "photos" / f"{number:04d}.jpg", quality=95)
        Image.fromarray(labels).save(folder / "labels" / f"{number:04d}.png")
    return folder


@pytest.fixture(scope="session")
def make_tree() -> TreeMaker:
    """Draws a CCP folder of ten photos at a path, for tests that spoil it."""
    return draw_tree


@pytest.fixture(scope="session")
def make_hints() -> HintSource:
    """Hints without networks."""
    return draw_hints


@pytest.fixture(scope="session")
def ccp_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CCP folder of ten photos that nobody may change."""
    return draw_tree(tmp_path_factory.mktemp("ccp") / "tree")


@pytest.fixture(scope="session")
def photo_cache_dir(ccp_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished cache of the eight training photos."""
    folder = tmp_path_factory.mktemp("cache")
    PhotoCache(ccp_tree, folder, training_ids(ccp_tree), draw_hints)
    return folder


@pytest.fixture(scope="session")
def photos(ccp_tree: Path, photo_cache_dir: Path) -> PhotoCache:
    """The eight training photos."""
    return PhotoCache(ccp_tree, photo_cache_dir, training_ids(ccp_tree), draw_hints)
