"""The `refind` subcommand of `partstream-evaluate`."""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from partstream_evaluation.composite.recipe import published
from partstream_evaluation.composite.source import read_source
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, find_executable
from partstream_evaluation.follow.refind import Interruption, RefindCounts, evaluate_refind


def refind_command(
    data: Annotated[Path, typer.Option(help="Folder with photos/, labels/, val.txt and label_list.txt.")],
    interruption: Annotated[
        Interruption, typer.Option(help="What is seen for five seconds: a plain picture, or another clip.")
    ] = Interruption.COVERED,
    level: Annotated[
        list[str] | None, typer.Option(help="Clips of this level; by default easy and medium.")
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(file_okay=False, help="Keep the clips here for the next time.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    partstream: Annotated[str | None, typer.Option(help="The partstream command to measure.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle it runs; by default its own.")] = None,
) -> None:
    """People of composed clips, found again by `partstream follow` within a second after an interruption."""
    console = Console(stderr=True)
    recipe = published().recipe
    chosen = [clip for clip in recipe.clips() if clip.level.name in (level or ("easy", "medium"))]
    try:
        command = PartstreamCommand(find_executable(partstream), bundle)
        with (
            tempfile.TemporaryDirectory(prefix="partstream-evaluate-") as name,
            console.status(f"following people with {command.executable}"),
        ):
            found = evaluate_refind(
                clips or Path(name),
                recipe,
                lambda: read_source(data, recipe),
                command,
                clips=chosen,
                interruption=interruption,
            )
    except (EvaluationError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(code=1) from error
    total = sum(found.values(), RefindCounts())
    if as_json:
        document = {"total": asdict(total), "clips": {name: asdict(each) for name, each in found.items()}}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        Console().print(_table({**found, "all": total}))


def _table(found: dict[str, RefindCounts]) -> Table:
    table = Table(title="people found again within a second after five seconds")
    table.add_column("clip")
    for column in ("people", "right", "wrong", "missed", "not named"):
        table.add_column(column, justify="right")
    for name, counts in found.items():
        values = (counts.num_cases, counts.right, counts.wrong, counts.missed, counts.not_named)
        table.add_row(name, *map(str, values))
    return table
