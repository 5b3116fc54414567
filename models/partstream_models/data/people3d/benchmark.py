"""The benchmark of rendered people: pictures composed from cut-outs that no training run saw.

People are of a cache of held-out bodies and garments. Backdrops are photos of CCP's validation list with
their people painted out, as in the composite benchmark: training never reads them. The recipe, which holds
that of the people's cache, and its hash are recorded in the benchmark.

Shape suffixes: H height, W width, C channels (RGB), J joints, N people.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from partstream_core.labels import VOID
from partstream_evaluation.ccp import read_label_map, validation_part_maps
from partstream_evaluation.composite.backdrop import paint_out
from partstream_evaluation.composite.recipe import BACKDROPS
from partstream_evaluation.rendered.benchmark import (
    BenchmarkPicture,
    PersonFacts,
    PictureTruth,
    write_index,
    write_truth,
)
from partstream_models.data.people3d.cache import RenderedPerson

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

_OPAQUE: Final = 128


class People(Protocol):
    """Cut-outs by number, and the recipe that they were rendered by."""

    recipe: dict[str, object]

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> RenderedPerson: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedRecipe:
    """Everything that decides what the benchmark looks like, but for the cut-outs and photos."""

    seed: int = 20261127
    num_pictures: int = 200
    sizes: tuple[tuple[int, int], ...] = ((512, 288), (960, 540), (540, 960), (640, 480))
    """Widths and heights, in turn."""
    most_people: int = 3
    plain_poses: tuple[str, ...] = ("standing", "walking")
    """Kinds of poses that are left out."""
    longer_side: tuple[float, float] = (0.4, 1.05)
    """Of a person, against the frame's shorter side."""
    share_turned: float = 0.25
    """People who are turned by any angle, beside what their pose does."""
    least_visible: float = 0.5
    """Share of a person's pixels inside the frame and before others, below which a picture is drawn anew."""
    backdrops: tuple[str, ...] = BACKDROPS
    jpeg_quality: int = 92

    def __post_init__(self) -> None:
        if self.num_pictures < 1 or self.most_people < 1 or not self.sizes or not self.backdrops:
            raise ValueError(f"a benchmark needs pictures, people, sizes and backdrops, got {self}")


class _Placed(NamedTuple):
    """A cut-out in the frame."""

    image_HWC: UInt8Array
    alpha_HW: UInt8Array
    parts_HW: UInt8Array
    joints_J3: npt.NDArray[np.float32]
    facts: PersonFacts


class _Composed(NamedTuple):
    """A picture and its truth."""

    image_HWC: UInt8Array
    truth: PictureTruth
    facts: tuple[PersonFacts, ...]


def make(
    out_dir: Path,
    people: People,
    ccp_dir: Path,
    recipe: RenderedRecipe,
) -> str:
    """Write a benchmark; the recipe's hash.

    Args:
        out_dir: Where it goes; made if missing.
        people: Held-out people.
        ccp_dir: The CCP folder, for backdrops.
        recipe: What is drawn.

    Raises:
        ValueError: A photo is missing or damaged, or no cut-out is of a pose that is asked for.
    """
    chosen = [number for number in range(len(people)) if people[number].kind not in recipe.plain_poses]
    if not chosen:
        raise ValueError(f"no cut-out has a pose other than {', '.join(recipe.plain_poses)}")
    backdrops = read_backdrops(ccp_dir, recipe.backdrops)
    (out_dir / "pictures").mkdir(parents=True, exist_ok=True)
    pictures = []
    for number in range(recipe.num_pictures):
        composed = _compose(recipe, number, people, chosen, backdrops)
        name = f"{number:06d}"
        path = out_dir / "pictures" / f"{name}.jpg"
        Image.fromarray(composed.image_HWC).save(path, quality=recipe.jpeg_quality, subsampling=0)
        sha256 = write_truth(out_dir, name, composed.truth)
        pictures.append(BenchmarkPicture(name, composed.facts, sha256))
    document: dict[str, Any] = {**asdict(recipe), "people": people.recipe}
    return write_index(out_dir, document, pictures)


def read_backdrops(ccp_dir: Path, names: Sequence[str]) -> list[UInt8Array]:
    """The photos with their people painted out.

    Raises:
        ValueError: A photo or label map is missing or damaged.
    """
    found = {}
    for photo_id, parts_HW in validation_part_maps(ccp_dir):
        if photo_id not in names:
            continue
        labels_HW = read_label_map(ccp_dir / "labels" / f"{photo_id}.png")
        try:
            with Image.open(ccp_dir / "photos" / f"{photo_id}.jpg") as picture:
                image_HWC = np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise ValueError(f"cannot read the photo {photo_id} in {ccp_dir}: {error}") from error
        found[photo_id] = paint_out(image_HWC, (labels_HW > 0) | (parts_HW == VOID))
    missing = sorted(set(names) - set(found))
    if missing:
        raise ValueError(f"val.txt is not the published one: it lacks {', '.join(missing)}")
    return [found[name] for name in names]


def _compose(
    recipe: RenderedRecipe,
    number: int,
    people: People,
    chosen: Sequence[int],
    backdrops: Sequence[UInt8Array],
) -> _Composed:
    """The first drawing of a picture in which everybody is visible enough."""
    width, height = recipe.sizes[number % len(recipe.sizes)]
    for attempt in range(1000):
        rng = np.random.default_rng((recipe.seed, number, attempt))
        image_HWC = _backdrop(backdrops[int(rng.integers(len(backdrops)))], width, height, rng)
        count = 1 + int(rng.integers(recipe.most_people))
        placed = [_place(recipe, people[_pick(rng, chosen)], width, height, rng) for _ in range(count)]
        truth = _truth(placed, height, width)
        if not _visible(placed, truth, recipe.least_visible):
            continue
        for each in placed:
            weight = each.alpha_HW[..., None].astype(np.float32) / 255
            image_HWC = (image_HWC * (1 - weight) + each.image_HWC * weight).round().astype(np.uint8)
        return _Composed(_film(image_HWC, rng), truth, tuple(each.facts for each in placed))
    raise ValueError(f"picture {number} of the recipe cannot be drawn: nobody is visible enough")


def _pick(rng: np.random.Generator, chosen: Sequence[int]) -> int:
    return int(chosen[int(rng.integers(len(chosen)))])


def _place(
    recipe: RenderedRecipe, person: RenderedPerson, width: int, height: int, rng: np.random.Generator
) -> _Placed:
    """A cut-out scaled, turned now and then, and put somewhere; its light a little other than rendered."""
    rows, columns = np.nonzero(person.alpha_HW >= _OPAQUE)
    middle = np.array([columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]) / 2
    longer = max(np.ptp(columns), np.ptp(rows)) + 1
    scale = float(rng.uniform(*recipe.longer_side)) * min(width, height) / longer
    angle = float(rng.uniform(-np.pi, np.pi)) if rng.random() < recipe.share_turned else 0.0
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = np.array([width, height]) * rng.uniform(0.15, 0.85, 2)
    shift = target - turn @ middle
    light = np.clip(1 + rng.normal(0, 0.12) + rng.normal(0, 0.04, 3), 0.4, 1.6)
    image_HWC = np.clip(_warped(person.image_HWC, turn, shift, width, height) * light, 0, 255)
    alpha_HW = _warped(person.alpha_HW, turn, shift, width, height)
    parts_HW = _warped(person.parts_HW, turn, shift, width, height, nearest=True)
    joints_J3 = person.joints_J3.copy()
    joints_J3[:, :2] = person.joints_J3[:, :2] @ turn.T + shift
    traits = person.traits
    facts = PersonFacts(person.body, person.kind, traits.age, traits.gender, traits.skin_tone, traits.build)
    return _Placed(image_HWC.astype(np.uint8), alpha_HW, parts_HW, joints_J3, facts)


def _warped(
    plane: UInt8Array, turn: FloatArray, shift: FloatArray, width: int, height: int, *, nearest: bool = False
) -> UInt8Array:
    """A plane moved by a map of places, which are measured from the edge of the first pixel."""
    matrix = np.concatenate([turn, (turn @ [0.5, 0.5] + shift - 0.5)[:, None]], axis=1)
    scale = float(np.sqrt(abs(np.linalg.det(turn))))
    if not nearest and scale < 1:  # bilinear sampling would skip pixels
        plane = np.asarray(cv2.GaussianBlur(plane, (0, 0), 0.4 / scale), np.uint8)
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(plane, matrix, (width, height), flags=how), np.uint8)


def _truth(placed: Sequence[_Placed], height: int, width: int) -> PictureTruth:
    """Who and what each pixel is, those placed later in front; joints that others hide are not judged."""
    parts_HW, instances_HW = np.zeros((2, height, width), np.uint8)
    for number, each in enumerate(placed, start=1):
        inside = (each.alpha_HW >= _OPAQUE) & (each.parts_HW > 0)
        parts_HW[inside], instances_HW[inside] = each.parts_HW[inside], number
    joints_NJ3 = np.stack([each.joints_J3 for each in placed]).astype(np.float32)
    for number, joints_J3 in enumerate(joints_NJ3, start=1):
        column_J, row_J = np.floor(joints_J3[:, :2]).astype(np.int64).T
        in_frame_J = (column_J >= 0) & (column_J < width) & (row_J >= 0) & (row_J < height)
        owner_J = instances_HW[row_J.clip(0, height - 1), column_J.clip(0, width - 1)]
        joints_J3[:, 2] *= in_frame_J & ((owner_J == 0) | (owner_J == number))
    return PictureTruth(parts_HW, instances_HW, joints_NJ3)


def _visible(placed: Sequence[_Placed], truth: PictureTruth, least: float) -> bool:
    """Whether enough is seen of everybody: of their pixels in the frame, and of the whole cut-out."""
    for number, each in enumerate(placed, start=1):
        seen = np.count_nonzero(truth.instances_HW == number)
        own = np.count_nonzero((each.alpha_HW >= _OPAQUE) & (each.parts_HW > 0))
        joints_J2 = each.joints_J3[:, :2]
        height, width = truth.parts_HW.shape
        in_frame = ((joints_J2 >= 0) & (joints_J2 < (width, height))).all(axis=1).mean()
        if seen == 0 or seen < least * own or in_frame < least:
            return False
    return True


def _backdrop(photo_HWC: UInt8Array, width: int, height: int, rng: np.random.Generator) -> UInt8Array:
    """A piece of a photo, mirrored now and then, scaled to the frame."""
    scale = max(width / photo_HWC.shape[1], height / photo_HWC.shape[0]) * float(rng.uniform(1.0, 1.6))
    cut_width, cut_height = (
        min(round(side / scale), most)
        for side, most in zip((width, height), (photo_HWC.shape[1], photo_HWC.shape[0]), strict=True)
    )
    left = int(rng.integers(photo_HWC.shape[1] - cut_width + 1))
    top = int(rng.integers(photo_HWC.shape[0] - cut_height + 1))
    piece_HWC = photo_HWC[top : top + cut_height, left : left + cut_width]
    if rng.random() < 0.5:
        piece_HWC = piece_HWC[:, ::-1]
    how = Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(piece_HWC)).resize((width, height), how))


def _film(image_HWC: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """The picture as a camera sees it: a little soft, noisy or dark, or none of it."""
    seen = image_HWC.astype(np.float64)
    if rng.random() < 0.4:
        seen = np.asarray(cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(0.3, 0.9))), np.float64)
    seen = seen * float(rng.uniform(0.65, 1.1)) + rng.normal(0, rng.uniform(0, 4), seen.shape)
    return np.clip(seen, 0, 255).astype(np.uint8)
