"""Part label maps of the Clothing Co-Parsing photos.

CCP (Yang, Luo, Lin, CVPR 2014) labels 58 kinds of clothes, hair and bare skin of one person a photo. We
need 19 body parts and garments, left and right told apart, and bystanders marked void. What the clothes
labels cannot tell comes from *hints*: coarse grids of where a body-part network and a person segmenter see
which body region (`partstream_models.data.photos.body_hints` makes them). The hints of the validation photos
ship with this package. All of it is integer arithmetic, so the validation maps are the same on every machine;
`VALIDATION_SHA256` pins them.

Shape suffixes: H height, W width, C hint channels, h and w the hint grid's height and width.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from partstream_core.labels import PARTS, VOID

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]

HINT_STRIDE: Final = 16
"""Source pixels between two cells of a hint grid; cell (0, 0) lies on pixel (0, 0)."""

HINTS: Final = (
    "face", "left-arm", "right-arm", "torso", "left-leg", "right-leg", "left-foot", "right-foot",
    "body", "person",
)  # fmt: skip
"""Channels of a hint grid, 0..255: eight body regions, any body, and the second network's person score."""

NUM_CLASSES: Final = 59
_ON_TOP: Final = ("accessories", "belt", "bracelet", "earrings", "necklace", "ring", "watch")
_SHOES: Final = (
    "boots", "clogs", "flats", "heels", "loafers", "pumps", "sandals", "shoes", "sneakers", "wedges",
)  # fmt: skip
PART_OF_CLASS: Final[Mapping[str, str]] = {
    "null": "background",
    "bag": "background", "purse": "background", "wallet": "background",
    "blazer": "coat", "cape": "coat", "cardigan": "coat", "coat": "coat", "jacket": "coat", "suit": "coat",
    "blouse": "upper-clothes", "bodysuit": "upper-clothes", "bra": "upper-clothes", "hoodie": "upper-clothes",
    "intimate": "upper-clothes", "jumper": "upper-clothes", "shirt": "upper-clothes",
    "sweater": "upper-clothes", "sweatshirt": "upper-clothes", "swimwear": "upper-clothes",
    "t-shirt": "upper-clothes", "tie": "upper-clothes", "top": "upper-clothes", "vest": "upper-clothes",
    "dress": "dress", "romper": "dress",
    "jeans": "pants", "leggings": "pants", "panties": "pants", "pants": "pants", "shorts": "pants",
    "skirt": "skirt", "socks": "socks", "stockings": "socks", "tights": "socks",
    "glasses": "sunglasses", "sunglasses": "sunglasses",
    "gloves": "gloves", "hair": "hair", "hat": "hat", "scarf": "scarf",
}  # fmt: skip
"""CCP class to part. `skin`, the shoes and the things that lie on other parts are split by `part_map`."""

VALIDATION_SHA256: Final = "2ba5c9775dbfee10626a1f07928933a6528ed3a164b9981f796add9f0f03b16a"
"""SHA-256 over the names and bytes of the 100 validation maps, in the order of val.txt."""


@dataclass(frozen=True, slots=True)
class _Tables:
    """Lookup tables by CCP class number; made once for one label list."""

    part_of_class: UInt8Array
    is_on_top: BoolArray
    is_shoe: BoolArray
    skin: int
    suit: int


def read_class_names(data_dir: Path) -> tuple[str, ...]:
    """The 59 class names of `label_list.txt`, by number.

    Raises:
        ValueError: The list is missing, or is not CCP's.
    """
    path = data_dir / "label_list.txt"
    if not path.is_file():
        raise ValueError(f"no CCP label list at {path}")
    rows = [line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip()]
    names = tuple(row[1].strip() for row in rows if len(row) == 2)
    known = {*PART_OF_CLASS, *_ON_TOP, *_SHOES, "skin"}
    if len(names) != NUM_CLASSES or set(names) != known:
        raise ValueError(
            f"{path} is not CCP's list of {NUM_CLASSES} classes: it differs in {set(names) ^ known}"
        )
    return names


def _tables(names: tuple[str, ...]) -> _Tables:
    part_of_class = np.zeros(256, np.uint8)
    for number, name in enumerate(names):
        part_of_class[number] = PARTS.index(PART_OF_CLASS.get(name, "background"))
    numbers = np.zeros((2, 256), bool)
    for number, name in enumerate(names):
        numbers[0, number] = name in _ON_TOP
        numbers[1, number] = name in _SHOES
    return _Tables(part_of_class, numbers[0], numbers[1], names.index("skin"), names.index("suit"))


def upsample_hints(hints_ChW: UInt8Array, height: int, width: int) -> Int64Array:
    """Hints at every pixel, [C, H, W], bilinear in exact integer arithmetic, in units of 1/HINT_STRIDE**2."""
    size = HINT_STRIDE

    def axis(length: int, cells: int) -> tuple[Int64Array, Int64Array, Int64Array]:
        position = np.arange(length, dtype=np.int64)
        low = np.minimum(position // size, cells - 1)
        return low, np.minimum(low + 1, cells - 1), position % size

    top, bottom, part_y = axis(height, hints_ChW.shape[1])
    left, right, part_x = axis(width, hints_ChW.shape[2])
    grid = hints_ChW.astype(np.int64)
    rows = grid[:, top] * (size - part_y)[None, :, None] + grid[:, bottom] * part_y[None, :, None]
    columns = rows[:, :, left] * (size - part_x) + rows[:, :, right] * part_x
    return columns.astype(np.int64, copy=False)


def part_map(labels_HW: UInt8Array, hints_Chw: UInt8Array, names: tuple[str, ...]) -> UInt8Array:
    """The 20-class part map of one photo, uint8 [H, W], `VOID` where nobody can say.

    - Things that lie on others (belts, jewellery) become the part nearest to them; bags are background.
    - Skin goes to face, torso-skin, or a left or right arm or leg, by the strongest hint at the pixel.
    - Shoes go left or right by the hints of feet and legs, one vote for each connected shoe.
    - A suit is coat above and pants where the hints see legs.
    - Void: other people, and body that the photo's labels leave out.

    Raises:
        ValueError: A label above 58, or a hint grid of the wrong shape.
    """
    if labels_HW.max(initial=0) >= len(names):
        raise ValueError(f"label map holds class {int(labels_HW.max())}; CCP has 0..{len(names) - 1}")
    if hints_Chw.ndim != 3 or hints_Chw.shape[0] != len(HINTS):
        raise ValueError(f"hints must be [{len(HINTS)}, h, w], got {hints_Chw.shape}")
    tables = _tables(names)
    height, width = labels_HW.shape
    hints = upsample_hints(hints_Chw, height, width)
    parts = tables.part_of_class[labels_HW]
    _split_skin(parts, labels_HW == tables.skin, hints)
    _split_shoes(parts, tables.is_shoe[labels_HW], hints)
    legs = hints[4:6].max(axis=0) > hints[:4].max(axis=0)
    parts[(labels_HW == tables.suit) & legs] = PARTS.index("pants")
    _fill_from_nearest(parts, tables.is_on_top[labels_HW], labels_HW)
    parts[_void(labels_HW, hints)] = VOID
    return parts


_SKIN_PARTS: Final = ("face", "left-arm", "right-arm", "torso-skin", "left-leg", "right-leg")


def _split_skin(parts: UInt8Array, skin: BoolArray, hints: Int64Array) -> None:
    region = hints[:6].copy()
    region[4] = np.maximum(region[4], hints[6])  # a bare foot belongs to its leg
    region[5] = np.maximum(region[5], hints[7])
    choice = np.array([PARTS.index(name) for name in _SKIN_PARTS], np.uint8)
    best = region.argmax(axis=0)
    parts[skin] = choice[best][skin]
    arms = skin & ((best == 1) | (best == 2))
    pieces, count = ndimage.label(arms)
    for piece in range(1, count + 1):  # a hand is never half left and half right
        here = pieces == piece
        is_left = region[1][here].sum() > region[2][here].sum()
        parts[here] = PARTS.index("left-arm" if is_left else "right-arm")


def _split_shoes(parts: UInt8Array, shoes: BoolArray, hints: Int64Array) -> None:
    left, right = hints[[4, 6]].sum(axis=0), hints[[5, 7]].sum(axis=0)
    pieces, count = ndimage.label(shoes)
    if count == 0:
        return
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    first, second = (int(piece) for piece in np.argsort(-areas, kind="stable")[:2])
    if count == 1 or areas[second] * 6 < areas[first]:  # both shoes in one piece: pixel by pixel
        parts[shoes] = np.where(left > right, PARTS.index("left-shoe"), PARTS.index("right-shoe"))[shoes]
        return
    balance = {
        piece: int((left - right)[pieces == piece].sum()) // int(areas[piece])
        for piece in range(1, count + 1)
    }
    middle = (balance[first] + balance[second]) // 2 if balance[first] != balance[second] else 0
    for piece, value in balance.items():  # the two large pieces are one of each
        parts[pieces == piece] = PARTS.index("left-shoe" if value > middle else "right-shoe")


def _fill_from_nearest(parts: UInt8Array, on_top: BoolArray, labels_HW: UInt8Array) -> None:
    known = (labels_HW > 0) & ~on_top
    if not on_top.any() or not known.any():
        return
    distance, (rows, columns) = ndimage.distance_transform_edt(~known, return_indices=True)
    near = on_top & (distance <= 40)
    parts[near] = parts[rows[near], columns[near]]


def _void(labels_HW: UInt8Array, hints: Int64Array) -> BoolArray:
    unit = HINT_STRIDE * HINT_STRIDE
    unlabelled = labels_HW == 0
    if unlabelled.all():
        return np.ones_like(unlabelled)
    body, person = hints[8], hints[9]
    distance = ndimage.distance_transform_edt(unlabelled)
    stranger = unlabelled & (person > 102 * unit) & (distance > 24)
    stranger = ndimage.binary_dilation(stranger, iterations=14) & unlabelled & (distance > 6)
    missed = unlabelled & (person > 204 * unit) & (body > 204 * unit)
    missed = ndimage.binary_opening(missed, iterations=6)
    void: BoolArray = stranger | missed
    return void


def read_label_map(path: Path) -> UInt8Array:
    """The class map in a PNG, uint8 [H, W].

    Raises:
        ValueError: The file is missing, damaged, or not an 8-bit one-channel picture.
    """
    try:
        with Image.open(path) as picture:
            labels = np.array(picture)
    except OSError as error:
        raise ValueError(f"cannot read the label map {path}: {error}") from error
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f"{path} is not an 8-bit label map: {labels.dtype} {labels.shape}")
    return labels


def validation_ids(data_dir: Path) -> tuple[str, ...]:
    """The ids of `val.txt`, which no training run may see."""
    path = data_dir / "val.txt"
    if not path.is_file():
        raise ValueError(f"no list of validation photos at {path}")
    return tuple(path.read_text().split())


def validation_part_maps(data_dir: Path) -> Iterator[tuple[str, UInt8Array]]:
    """Id and truth part map (uint8 [H, W], 255 void) of each validation photo, in the order of val.txt."""
    names = read_class_names(data_dir)
    packed = resources.files("partstream_evaluation").joinpath("data/ccp_validation_hints.npz").read_bytes()
    with np.load(BytesIO(packed)) as hints:
        for photo_id in validation_ids(data_dir):
            if photo_id not in hints:
                raise ValueError(
                    f"no hints for validation photo {photo_id!r}: val.txt is not the published one"
                )
            yield (
                photo_id,
                part_map(read_label_map(data_dir / "labels" / f"{photo_id}.png"), hints[photo_id], names),
            )


def validation_sha256(data_dir: Path) -> str:
    """SHA-256 of the validation maps; `VALIDATION_SHA256` if data and mapping are the published ones."""
    return sha256_of(validation_part_maps(data_dir))


def sha256_of(part_maps: Iterable[tuple[str, UInt8Array]]) -> str:
    """SHA-256 over the ids, sizes and bytes of part maps, in their order."""
    digest = hashlib.sha256()
    for photo_id, parts_HW in part_maps:
        digest.update(f"{photo_id} {parts_HW.shape[0]}x{parts_HW.shape[1]}\n".encode())
        digest.update(np.ascontiguousarray(parts_HW).tobytes())
    return digest.hexdigest()
