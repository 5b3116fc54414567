"""The comparison as tables for people (Markdown) and as a plot (SVG)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Rows = Mapping[str, Mapping[str, float]]
"""Figures by name of the variant."""

_NAMES = {
    "miou": "mIoU",
    "ap_r_50": "AP^r .5",
    "ap_r_vol": "AP^r vol",
    "smotsa": "sMOTSA",
    "idf1": "IDF1",
    "flicker": "flicker %",
    "people": "people",
    "ms": "ms",
    "backbone": "backbone",
    "r": "r",
    "eq_8": "Eq. 8",
    "eq_9": "Eq. 9",
}


def table(rows: Rows) -> str:
    """A Markdown table, a variant a row; `ms` is features and heads a frame, `backbone` its calls a frame.

    `r` is the time against that of every frame; beside it is what ATEN's equations make of the stages' times.
    """
    columns = list(next(iter(rows.values())))
    lines = [
        "| | " + " | ".join(_NAMES[column] for column in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name, figures in rows.items():
        lines.append(f"| {name} | " + " | ".join(_cell(column, figures[column]) for column in columns) + " |")
    return "\n".join(lines)


def _cell(column: str, value: float) -> str:
    if math.isnan(value):
        return ""
    if column == "flicker":
        return f"{100 * value:.2f}"
    if column in ("ms", "people"):
        return f"{value:.1f}"
    return f"{value:.2f}" if column in ("backbone", "r", "eq_8", "eq_9") else f"{value:.3f}"


def plot(rows: Rows, panels: Sequence[tuple[str, str]], *, title: str) -> str:
    """A drawing of panels side by side: each variant a dot at what it costs and one of its figures.

    Args:
        rows: The figures.
        panels: The figure along x and along y of each panel.
        title: Stands above.
    """
    size, gap = 420, 90
    width = gap + len(panels) * (size + gap)
    box = f'viewBox="0 0 {width} {size + 130}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{size + 130}" fill="white"/>',
        f'<text x="{gap}" y="30" font-size="16">{escape(title)}</text>',
    ]
    for number, (x_name, y_name) in enumerate(panels):
        parts += _panel(rows, x_name, y_name, left=gap + number * (size + gap), top=60, size=size)
    return "\n".join([*parts, "</svg>", ""])


def _panel(rows: Rows, x_name: str, y_name: str, *, left: int, top: int, size: int) -> list[str]:
    (x_low, x_high), (y_low, y_high) = (
        _range([row[name] for row in rows.values()]) for name in (x_name, y_name)
    )
    parts = [f'<rect x="{left}" y="{top}" width="{size}" height="{size}" fill="none" stroke="#999"/>']
    for step in range(5):
        x, y = x_low + (x_high - x_low) * step / 4, y_low + (y_high - y_low) * step / 4
        at_x, at_y = left + size * step / 4, top + size * (1 - step / 4)
        parts += [
            f'<text x="{at_x:.0f}" y="{top + size + 16}" text-anchor="middle">{_tick(x_name, x)}</text>',
            f'<text x="{left - 6}" y="{at_y + 4:.0f}" text-anchor="end">{_tick(y_name, y)}</text>',
        ]
    middle = left + size / 2
    label = "ms a frame, features and heads" if x_name == "ms" else _NAMES[x_name]
    parts += [
        f'<text x="{middle}" y="{top + size + 38}" text-anchor="middle">{escape(label)}</text>',
        f'<text x="{left}" y="{top - 8}">{escape(_NAMES[y_name])}</text>',
    ]
    taken: list[float] = []
    dots = [
        (
            left + size * (row[x_name] - x_low) / (x_high - x_low),
            top + size * (1 - (row[y_name] - y_low) / (y_high - y_low)),
            name,
        )
        for name, row in rows.items()
    ]
    for x, y, name in sorted(dots, key=lambda dot: dot[1]):
        text_y = y + 4
        while any(abs(text_y - other) < 12 for other in taken):
            text_y += 3
        taken.append(text_y)
        right = x > left + size * 0.6
        anchor, text_x = ("end", x - 12) if right else ("start", x + 12)
        parts += [
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{text_x:.1f}" y2="{text_y - 4:.1f}" stroke="#bbb"/>',
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1f77b4"/>',
            f'<text x="{text_x:.1f}" y="{text_y:.1f}" text-anchor="{anchor}">{escape(name)}</text>',
        ]
    return parts


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _tick(name: str, value: float) -> str:
    if name == "flicker":
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if name == "ms" else f"{value:.3f}"
