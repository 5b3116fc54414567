"""Pictures of skin, hair and cloth by name.

Names: `file:PATH` a picture as it is; `hair:PATH` a hair picture as grey strands of mean brightness;
`cloth:KIND:SEED` a woven, knitted or printed cloth that repeats without a seam; and `ccp:ID:SEED` cloth cut
from a garment of a CCP training photo, mirrored so that it repeats.

Shape suffixes: H height, W width, C channels.
"""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from partstream_evaluation.ccp import read_class_names, read_label_map
from partstream_models.data.photos.cache import read_photo, training_ids

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

SIDE: Final = 256
CLOTHS: Final = ("plain", "knit", "denim", "stripes", "plaid", "dots", "floral", "camouflage", "melange")
_HAIR_MEAN: Final = 150
_MIN_CUT: Final = 40
_CUT_FROM: Final = frozenset(
    {
        "blazer", "blouse", "cape", "cardigan", "coat", "dress", "hoodie", "jacket", "jeans", "jumper",
        "leggings", "pants", "romper", "scarf", "shirt", "shorts", "skirt", "suit", "sweater",
        "sweatshirt", "t-shirt", "top", "vest",
    }
)  # fmt: skip
"""Garments of CCP whose cloth is used."""


class TextureSource:
    """Makes textures by name.

    Args:
        ccp: CCP's folder; where it is missing there is no cloth from photos.
    """

    def __init__(self, ccp: Path) -> None:
        self._ccp = ccp
        has_photos = (ccp / "photos").is_dir() and (ccp / "val.txt").is_file()
        self.photo_ids: tuple[str, ...] = tuple(training_ids(ccp)) if has_photos else ()
        """Photos that cloth may be cut from: the training photos."""
        self._garments = (
            [number for number, name in enumerate(read_class_names(ccp)) if name in _CUT_FROM]
            if has_photos
            else []
        )

    def picture(self, name: str) -> UInt8Array:
        """The pixels of a texture, RGBA, row 0 on top.

        Raises:
            ValueError: The picture is missing or damaged.
        """
        kind, _, rest = name.partition(":")
        if kind == "cloth":
            cloth, _, seed = rest.partition(":")
            return _opaque(draw_cloth(cloth, int(seed)))
        if kind == "ccp":
            photo_id, _, seed = rest.partition(":")
            return _opaque(self._cut(photo_id, int(seed)))
        pixels = _read(Path(rest))
        return grey_hair(pixels) if kind == "hair" else pixels

    def _cut(self, photo_id: str, seed: int) -> UInt8Array:
        if photo_id not in self.photo_ids:
            raise ValueError(f"photo {photo_id} is not one of CCP's training photos")
        photo = read_photo(self._ccp / "photos" / f"{photo_id}.jpg")
        labels = read_label_map(self._ccp / "labels" / f"{photo_id}.png")
        rng = np.random.default_rng(seed)
        for garment in rng.permutation(self._garments):
            square = largest_square(labels == garment)
            if square is not None:
                row, column, side = square
                return mirrored(photo[row : row + side, column : column + side])
        return draw_cloth("melange", seed)


def largest_square(mask_HW: npt.NDArray[np.bool_]) -> tuple[int, int, int] | None:
    """Row, column and side of the largest square in a mask; none below _MIN_CUT pixels."""
    padded = np.pad(mask_HW.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_C, 3)
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    reach = int(distance[row, column]) - 2
    if 2 * reach < _MIN_CUT:
        return None
    return int(row) - 1 - reach, int(column) - 1 - reach, 2 * reach


def mirrored(square_HWC: UInt8Array) -> UInt8Array:
    """Cloth that repeats: the square with its mirror images, its light made even."""
    half = SIDE // 2
    small = cv2.resize(square_HWC, (half, half), interpolation=cv2.INTER_AREA).astype(np.float32)
    luma = small.mean(axis=2, keepdims=True)
    slow = cv2.GaussianBlur(luma, (0, 0), half / 5)[..., None]
    even = small * (0.35 + 0.65 * luma.mean() / np.maximum(slow, 4))
    row = np.concatenate([even, even[:, ::-1]], axis=1)
    return np.asarray(np.clip(np.concatenate([row, row[::-1]]), 0, 255), np.uint8)


def _read(path: Path) -> UInt8Array:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(f"cannot read the texture {path}")
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 4:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), np.uint8)
    return _opaque(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8))


def _opaque(pixels_HWC: UInt8Array) -> UInt8Array:
    return np.dstack([pixels_HWC, np.full(pixels_HWC.shape[:2], 255, np.uint8)])


def grey_hair(pixels_HWC: UInt8Array) -> UInt8Array:
    """The strands without their colour, for a tint of choice."""
    luma = pixels_HWC[..., :3].mean(axis=2)
    solid = pixels_HWC[..., 3] > 128
    mean = float(luma[solid].mean()) if solid.any() else 128.0
    # between the strands the pictures are black, whatever the hair's colour
    ratio = np.maximum(np.power(luma / max(mean, 1.0), 0.8), 0.68)
    grey = np.clip(_HAIR_MEAN * ratio, 0, 255).astype(np.uint8)
    return np.dstack([grey, grey, grey, pixels_HWC[..., 3]])


def _grid() -> tuple[FloatArray, FloatArray]:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    return y, x


def _seamless_noise(rng: np.random.Generator, cells: int) -> FloatArray:
    """Smooth noise 0..1 that repeats."""
    small = rng.random((cells, cells))
    wrapped = np.pad(small, 2, mode="wrap")
    scale = SIDE // cells
    big = cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(big[2 * scale : -2 * scale, 2 * scale : -2 * scale], 0, 1))


def draw_cloth(kind: str, seed: int) -> UInt8Array:
    """A square of cloth, RGB.

    Raises:
        ValueError: There is no such kind.
    """
    rng = np.random.default_rng(seed)
    y, x = _grid()
    colors = _palette(rng)
    weave = 0.9 + 0.1 * np.sin(2 * np.pi * 64 * x) * np.sin(2 * np.pi * 64 * y)
    base = np.broadcast_to(colors[0], (SIDE, SIDE, 3))
    if kind == "plain":
        cloth = base
    elif kind == "knit":
        rib = int(rng.choice([12, 16, 24, 32]))
        loops = np.abs(np.sin(np.pi * rib * x)) * (
            0.7 + 0.3 * np.sin(2 * np.pi * (rib * 1 * y + np.abs((rib * x) % 1 - 0.5)))
        )
        cloth, weave = base, 0.55 + 0.5 * loops
    elif kind == "denim":
        blue = np.array([rng.uniform(25, 110), rng.uniform(45, 125), rng.uniform(80, 165)])
        twill = 0.85 + 0.15 * np.sin(2 * np.pi * 48 * (x + y))
        worn = 0.75 + 0.6 * _seamless_noise(rng, 8)
        cloth, weave = np.broadcast_to(blue, base.shape) * worn[..., None], twill
    elif kind == "stripes":
        cloth = _stripes(rng, x if rng.random() < 0.4 else y, colors)
    elif kind == "plaid":
        cloth = 0.5 * _stripes(rng, x, colors) + 0.5 * _stripes(rng, y, colors)
    elif kind == "dots":
        count = int(rng.choice([4, 6, 8, 12]))
        near = np.hypot((count * x) % 1 - 0.5, (count * y) % 1 - 0.5) < rng.uniform(0.15, 0.35)
        cloth = np.where(near[..., None], colors[1], base)
    elif kind == "floral":
        cloth = _floral(rng, colors)
    elif kind == "camouflage":
        levels = _seamless_noise(rng, 8) * 0.7 + _seamless_noise(rng, 16) * 0.3
        steps = np.digitize(levels, np.quantile(levels, [0.3, 0.6, 0.85]))
        cloth = colors[steps % len(colors)]
    elif kind == "melange":
        cloth = base * (0.75 + 0.5 * rng.random((SIDE, SIDE, 1)))
    else:
        raise ValueError(f"unknown cloth {kind!r}, expected one of {CLOTHS}")
    return np.clip(cloth * weave[..., None], 0, 255).astype(np.uint8)


def _palette(rng: np.random.Generator) -> FloatArray:
    """Four colours of clothes: greys, earth and navy more often than bright ones."""
    colors = []
    for _ in range(4):
        hue, muted = rng.random(), rng.random() < 0.6
        saturation = rng.uniform(0.0, 0.35) if muted else rng.uniform(0.4, 0.9)
        value = float(np.clip(rng.beta(1.2, 1.2), 0.04, 0.97))
        hsv = np.array([[[hue * 360, saturation, value]]], np.float32)
        colors.append(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255)
    return np.array(colors, np.float64)


def _stripes(rng: np.random.Generator, along: FloatArray, colors: FloatArray) -> FloatArray:
    count = int(rng.choice([2, 4, 6, 10, 16]))
    phase = (along * count) % 1
    edges = np.sort(rng.random(2))
    return np.asarray(colors[np.digitize(phase, edges) % len(colors)])


def _floral(rng: np.random.Generator, colors: FloatArray) -> FloatArray:
    cloth = np.tile(colors[0], (SIDE, SIDE, 1))
    for _ in range(int(rng.integers(14, 40))):
        at, size = rng.integers(0, SIDE, 2), int(rng.integers(6, 22))
        color = colors[1 + int(rng.integers(3))].tolist()
        for petal in range(5):
            angle = petal * 2 * np.pi / 5 + rng.random()
            centre = at + size * 0.6 * np.array([np.cos(angle), np.sin(angle)])
            for shift in ((0, 0), (SIDE, 0), (-SIDE, 0), (0, SIDE), (0, -SIDE)):
                spot = (int(centre[0] + shift[0]), int(centre[1] + shift[1]))
                cv2.circle(cloth, spot, max(2, size // 2), color, -1, cv2.LINE_AA)
    return cloth
