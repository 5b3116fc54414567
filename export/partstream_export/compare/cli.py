"""The command `partstream-export compare`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from partstream_evaluation.evaluate.runner import EvaluationError, find_executable
from partstream_export.compare.run import COUNTS, Row, compare


def compare_command(
    truth: Annotated[
        Path, typer.Option(help="Folder of pictures, each with a PNG mask of the same stem; or of such.")
    ],
    weights: Annotated[Path, typer.Option(help="Folder of the public networks' weights.")],
    bundle: Annotated[list[str], typer.Option(help="A bundle as NAME=DIR; may be repeated.")],
    partstream: Annotated[str | None, typer.Option(help="The partstream command that runs bundles.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    times: Annotated[bool, typer.Option(help="Time one, two and five people.")] = True,
) -> None:
    """Bundles beside BlazePose on MoveNet's boxes and DeepLab: person IoU, and milliseconds by people."""
    # Imported here, for torch takes seconds that --help and most mistakes need not wait.
    from partstream_export.compare.methods import public_methods  # noqa: PLC0415

    bundles = dict(_named(each) for each in bundle)
    console = Console(stderr=True)
    try:
        with console.status("reading networks") as status:
            rows = compare(
                truth,
                bundles,
                public_methods(weights),
                find_executable(partstream),
                tell=status.update,
                with_times=times,
            )
    except EvaluationError as error:
        raise ValueError(str(error)) from error
    if as_json:
        sys.stdout.write(json.dumps([row.to_json() for row in rows], indent=2) + "\n")
    else:
        Console().print(table_of(rows))


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not name or not folder:
        raise ValueError(f"a bundle is given as NAME=DIR, got {text!r}")
    return name, Path(folder)


def table_of(rows: list[Row]) -> Table:
    """One row a method: person IoU by folder, milliseconds by people."""
    table = Table(caption="person IoU; milliseconds a picture on one thread, by the number of people")
    table.add_column("method", no_wrap=True)
    for name in rows[0].folders:
        table.add_column(name.rpartition("/")[2], justify="right")
    counts = [count for count in COUNTS if count in rows[0].timings]
    for count in counts:
        table.add_column(f"ms, {count}", justify="right")
    for row in rows:
        table.add_row(
            row.name,
            *(f"{scores.person_iou:.3f}" for scores in row.folders.values()),
            *(f"{row.timings[count].ms:.1f}" for count in counts),
        )
    return table
