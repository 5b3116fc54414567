"""Default paths and error messages that the commands of this distribution share."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from partstream_models.data.photos.body_hints import HintMaker
from partstream_models.data.photos.cache import HintSource

DEFAULT_CACHE = Path("runs/ccp-cache")

DataOption = Annotated[
    Path,
    typer.Option("--data", file_okay=False, exists=True, help="The CCP folder: photos/, labels/, val.txt."),
]
WeightsOption = Annotated[
    Path,
    typer.Option("--weights", file_okay=False, exists=True, help="The folder of pretrained *.dequant.pt."),
]
OptionalWeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", file_okay=False, exists=True, help="The folder of pretrained *.dequant.pt."),
]
CacheOption = Annotated[
    Path, typer.Option("--cache", file_okay=False, help="Where the shrunk photos are kept (about 1.4 GB).")
]


def new_app() -> typer.Typer:
    """An application that leaves errors to `run`."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def run(app: typer.Typer, arguments: Sequence[str] | None) -> None:
    """Carry a command out; a caller's mistake becomes one line on standard error and exit status 2.

    Args:
        app: The command.
        arguments: Its arguments; those of the process where None.
    """
    try:
        app(args=None if arguments is None else list(arguments))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def hint_source(weights_dir: Path | None) -> HintSource:
    """Makes hints with the pretrained networks.

    Args:
        weights_dir: Where their weights lie. Without it the source raises ValueError once it is asked, which
            happens only where photos have no cached part maps yet.
    """
    if weights_dir is None:
        return _no_hints
    maker = HintMaker(weights_dir)
    return lambda _, photo_HWC: maker(photo_HWC)


def _no_hints(photo_id: str, photo_HWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    raise ValueError(
        f"photo {photo_id} ({photo_HWC.shape[1]}x{photo_HWC.shape[0]}) has no body hints yet: "
        "name the folder of pretrained weights with --weights"
    )
