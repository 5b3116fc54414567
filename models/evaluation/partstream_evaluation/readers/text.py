"""NDJSON of `partstream`, and the text of MOTS: a file a clip."""

from pathlib import Path
from typing import Final

from partstream_core.results import FrameResult
from partstream_core.results_io import IGNORED, PEDESTRIAN, mots_lines, ndjson_line, read_mots, read_ndjson
from partstream_core.rle import Rle, decode, encode
from partstream_evaluation.readers.model import FrameKey, FrameObjects, ResultSet, person, size_of

_RESULTS: Final = "results.ndjson"
_IDS_PER_CLASS: Final = 1000


def read_ndjson_set(path: Path) -> ResultSet:
    """One file of NDJSON, or all below a folder; `NAME/results.ndjson`, as `partstream` writes, is clip NAME.

    Raises: ValueError: A line is not a frame, or its masks are not RLE of one size; the message names the
        file. OSError: A file cannot be read.
    """
    files = sorted(path.glob("**/*.ndjson")) if path.is_dir() else [path]
    frames = {}
    for file in files:
        clip = file.parent.name if file.name == _RESULTS else file.stem
        for frame in read_ndjson(file):
            key = FrameKey(clip, str(frame.index))
            if key in frames:
                raise ValueError(f"{file}: {key} is there twice")
            frames[key] = FrameObjects(file, size_of(frame.people, file), frame.people)
    return ResultSet(frames, has_parts=True, has_identities=True)


def write_ndjson_set(found: ResultSet, folder: Path) -> None:
    """Write `CLIP/results.ndjson`; frames without a number are counted in their order."""
    for clip, frames in _by_clip(found).items():
        path = folder / clip / _RESULTS
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(ndjson_line(frame) for frame in frames), encoding="utf-8")


def read_mots_set(path: Path) -> ResultSet:
    """One MOTS file, or all of a folder: people only; frames up to the last one named are there, also empty.

    Raises: ValueError: A line is not an object; the message names file and line. OSError: It cannot be read.
    """
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    frames: dict[FrameKey, FrameObjects] = {}
    for file in files:
        objects = list(read_mots(file))
        for number in range(1 + max((each.frame for each in objects), default=-1)):
            here = [each for each in objects if each.frame == number]
            people = tuple(
                person(each.object_id % _IDS_PER_CLASS or _IDS_PER_CLASS, 1.0, each.mask)
                for each in here
                if each.class_id == PEDESTRIAN
            )
            ignored = _union([each.mask for each in here if each.class_id == IGNORED])
            size = size_of(people, file) or ((ignored.height, ignored.width) if ignored else None)
            frames[FrameKey(file.stem, str(number))] = FrameObjects(file, size, people, ignored)
    return ResultSet(frames, has_parts=False, has_identities=True)


def write_mots_set(found: ResultSet, folder: Path) -> None:
    """Write `CLIP.txt`, with regions to ignore.

    Raises:
        ValueError: A mask is not RLE.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ignored = {str(key): frame.ignored for key, frame in found.frames.items()}
    for clip, frames in _by_clip(found).items():
        lines: list[str] = []
        for frame in frames:
            lines += mots_lines(frame)
            region = ignored.get(str(FrameKey(clip, str(frame.index))))
            if region is not None:
                number = IGNORED * _IDS_PER_CLASS
                lines.append(
                    f"{frame.index} {number} {IGNORED} {region.height} {region.width} {region.counts}\n"
                )
        (folder / f"{clip.replace('/', '-')}.txt").write_text("".join(lines), encoding="utf-8")


def _by_clip(found: ResultSet) -> dict[str, list[FrameResult]]:
    clips: dict[str, list[FrameResult]] = {}
    keys = sorted(found.frames, key=lambda key: (key.clip, int(key.frame) if key.frame.isdigit() else 0, key))
    for key in keys:
        frames = clips.setdefault(key.clip, [])
        index = int(key.frame) if key.frame.isdigit() else len(frames)
        frames.append(FrameResult(index, 0.0, True, found.frames[key].people))
    return clips


def _union(masks: list[Rle]) -> Rle | None:
    if not masks:
        return None
    total = decode(masks[0]).copy()
    for mask in masks[1:]:
        total |= decode(mask)
    return encode(total)
