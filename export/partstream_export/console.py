"""Parsing of options and printing of results, shared by the commands."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from partstream_core.manifest import Thresholds
from partstream_export.parity import LIMIT, Difference, worst


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: It holds something else.
        OSError: It cannot be read.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value


def thresholds(defaults: Thresholds, settings: Sequence[str]) -> Thresholds:
    """The defaults with settings NAME=VALUE.

    Raises:
        ValueError: A setting is none of these.
    """
    names = [field.name for field in fields(Thresholds)]
    changes: dict[str, float] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if name not in names or not 0 <= value <= 1:
            known = ", ".join(names)
            raise ValueError(f"--threshold takes NAME=VALUE, of {known} and in 0..1; got {setting!r}")
        changes[name] = value
    return replace(defaults, **changes)


def show(differences: Sequence[Difference]) -> None:
    """Print the largest difference of each output."""
    table = Table(title=f"max|a - b| / max|a| of torch and ONNX Runtime, at most {LIMIT:g}")
    for column in ("graph", "output", "largest at"):
        table.add_column(column)
    table.add_column("difference", justify="right")
    for one in worst(differences):
        style = None if one.value <= LIMIT else "bold red"
        table.add_row(one.graph, one.output, one.case, f"{one.value:.1e}", style=style)
    Console().print(table)


def tell_files(out: Path) -> None:
    """Print what a bundle's folder holds."""
    typer.echo(f"wrote {out}: " + ", ".join(f"{path.name} {_size(path)}" for path in sorted(out.iterdir())))


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"
