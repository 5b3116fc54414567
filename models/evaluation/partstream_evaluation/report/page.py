"""The report as one HTML file that asks for nothing from outside.

It shows photos whose rights are others': it is to be looked at, not to be published.

Shape suffixes: C classes (rows truth, columns prediction).
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

import numpy as np

from partstream_core.labels import PALETTE, PARTS
from partstream_evaluation.metrics.semantic import Counts, Interval, class_intervals, class_ious
from partstream_evaluation.report.collect import Collector, Sample
from partstream_evaluation.report.draw import data_url, panels

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; }
body { margin: 2rem auto; max-width: 84rem; padding: 0 1rem; }
h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; }
table.figures td { padding: .15rem 1.2rem .15rem 0; border-bottom: 1px solid #e4e7eb; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
table.confusion td, table.confusion th { font-size: 11px; padding: 2px 4px; text-align: right; }
table.confusion th.top { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; }
figure { margin: 0 0 1.5rem; } figure img { max-width: 100%; } figcaption { color: #59636e; }
pre { background: #f4f6f8; padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.legend span { display: inline-block; margin-right: 1rem; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; }
"""
_ABOUT_CONFUSION: Final = (
    "Of the pixels of each true class (row), the share in % that was called the class of the column."
)
_BAR_WIDTH: Final = 560
_ROW: Final = 24
_LABEL: Final = 130


def write_page(
    path: Path,
    *,
    title: str,
    figures: Mapping[str, float | int | str],
    collected: Collector,
    commands: Sequence[str],
) -> None:
    """Write the report.

    Raises: ValueError: Nothing was collected, or a picture is damaged. OSError: It cannot be written.
    """
    confusions_GCC = collected.confusions()
    total_CC = confusions_GCC.sum(axis=0)
    intervals = class_intervals(confusions_GCC, rng=np.random.default_rng(0))
    body = [
        f"<h2>IoU by class, with 95 % intervals</h2>{_bars(class_ious(total_CC).tolist(), intervals)}",
        f"<h2>Confusion</h2><p>{_ABOUT_CONFUSION}</p>{_confusion(total_CC)}",
        f"<h2>The worst pictures</h2><p>Photo, truth, prediction; void is whitened.</p>{_legend()}",
        *(_figure(each, "mean IoU") for each in collected.worst()),
    ]
    _write(path, title=title, figures=figures, body=body, commands=commands)


def write_pictures_page(
    path: Path,
    *,
    title: str,
    figures: Mapping[str, float | int | str],
    samples: Sequence[Sample],
    score_name: str,
    commands: Sequence[str],
) -> None:
    """Write a report of figures and pictures only, such as one of people without parts.

    Raises: ValueError: A picture is damaged. OSError: It cannot be written.
    """
    body = [
        "<h2>The worst pictures</h2><p>Picture, truth, prediction.</p>",
        *(_figure(each, score_name) for each in samples),
    ]
    _write(path, title=title, figures=figures, body=body, commands=commands)


def _write(
    path: Path,
    *,
    title: str,
    figures: Mapping[str, float | int | str],
    body: Sequence[str],
    commands: Sequence[str],
) -> None:
    """Write a page: figures, the given sections, and the command lines."""
    sections = [
        f"<h1>{escape(title)}</h1>",
        _figures(figures),
        *body,
        "<h2>Commands</h2>",
        *(f"<pre>{escape(line)}</pre>" for line in commands),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(sections)}</body></html>\n',
        "utf-8",
    )


def _figures(figures: Mapping[str, float | int | str]) -> str:
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="number">{escape(_text(value))}</td></tr>'
        for name, value in figures.items()
    )
    return f'<table class="figures">{rows}</table>'


def _text(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _colour(part: int) -> str:
    red, green, blue = PALETTE[part].tolist()
    return f"rgb({red},{green},{blue})"


def _bars(ious: Sequence[float], intervals: Sequence[Interval]) -> str:
    """An SVG of a bar a class with a whisker for its interval."""
    rows = []
    for part, (value, interval) in enumerate(zip(ious, intervals, strict=True)):
        middle = part * _ROW + _ROW / 2
        name = f'<text x="{_LABEL - 8}" y="{middle + 4}" text-anchor="end">{PARTS[part]}</text>'
        if np.isnan(value):
            rows.append(name + f'<text x="{_LABEL}" y="{middle + 4}">not there</text>')
            continue
        bar = (
            f'<rect x="{_LABEL}" y="{middle - 8}" width="{value * _BAR_WIDTH:.1f}" height="16" '
            f'fill="{_colour(part)}" stroke="#59636e" stroke-width=".5"/>'
        )
        low, high = (_LABEL + edge * _BAR_WIDTH for edge in (interval.low, interval.high))
        ends = "".join(f"M{edge:.1f} {middle - 4}v8" for edge in (low, high))
        whisker = f'<path d="M{low:.1f} {middle}H{high:.1f}{ends}" stroke="#000"/>'
        text = f"{value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
        number = f'<text x="{_LABEL + _BAR_WIDTH + 12}" y="{middle + 4}">{text}</text>'
        rows.append(name + bar + whisker + number)
    size = f'width="{_LABEL + _BAR_WIDTH + 220}" height="{len(rows) * _ROW}"'
    return f'<svg {size} font-size="13" fill="#1b1f24">{"".join(rows)}</svg>'


def _confusion(total_CC: Counts) -> str:
    shares = total_CC / np.maximum(total_CC.sum(axis=1, keepdims=True), 1)
    head = "".join(f'<th class="top">{name}</th>' for name in PARTS)
    rows = []
    for name, row, has_pixels in zip(PARTS, shares, total_CC.sum(axis=1) > 0, strict=True):
        cells = "".join(_cell(share, is_known=bool(has_pixels)) for share in row.tolist())
        rows.append(f"<tr><th>{name}</th>{cells}</tr>")
    return f'<table class="confusion"><tr><th></th>{head}</tr>{"".join(rows)}</table>'


def _cell(share: float, *, is_known: bool) -> str:
    """A cell as blue as its share is large."""
    text = f"{100 * share:.0f}" if is_known and share >= 0.005 else ""
    ink = "#fff" if share > 0.5 else "inherit"
    return f'<td style="background:rgba(9,105,218,{share:.3f});color:{ink}">{text}</td>'


def _legend() -> str:
    marks = "".join(
        f'<span><i style="background:{_colour(part)}"></i>{name}</span>'
        for part, name in enumerate(PARTS)
        if part
    )
    return f'<p class="legend">{marks}</p>'


def _figure(sample: Sample, score_name: str) -> str:
    return (
        f'<figure><img alt="{escape(sample.name, quote=True)}" src="{data_url(panels(sample))}">'
        f"<figcaption>{escape(sample.name)}, {escape(score_name)} {sample.miou:.3f}</figcaption></figure>"
    )
