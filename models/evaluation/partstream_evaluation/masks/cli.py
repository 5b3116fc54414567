"""The `masks` subcommand of `partstream-evaluate`."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from partstream_core.assembly_config import AssemblyKind
from partstream_core.schedule import FlowSource, ScheduleMode
from partstream_evaluation.evaluate.runner import (
    EvaluationError,
    PartstreamCommand,
    find_executable,
    parse_options,
)
from partstream_evaluation.masks.evaluate import MasksReport, evaluate
from partstream_evaluation.report.page import write_pictures_page

_FIGURES = ("num_pictures", "person_iou", "single", "everybody", "pooled", "num_missed")


def masks_command(
    truth: Annotated[
        Path,
        typer.Option(help="Folder of pictures, each with a PNG mask of the same stem; or folders of them."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    partstream: Annotated[str | None, typer.Option(help="The partstream command to measure.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle it runs; by default its own.")] = None,
    clips: Annotated[
        bool, typer.Option("--clips", help="Take each folder as a clip in the order of names.")
    ] = False,
    turn: Annotated[int, typer.Option(help="Turn pictures and truth by 90, 180 or 270 degrees.")] = 0,
    schedule: Annotated[
        ScheduleMode | None,
        typer.Option(help="Which frames of clips are key frames; by default as it is used to."),
    ] = None,
    interval: Annotated[int | None, typer.Option(min=1, help="A key frame every n frames.")] = None,
    flow: Annotated[
        FlowSource | None, typer.Option(help="What tells how frames moved against their key frames.")
    ] = None,
    assembly: Annotated[
        AssemblyKind | None, typer.Option(help="Which rule gives pixels to people: greedy or crf.")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", dir_okay=False, help="Write an HTML page of the worst ten.")
    ] = None,
) -> None:
    """Masks of people in real pictures: IoU by folder and picture."""
    console = Console(stderr=True)
    try:
        command = PartstreamCommand(
            find_executable(partstream), bundle, parse_options(schedule, interval, flow, assembly)
        )
        with console.status(f"parsing the pictures of {truth} with {command.executable}"):
            report = evaluate(truth, command, as_clips=clips, turn=turn)
        if report_file is not None:
            write_pictures_page(
                report_file,
                title=f"masks of {truth}",
                figures={name: scores.person_iou for name, scores in report.folders.items()},
                samples=report.worst,
                score_name="person IoU",
                commands=[shlex.join(sys.argv), report.command],
            )
    except (EvaluationError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(code=1) from error
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        Console().print(_folders_table(report))
        Console().print(_worst_table(report))


def _folders_table(report: MasksReport) -> Table:
    how = "as clips" if report.as_clips else "picture by picture"
    table = Table(title=f"masks of people, {how}", caption=f"truth {report.truth_sha256}")
    table.add_column("folder")
    for figure in _FIGURES:
        table.add_column(figure, justify="right")
    for name, scores in report.folders.items():
        values = [getattr(scores, figure) for figure in _FIGURES]
        table.add_row(name, *(str(each) if isinstance(each, int) else f"{each:.3f}" for each in values))
    return table


def _worst_table(report: MasksReport) -> Table:
    table = Table(title="the worst pictures")
    table.add_column("picture")
    table.add_column("person IoU", justify="right")
    for sample in report.worst:
        table.add_row(sample.name, f"{sample.miou:.3f}")
    return table
