"""Published layouts of data sets, drawn small."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partstream_core.labels import PALETTE, PARTS, VOID

HEIGHT, WIDTH = 24, 32
HAIR, PANTS, TORSO = PARTS.index("hair"), PARTS.index("pants"), PARTS.index("torso-skin")


def save(path: Path, values: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def picture(seed: int, height: int = HEIGHT) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, WIDTH, 3), dtype=np.uint8)


def two_people() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Parts and people: person 1 on the left, person 3 on the right, and hair of nobody at the bottom."""
    parts, people = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    parts[2:8, 2:10], parts[8:20, 2:10] = HAIR, PANTS
    people[2:20, 2:10] = 1
    parts[4:18, 20:30], people[4:18, 20:30] = PANTS, 3
    parts[22:24, 14:18] = HAIR
    parts[0, 0] = VOID
    return parts, people


def draw_cihp(folder: Path) -> Path:
    parts, people = two_people()
    for name in ("0000006", "0000007"):
        save(folder / "Training" / "Images" / f"{name}.jpg", picture(int(name)))
        save(folder / "Training" / "Category_ids" / f"{name}.png", parts)
        save(folder / "Training" / "Human_ids" / f"{name}.png", people)
    (folder / "Training" / "train_id.txt").write_text("0000006\n0000007\n")
    return folder


def draw_vip(folder: Path, *, annotations: str) -> Path:
    parts, people = two_people()
    name = "videos1/000000000026"
    save(folder / "Images" / f"{name}.jpg", picture(26))
    save(folder / annotations / "Category_ids" / f"{name}.png", parts)
    save(folder / annotations / "Human_ids" / f"{name}.png", people)
    for number in (24, 25, 27):
        save(folder / "adjacent_frames" / name / f"{number:012d}.jpg", picture(number))
    (folder / "lists").mkdir()
    (folder / "lists" / "train_id.txt").write_text(f"{name}\n\n")
    return folder


def draw_lip(folder: Path, *, nested: bool) -> Path:
    parts = np.zeros((HEIGHT, WIDTH), np.uint8)
    parts[4:12, 4:20], parts[12:20, 4:20], parts[20:, 4:20] = HAIR, TORSO, VOID
    top = folder / "TrainVal_images"
    labels = folder / "TrainVal_parsing_annotations"
    save((top / top.name if nested else top) / "train_images" / "77_1.jpg", picture(77))
    save((labels / labels.name if nested else labels) / "train_segmentations" / "77_1.png", parts)
    (top if nested else folder).joinpath("train_id.txt").write_text("77_1\n")
    return folder


def rect(top: int, left: int, height: int, width: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def draw_davis(folder: Path, *, year: str) -> Path:
    for frame in range(3):
        image = Image.fromarray(
            np.where(rect(2, 3 + frame, 10, 6), 1, 0).astype(np.uint8)
            + np.where(rect(4, 18, 8, 8), 255 if year == "2016" else 4, 0).astype(np.uint8)
        )
        image.putpalette(PALETTE.tobytes())
        path = folder / "Annotations" / "480p" / "bear" / f"{frame:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        save(folder / "JPEGImages" / "480p" / "bear" / f"{frame:05d}.jpg", picture(frame))
    lists = folder / "ImageSets" / ("480p" if year == "2016" else "2017")
    lists.mkdir(parents=True)
    line = "/JPEGImages/480p/bear/{0:05d}.jpg /Annotations/480p/bear/{0:05d}.png"
    lines = [line.format(frame) for frame in range(3)] if year == "2016" else ["bear"]
    (lists / "train.txt").write_text("\n".join(lines))
    return folder


def draw_chairs(folder: Path) -> NDArray[np.float32]:
    flow = np.random.default_rng(3).normal(0, 4, (HEIGHT, WIDTH, 2)).astype("<f4")
    for number in (1, 2, 3):
        for which in (1, 2):
            save(folder / "data" / f"{number:05d}_img{which}.ppm", picture(10 * number + which))
        header = np.array([202021.25], "<f4").tobytes() + np.array([WIDTH, HEIGHT], "<i4").tobytes()
        (folder / "data" / f"{number:05d}_flow.flo").write_bytes(header + flow.tobytes())
    (folder / "FlyingChairs_train_val.txt").write_text("1\n2\n1\n")
    return flow
