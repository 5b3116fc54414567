"""The `offset` subcommand of `partstream-evaluate`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, find_executable
from partstream_evaluation.offset.evaluate import BAR, OffsetReport, evaluate


def offset_command(
    pictures: Annotated[Path, typer.Option(help="Folder of pictures of people; needs no truth.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    partstream: Annotated[str | None, typer.Option(help="The partstream command to measure.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle it runs; by default its own.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pictures.")] = None,
    network_side: Annotated[
        int, typer.Option(min=32, help="Pixels of the longer side of the network's input.")
    ] = 512,
) -> None:
    """How far masks lie beside people, told by mirrored and flipped pictures, in network pixels."""
    console = Console(stderr=True)
    try:
        command = PartstreamCommand(find_executable(partstream), bundle)
        with console.status(f"parsing the pictures of {pictures} three times with {command.executable}"):
            report = evaluate(pictures, command, limit=limit, network_side=network_side)
    except (EvaluationError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(code=1) from error
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        Console().print(_table(report))


def _table(report: OffsetReport) -> Table:
    verdict = "holds" if report.holds else "does not hold"
    table = Table(
        title=f"offset of masks in network pixels, {report.num_pictures} pictures",
        caption=f"at most {BAR} either way: {verdict}",
    )
    for name in ("axis", "median", "mean", "standard error", "people"):
        table.add_column(name, justify="left" if name == "axis" else "right")
    for name, axis in (("to the right", report.x), ("down", report.y)):
        table.add_row(
            name,
            f"{axis.median:+.3f}",
            f"{axis.mean:+.3f}",
            f"{axis.standard_error:.3f}",
            str(axis.num_people),
        )
    return table
