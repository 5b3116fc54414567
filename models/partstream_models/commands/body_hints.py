"""`partstream-hints`: make the body hints of the validation photos anew, as they ship with partstream.

The networks compute in floating point, so another machine may round a few of the values the other way; the
validation maps are always made from the shipped hints.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from tqdm import tqdm

from partstream_evaluation.ccp import validation_ids
from partstream_models.commands.common import DataOption, WeightsOption, hint_source, new_app, run
from partstream_models.data.photos.cache import read_photo

UInt8Array = npt.NDArray[np.uint8]

_app = new_app()


@_app.command()
def validation_hints(
    data: DataOption,
    weights: WeightsOption,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The .npz to write.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads of the networks.")] = 1,
) -> None:
    """Write the hints of the photos of val.txt, and say how far they are from the shipped ones."""
    torch.set_num_threads(threads)
    make_hints = hint_source(weights)
    hints: dict[str, UInt8Array] = {}
    for photo_id in tqdm(validation_ids(data), desc="hints"):
        hints[photo_id] = make_hints(photo_id, read_photo(data / "photos" / f"{photo_id}.jpg"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **hints)
    differ = num_different(hints, shipped_hints())
    total = sum(grid.size for grid in hints.values())
    typer.echo(f"{len(hints)} hint grids in {out}; {differ} of {total} values differ from the shipped ones")


def shipped_hints() -> dict[str, UInt8Array]:
    """The hints that ship with partstream, by photo id."""
    packed = resources.files("partstream_evaluation").joinpath("data/ccp_validation_hints.npz").read_bytes()
    with np.load(BytesIO(packed)) as grids:
        return {photo_id: grids[photo_id] for photo_id in grids.files}


def num_different(hints: Mapping[str, UInt8Array], others: Mapping[str, UInt8Array]) -> int:
    """How many values differ; a grid that is missing or of another shape differs in all of them."""
    count = 0
    for photo_id, grid in hints.items():
        other = others.get(photo_id)
        if other is None or other.shape != grid.shape:
            count += grid.size
        else:
            count += int(np.count_nonzero(grid != other))
    return count


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)
