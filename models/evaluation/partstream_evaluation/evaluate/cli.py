"""The command line of `partstream-evaluate`."""

import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from partstream_evaluation.composite.cli import composite_command
from partstream_evaluation.empty.cli import empty_command
from partstream_evaluation.evaluate import ccp
from partstream_evaluation.evaluate.results_cli import convert_command, results_command
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, find_executable
from partstream_evaluation.follow.cli import follow_command
from partstream_evaluation.follow.refind_cli import refind_command
from partstream_evaluation.keypoints.cli import joints_command
from partstream_evaluation.masks.cli import masks_command
from partstream_evaluation.offset.cli import offset_command
from partstream_evaluation.rendered.cli import rendered_command
from partstream_evaluation.report.collect import Collector
from partstream_evaluation.report.page import write_page

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Split(StrEnum):
    """Which of the photos are measured."""

    VAL = "val"


app.command(name="composite")(composite_command)
app.command(name="empty")(empty_command)
app.command(name="follow")(follow_command)
app.command(name="joints")(joints_command)
app.command(name="masks")(masks_command)
app.command(name="offset")(offset_command)
app.command(name="refind")(refind_command)
app.command(name="rendered")(rendered_command)
app.command(name="results")(results_command)
app.command(name="convert")(convert_command)


@app.callback()
def about() -> None:
    """Measure what the partstream command finds against truth."""


@app.command(name="ccp")
def ccp_command(
    data: Annotated[Path, typer.Option(help="Folder with photos/, labels/, val.txt and label_list.txt.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    partstream: Annotated[str | None, typer.Option(help="The partstream command to measure.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle it runs; by default its own.")] = None,
    split: Annotated[Split, typer.Option(help="The photos to measure on.")] = Split.VAL,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many photos.")] = None,
    turn: Annotated[int, typer.Option(help="Turn photos and truth by 90, 180 or 270 degrees.")] = 0,
    report_file: Annotated[
        Path | None, typer.Option("--report", dir_okay=False, help="Write an HTML page to look at.")
    ] = None,
) -> None:
    """Parts of people on held-out Clothing Co-Parsing photos: IoU by class, its mean, and person IoU."""
    console = Console(stderr=True)
    try:
        command = PartstreamCommand(find_executable(partstream), bundle)
        with console.status(f"parsing the {split} photos of {data} with {command.executable}"):
            collector = Collector() if report_file is not None else None
            report = ccp.evaluate(data, command, limit=limit, turn=turn, collector=collector)
        if report_file is not None and collector is not None:
            write_page(
                report_file,
                title=_title(report),
                figures=_headline(report),
                collected=collector,
                commands=[shlex.join(sys.argv), report.command],
            )
    except (EvaluationError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(code=1) from error
    if report.labels_published is False:
        console.print("warning: these are not the published validation labels", style="yellow")
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        Console().print(_table(report))


def _title(report: ccp.CcpReport) -> str:
    turned = f", turned by {report.turn} degrees" if report.turn else ""
    return f"CCP, {report.scores.num_photos} photos{turned}"


def _headline(report: ccp.CcpReport) -> dict[str, float | str]:
    scores = report.scores
    figures = {"miou": scores.miou, "miou_common": scores.miou_common, "person_iou": scores.person_iou}
    texts: dict[str, float | str] = {}
    for name, value in figures.items():
        interval = scores.intervals[name]
        texts[name] = f"{value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
    return texts | {"labels": report.labels_sha256}


def _table(report: ccp.CcpReport) -> Table:
    scores = report.scores
    table = Table(title=_title(report), caption=report.labels_sha256)
    table.add_column("figure")
    table.add_column("IoU", justify="right")
    table.add_column("95 % interval", justify="right")
    figures = {"miou": scores.miou, "miou_common": scores.miou_common, "person_iou": scores.person_iou}
    for name, value in figures.items():
        interval = scores.intervals[name]
        table.add_row(name, f"{value:.3f}", f"{interval.low:.3f} to {interval.high:.3f}")
    table.add_section()
    for name, value in scores.per_class.items():
        table.add_row(name, f"{value:.3f}", "")
    return table


def main() -> None:
    """Run the command line."""
    app()
