"""`partstream-teach`: label pictures and clips of people with public networks, for training."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from PIL import Image
from tqdm import tqdm

from partstream_evaluation.evaluate.runner import PartstreamCommand, find_executable
from partstream_models.commands.common import new_app, run
from partstream_models.data.photos.cache import training_ids
from partstream_models.data.scenes.labelled import LabelledPeople, LabelledPicture
from partstream_models.teachers.answers import Teachers
from partstream_models.teachers.bundle_parts import add_bundle_parts
from partstream_models.teachers.instances import label_instances
from partstream_models.teachers.labelling import build, label_empty, label_people
from partstream_models.teachers.reading import read_pictures
from partstream_models.teachers.sheet import contact_sheet
from partstream_models.teachers.street import StreetPhoto, label_street_photos

_app = new_app()


@_app.command()
def teach(  # noqa: PLR0913 - the options of a command
    folders: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, file_okay=False, help="Folders of pictures and clips of people."),
    ] = None,
    *,
    weights: Annotated[
        Path,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of movenet_multipose.npz, *.dequant.pt and teachers/pose_landmark_heavy.tflite.",
        ),
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the labelled pictures.")],
    empty: Annotated[
        list[Path] | None,
        typer.Option(exists=True, file_okay=False, help="Pictures and clips without people; may repeat."),
    ] = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, file_okay=False, help="Folder of images/ and masks/ of people, known; may repeat."
        ),
    ] = None,
    street: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The CCP folder; photos with bystanders are taken."),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where answers are kept; OUT/answers where left out."),
    ] = None,
    parts_bundle: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Bundle that knows clothes: where it and the other teachers agree, parts are labelled too.",
        ),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw some of the labelled pictures to this PNG.")
    ] = None,
    sheet_size: Annotated[int, typer.Option(min=1, max=400, help="Pictures on the sheet.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Which pictures the sheet shows.")] = 0,
) -> None:
    """Label pictures, and frames of clips, where all teachers agree.

    Answers are kept by the content of pictures: a second run asks only about new ones.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    teachers = Teachers(weights, answers or out / "answers")
    without = list(empty or ())
    pictures: Iterator[LabelledPicture] = chain(
        label_people(read_pictures(folders or (), leave_out=without), teachers),
        label_empty(read_pictures(without)),
        *(label_instances(folder, teachers) for folder in masks or ()),
        () if street is None else _bystanders(street, teachers),
    )
    if parts_bundle is not None:
        pictures = add_bundle_parts(pictures, PartstreamCommand(find_executable(None), parts_bundle))
    count = build(out, tqdm(pictures, desc="pictures", unit=""))
    typer.echo(f"{count} pictures labelled in {out}")
    if sheet is not None:
        people = LabelledPeople(out)
        chosen = np.random.default_rng(seed).permutation(len(people))[:sheet_size].tolist()
        Image.fromarray(contact_sheet([people[number] for number in sorted(chosen)])).save(sheet, "PNG")
        typer.echo(f"{len(chosen)} of them drawn: {sheet}")


def _bystanders(street: Path, teachers: Teachers) -> Iterator[LabelledPicture]:
    """Photos with bystanders who are whole; what the joints say of sides is reported at the end."""
    photos = label_street_photos(street, training_ids(street), teachers)
    yield from _report(photos)


def _report(photos: Iterable[StreetPhoto]) -> Iterator[LabelledPicture]:
    num_photos = num_disputed = 0
    for photo in photos:
        num_photos += 1
        num_disputed += bool(photo.disputed)
        if photo.num_bystanders:
            yield photo.picture
    tqdm.write(f"{num_photos} street photos; left and right are disputed in {num_disputed}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)


if __name__ == "__main__":
    main()
