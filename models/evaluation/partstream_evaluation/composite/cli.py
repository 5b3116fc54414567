"""The `composite` subcommand of `partstream-evaluate`."""

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
from partstream_evaluation.composite.evaluate import CompositeReport, evaluate
from partstream_evaluation.evaluate.runner import (
    EvaluationError,
    PartstreamCommand,
    find_executable,
    parse_options,
)
from partstream_evaluation.report.collect import Collector
from partstream_evaluation.report.page import write_page

_FIGURES = ("ap_r_50", "ap_r_vol", "smotsa", "motsa", "motsp", "idf1", "hota", "num_switches", "num_clips")


def composite_command(
    data: Annotated[Path, typer.Option(help="Folder with photos/, labels/, val.txt and label_list.txt.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    partstream: Annotated[str | None, typer.Option(help="The partstream command to measure.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle it runs; by default its own.")] = None,
    schedule: Annotated[
        ScheduleMode | None, typer.Option(help="Which frames are key frames; by default as it is used to.")
    ] = None,
    interval: Annotated[int | None, typer.Option(min=1, help="A key frame every n frames.")] = None,
    flow: Annotated[
        FlowSource | None, typer.Option(help="What tells how frames moved against their key frames.")
    ] = None,
    assembly: Annotated[
        AssemblyKind | None, typer.Option(help="Which rule gives pixels to people: greedy or crf.")
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(file_okay=False, help="Keep the clips here for the next time.")
    ] = None,
    level: Annotated[
        list[str] | None, typer.Option(help="Only clips of this level: easy, medium or hard.")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", dir_okay=False, help="Write an HTML page to look at.")
    ] = None,
) -> None:
    """People, parts and identities in 24 made clips: AP^r, AP^r_vol, sMOTSA, IDF1, HOTA, by level."""
    console = Console(stderr=True)
    try:
        command = PartstreamCommand(
            find_executable(partstream), bundle, parse_options(schedule, interval, flow, assembly)
        )
        with console.status(f"making the clips and parsing them with {command.executable}"):
            collector = Collector() if report_file is not None else None
            report = evaluate(
                data,
                command,
                clips_dir=clips,
                select=lambda clip: not level or clip.level.name in level,
                collector=collector,
            )
        if report_file is not None and collector is not None:
            write_page(
                report_file,
                title="composite benchmark",
                figures=_headline(report),
                collected=collector,
                commands=[shlex.join(sys.argv), *report.commands],
            )
    except (EvaluationError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(code=1) from error
    if not report.truth_published:
        console.print("warning: these clips are not the published ones", style="yellow")
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        Console().print(_table(report))


def _headline(report: CompositeReport) -> dict[str, float | str]:
    figures = {
        f"{figure}, {name}": getattr(scores, figure)
        for name, scores in report.groups.items()
        for figure in _FIGURES
    }
    return {**figures, "recipe": report.recipe_sha256}


def _table(report: CompositeReport) -> Table:
    table = Table(title="composite benchmark", caption=f"recipe {report.recipe_sha256}")
    table.add_column("figure")
    for name in report.groups:
        table.add_column(name, justify="right")
    for figure in _FIGURES:
        values = [getattr(scores, figure) for scores in report.groups.values()]
        table.add_row(figure, *(str(each) if isinstance(each, int) else f"{each:.3f}" for each in values))
    return table
