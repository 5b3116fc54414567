"""A teacher's joints of a clip, as a results file that `partstream-evaluate joints` compares with.

MoveNet finds the people and BlazePose heavy tells their joints: the live network's joints start as MoveNet's
own, so those of another network say more.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from partstream_core.joints import JOINTS
from partstream_core.results import FrameResult, JointResult, PersonResult
from partstream_core.results_io import ndjson_line
from partstream_evaluation.readers.clips import read_frames


def teacher_joints_command(
    clip: Annotated[Path, typer.Option(help="A video, a GIF or a picture.")],
    weights: Annotated[Path, typer.Option(help="Folder of the public networks' weights.")],
    out: Annotated[Path, typer.Option(help="NDJSON file to write.")],
    every: Annotated[int, typer.Option(min=1, help="Only every n-th frame.")] = 1,
) -> None:
    """Joints of a clip by MoveNet and BlazePose, to compare a bundle's with."""
    num_frames = num_people = 0
    with out.open("w", encoding="utf-8") as file:
        for frame in teacher_frames(clip, weights, every=every):
            file.write(ndjson_line(frame))
            num_frames, num_people = num_frames + 1, num_people + len(frame.people)
    typer.echo(f"{num_people} people in {num_frames} frames in {out}")


def teacher_frames(clip: Path, weights: Path, *, every: int = 1) -> Iterator[FrameResult]:
    """Every n-th frame of a clip with its people, without masks and identities that last.

    Raises:
        ValueError: The clip or a file of weights is missing or damaged.
    """
    # Imported here, for torch takes seconds that --help and most mistakes need not wait.
    from partstream_export.compare.methods import MoveNetBlazePose  # noqa: PLC0415

    if not clip.is_file():
        raise ValueError(f"there is no clip {clip}")
    teacher = MoveNetBlazePose(weights, "heavy")
    for index, image_HWC in enumerate(read_frames(clip)):
        if index % every:
            continue
        people = []
        for number, found in enumerate(teacher.people(image_HWC), start=1):
            left, top, right, bottom = (float(edge) for edge in found.box_4)
            joints = tuple(
                JointResult(name, float(x), float(y), float(score))
                for name, (x, y, score) in zip(JOINTS, found.posed.joints_J3, strict=True)
            )
            box = (left, top, right, bottom)
            people.append(PersonResult(number, min(found.score, 1.0), box, None, (), joints))
        yield FrameResult(index, 0.0, True, tuple(people))
