"""`partstream-teach`: label pictures and clips of people with public networks, for training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import typer
from tqdm import tqdm

from partstream_models.commands import new_app, run
from partstream_models.teachers.labelling import Teachers, build, read_pictures

_app = new_app()


@_app.command()
def teach(
    folders: Annotated[
        list[Path], typer.Argument(exists=True, file_okay=False, help="Folders of pictures and clips.")
    ],
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
    answers: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where answers are kept; OUT/answers where left out."),
    ] = None,
) -> None:
    """Label the pictures of folders, and frames of their clips, where all teachers agree.

    Answers are kept by the content of pictures: a second run with more pictures asks only about those.
    """
    cv2.setNumThreads(1)
    teachers = Teachers(weights, answers or out / "answers")
    pictures = tqdm(read_pictures(folders), desc="pictures", unit="")
    typer.echo(f"{build(out, pictures, teachers)} pictures labelled in {out}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)


if __name__ == "__main__":
    main()
