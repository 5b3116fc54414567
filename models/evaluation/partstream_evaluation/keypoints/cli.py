"""The `joints` subcommand of `partstream-evaluate`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from partstream_core.joints import SURE
from partstream_core.schedule import FlowSource, ScheduleMode
from partstream_evaluation.evaluate.runner import (
    EvaluationError,
    PartstreamCommand,
    find_executable,
    parse_options,
)
from partstream_evaluation.keypoints.evaluate import JointsReport, evaluate


def joints_command(
    clip: Annotated[Path, typer.Option(help="A video, a picture, or a folder of pictures.")],
    teacher: Annotated[Path, typer.Option(help="NDJSON of another network's people with joints.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    partstream: Annotated[str | None, typer.Option(help="The partstream command to measure.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle it runs; by default its own.")] = None,
    least_score: Annotated[
        float, typer.Option(min=0, max=1, help="Score from which the teacher's joints are judged.")
    ] = SURE,
    schedule: Annotated[
        ScheduleMode | None, typer.Option(help="Which frames are key frames; by default as it is used to.")
    ] = None,
    interval: Annotated[int | None, typer.Option(min=1, help="A key frame every n frames.")] = None,
    flow: Annotated[
        FlowSource | None, typer.Option(help="What tells how frames moved against their key frames.")
    ] = None,
) -> None:
    """Joints against a teacher's on a real clip: the share within a tenth of the person's height."""
    console = Console(stderr=True)
    try:
        command = PartstreamCommand(
            find_executable(partstream), bundle, parse_options(schedule, interval, flow)
        )
        with console.status(f"parsing {clip} with {command.executable}"):
            report = evaluate(clip, teacher, command, least_score=least_score)
    except (EvaluationError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(code=1) from error
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        Console().print(_table(report))


def _table(report: JointsReport) -> Table:
    scores = report.scores
    table = Table(title=f"joints of {scores.num_people} people in {report.num_frames} frames")
    table.add_column("figure")
    table.add_column("value", justify="right")
    shares = {
        "within a tenth of the height": scores.pck,
        "of people found": scores.pck_found,
        "on the other side": scores.swapped,
        "mean distance": scores.mean_distance,
    }
    for name, value in shares.items():
        table.add_row(name, f"{value:.3f}")
    table.add_row("people found", f"{scores.num_found} of {scores.num_people}")
    table.add_row("people beside them", str(report.num_extra))
    table.add_section()
    for name, value in scores.per_joint.items():
        table.add_row(name, f"{value:.3f}")
    return table
