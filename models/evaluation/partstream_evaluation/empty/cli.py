"""The `empty` subcommand of `partstream-evaluate`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from partstream_evaluation.empty.evaluate import EmptyReport, evaluate
from partstream_evaluation.empty.frames import EmptySources
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, find_executable


def empty_command(
    data: Annotated[Path, typer.Option(help="Folder with photos/, labels/, val.txt and label_list.txt.")],
    videos: Annotated[Path, typer.Option(help="Folder with the clips that are cropped.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    partstream: Annotated[str | None, typer.Option(help="The partstream command to measure.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle it runs; by default its own.")] = None,
    nobody: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder with the clips of things, taken in too.")
    ] = None,
    backdrops: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder of pictures without people, taken in too."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(file_okay=False, help="Leave the pictures here to be looked at.")
    ] = None,
) -> None:
    """People seen in pictures without any: crops of clips and photos, textures and gradients."""
    console = Console(stderr=True)
    try:
        sources = EmptySources(ccp=data, videos=videos, nobody=nobody, backdrops=backdrops)
        command = PartstreamCommand(find_executable(partstream), bundle)
        with console.status(f"making the pictures and parsing them with {command.executable}"):
            report = evaluate(sources, command, pictures_dir=pictures)
    except (EvaluationError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(code=1) from error
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        Console().print(_table(report))


def _table(report: EmptyReport) -> Table:
    title = f"{report.false_people_per_100:.1f} false people in 100 pictures"
    table = Table(title=title, caption=f"pictures {report.pictures_sha256}")
    for name in ("pictures of", "pictures", "false people"):
        table.add_column(name, justify="left" if name == "pictures of" else "right")
    for kind, (people, pictures) in report.by_kind.items():
        table.add_row(kind, str(pictures), str(people))
    table.add_section()
    table.add_row("all", str(report.num_pictures), str(report.num_false_people))
    return table
