"""`partstream-labels`: the 20-class part maps of the CCP photos as palette PNGs.

The validation maps are integer arithmetic on published data, so they come out the same everywhere, and the
hash of what lies on disk is compared with the one that the repository records.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image

from partstream_core.labels import PALETTE
from partstream_evaluation.ccp import (
    VALIDATION_SHA256,
    read_label_map,
    sha256_of,
    validation_ids,
    validation_part_maps,
)
from partstream_models.commands.common import DataOption, OptionalWeightsOption, hint_source, new_app, run
from partstream_models.data.photos.cache import labelled_photos, training_ids

UInt8Array = npt.NDArray[np.uint8]


class Split(StrEnum):
    """Which photos."""

    VALIDATION = "val"
    TRAINING = "train"


_app = new_app()


@_app.command()
def part_labels(
    data: DataOption,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the maps, one ID.png a photo.")],
    split: Annotated[Split, typer.Option(help="The photos of val.txt, or all others.")] = Split.VALIDATION,
    weights: OptionalWeightsOption = None,
) -> None:
    """Write part maps: values are parts 0..19, and 255 where nobody can say.

    The training photos need --weights; hints of the validation photos ship with partstream. For these the
    SHA-256 is printed, and the exit status is 1 if it is not the recorded one.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = write_maps(_maps(data, split, weights), out)
    typer.echo(f"{written} part maps in {out}")
    if split is Split.VALIDATION:
        _compare(sha256_of((name, read_label_map(out / f"{name}.png")) for name in validation_ids(data)))


def _maps(data_dir: Path, split: Split, weights_dir: Path | None) -> Iterator[tuple[str, UInt8Array]]:
    if split is Split.VALIDATION:
        yield from validation_part_maps(data_dir)
        return
    for photo in labelled_photos(data_dir, training_ids(data_dir), hint_source(weights_dir)):
        yield photo.photo_id, photo.parts_HW


def write_maps(maps: Iterator[tuple[str, UInt8Array]], folder: Path) -> int:
    """Write each map as `ID.png` with the palette of the parts; return how many there were."""
    count = 0
    for photo_id, parts_HW in maps:
        picture = Image.fromarray(parts_HW)
        picture.putpalette(PALETTE.tobytes())
        picture.save(folder / f"{photo_id}.png", "PNG")
        count += 1
    return count


def _compare(sha256: str) -> None:
    typer.echo(f"sha256 {sha256}")
    if sha256 != VALIDATION_SHA256:
        typer.echo(f"error: the recorded maps have sha256 {VALIDATION_SHA256}", err=True)
        raise typer.Exit(1)
    typer.echo("These are the recorded validation maps.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)
