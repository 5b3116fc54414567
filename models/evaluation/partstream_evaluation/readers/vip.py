"""CIHP and VIP: truth in Category_ids, Human_ids and Instance_ids; results in folders of their own.

Truth: `Category_ids/[CLIP/]NAME.png` holds parts 0..19 (255 void), `Human_ids/[CLIP/]NAME.png` people from
1, `Instance_ids/[CLIP/]NAME.png` parts of people from 1, with `NAME.txt` of lines `instance part person`. The
third follows from the first two, so it is written and not read. Results, as VIP's scripts take them, are in
`CLIP/global_parsing/NAME.png`, `CLIP/instance_segmentation/NAME.png` with `NAME.txt` (line n: score and box
of person n) and `CLIP/instance_parsing/NAME.png` with `NAME.txt` (line n: part and score of instance n).

Source: Zhou et al., MM 2018 (VIP); Gong et al., ECCV 2018 (CIHP).
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from partstream_core.labels import NUM_PARTS, PALETTE, PARTS, VOID
from partstream_core.results import PartResult, PersonResult
from partstream_core.rle import area, decode, encode, encode_label_map
from partstream_evaluation.readers.images import LabelMap, read_labels, same_size, write_labels
from partstream_evaluation.readers.model import (
    ONLY_FRAME,
    FrameKey,
    FrameObjects,
    ResultSet,
    frame_name,
    mask_of,
    people_of_maps,
    person,
)

_PART_VALUES = (*range(NUM_PARTS), VOID)


def read_truth(folder: Path) -> ResultSet:
    """The truth in a folder of Category_ids and Human_ids.

    Raises:
        ValueError: A map is missing, damaged, of another size, or holds a part that there is not.
    """
    categories = folder / "Category_ids"
    frames, is_clip = {}, False
    for path in sorted(categories.glob("**/*.png")):
        name = path.relative_to(categories)
        is_clip = is_clip or len(name.parts) > 1
        key = _key(name)
        parts_HW = read_labels(path, allowed=_PART_VALUES)
        owners_path = folder / "Human_ids" / name
        owners_HW = read_labels(owners_path)
        same_size(parts_HW, path, owners_HW, owners_path)
        nobody_HW = (parts_HW == VOID) | (owners_HW == VOID) | ((parts_HW > 0) & (owners_HW == 0))
        owners_HW, parts_HW = np.where(nobody_HW, 0, owners_HW), np.where(nobody_HW, 0, parts_HW)
        ignored = encode(nobody_HW) if nobody_HW.any() else None
        frames[key] = FrameObjects(path, owners_HW.shape[:2], people_of_maps(owners_HW, parts_HW), ignored)
    return ResultSet(frames, has_parts=True, has_identities=is_clip)


def _key(name: Path) -> FrameKey:
    if len(name.parts) == 1:
        return FrameKey(name.stem, ONLY_FRAME)
    return FrameKey("/".join(name.parts[:-1]), frame_name(name.stem))


def read_results(folder: Path) -> ResultSet:
    """Results as VIP's scripts take them.

    Raises:
        ValueError: A map or text is missing or damaged, or a score is not a number from 0 to 1.
    """
    frames = {}
    for path in sorted(folder.glob("*/instance_segmentation/*.png")):
        clip = path.parent.parent
        owners_HW = read_labels(path)
        scores = {at: score for at, (score, *_) in enumerate(_numbers(path.with_suffix(".txt"), 5), start=1)}
        missing = set(np.unique(owners_HW).tolist()) - {0, *scores}
        if missing:
            raise ValueError(f"{path.with_suffix('.txt')} has no line for person {min(missing)}")
        parts = _parts_of(clip, path, owners_HW)
        try:
            people = tuple(
                person(each, scores[each], mask, tuple(parts.get(each, ())))
                for each, mask in encode_label_map(owners_HW, scores).items()
            )
        except ValueError as error:
            raise ValueError(f"{path.with_suffix('.txt')}: {error}") from error
        frames[FrameKey(clip.name, frame_name(path.stem))] = FrameObjects(path, owners_HW.shape[:2], people)
    return ResultSet(frames, has_parts=True, has_identities=True)


def _parts_of(clip: Path, owners_path: Path, owners_HW: LabelMap) -> dict[int, list[PartResult]]:
    """Parts by person: each instance goes to whom most of its pixels belong."""
    path = clip / "instance_parsing" / owners_path.name
    instances_HW = read_labels(path)
    same_size(owners_HW, owners_path, instances_HW, path)
    found: dict[int, list[PartResult]] = {}
    lines = list(_numbers(path.with_suffix(".txt"), 2))
    for number, mask in encode_label_map(instances_HW, range(1, len(lines) + 1)).items():
        part, score = lines[number - 1]
        if part not in range(1, NUM_PARTS) or not 0 <= score <= 1:
            raise ValueError(f"{path.with_suffix('.txt')}, line {number}: no part and score: {part} {score}")
        owner = int(np.bincount(owners_HW[decode(mask)]).argmax())
        found.setdefault(owner, []).append(PartResult(PARTS[int(part)], score, area(mask), mask))
    return found


def _numbers(path: Path, count: int) -> Iterator[list[float]]:
    """The lines of a text file of numbers."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            values = [float(word) for word in line.split()]
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        if len(values) < count or not all(map(math.isfinite, values)):
            raise ValueError(f"{path}, line {number}: must hold {count} numbers, got {line!r}")
        yield values


def write_truth(found: ResultSet, folder: Path) -> None:
    """Write Category_ids, Human_ids and Instance_ids.

    Raises:
        ValueError: A frame has no size.
    """
    for key, frame in found.frames.items():
        owners_HW, parts_HW, instances_HW, lines = _maps(frame)
        if frame.ignored is not None:
            parts_HW[decode(frame.ignored)] = VOID
        name = (
            key.clip if key.frame == ONLY_FRAME and not found.has_identities else f"{key.clip}/{_padded(key)}"
        )
        write_labels(folder / "Category_ids" / f"{name}.png", parts_HW, PALETTE)
        write_labels(folder / "Human_ids" / f"{name}.png", owners_HW, PALETTE)
        write_labels(folder / "Instance_ids" / f"{name}.png", instances_HW, PALETTE)
        text = "".join(f"{at} {part} {who}\n" for at, (part, _, who) in enumerate(lines, start=1))
        (folder / "Instance_ids" / f"{name}.txt").write_text(text, encoding="utf-8")


def write_results(found: ResultSet, folder: Path) -> None:
    """Write results as VIP's scripts take them; people are numbered from 1 in each frame.

    Raises:
        ValueError: A frame has no size.
    """
    for key, frame in found.frames.items():
        numbered = tuple(
            PersonResult(at, each.score, each.box, each.mask, each.parts)
            for at, each in enumerate(frame.people, start=1)
        )
        owners_HW, parts_HW, instances_HW, lines = _maps(
            FrameObjects(frame.source, frame.size, numbered, frame.ignored)
        )
        clip, name = folder / key.clip, _padded(key)
        write_labels(clip / "global_parsing" / f"{name}.png", parts_HW, PALETTE)
        write_labels(clip / "instance_segmentation" / f"{name}.png", owners_HW, PALETTE)
        write_labels(clip / "instance_parsing" / f"{name}.png", instances_HW, PALETTE)
        boxes = [(each.score, *(each.box[at] for at in (1, 0, 3, 2))) for each in numbered]
        people = "".join(
            f"{score:f} {y1:.0f} {x1:.0f} {y2:.0f} {x2:.0f}\n" for score, y1, x1, y2, x2 in boxes
        )
        (clip / "instance_segmentation" / f"{name}.txt").write_text(people, encoding="utf-8")
        parts = "".join(f"{part} {score:f}\n" for part, score, _ in lines)
        (clip / "instance_parsing" / f"{name}.txt").write_text(parts, encoding="utf-8")


def _padded(key: FrameKey) -> str:
    return f"{int(key.frame):012d}" if key.frame.isdigit() else key.frame


def _maps(frame: FrameObjects) -> tuple[LabelMap, LabelMap, LabelMap, list[tuple[int, float, int]]]:
    """Maps of people, parts and parts of people; and part, score and person of each of the last."""
    if frame.size is None:
        raise ValueError(f"{frame.source} has a frame of unknown size, which cannot be written as a picture")
    owners_HW, parts_HW, instances_HW = (np.zeros(frame.size, np.int64) for _ in range(3))
    lines: list[tuple[int, float, int]] = []
    for each in frame.people:
        owners_HW[decode(mask_of(each, frame.source))] = each.identity
        for part in each.parts:
            here = decode(mask_of(part, frame.source))
            lines.append((PARTS.index(part.part), part.score, each.identity))
            parts_HW[here], instances_HW[here] = lines[-1][0], len(lines)
    return owners_HW, parts_HW, instances_HW, lines
