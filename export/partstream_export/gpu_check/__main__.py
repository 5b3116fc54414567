"""`python -m partstream_export.gpu_check`: print every figure of one GPU within a budget of minutes.

From a checkout without an installation:

    PYTHONPATH=export:models:models/core python3 -m partstream_export.gpu_check --json figures.json
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from partstream_export.gpu_check.device import Device, Limits, Precision
from partstream_export.gpu_check.graph_figures import measure_graph
from partstream_export.gpu_check.networks import HEIGHT, NETWORKS, WIDTH, Network
from partstream_export.gpu_check.runtimes import measure_bundle
from partstream_export.gpu_check.streams import LivePath, most_streams

BATCHES = (1, 2, 4, 8, 16, 32)
BUNDLE = Path(__file__).parents[3] / "server" / "partstream_server" / "bundles" / "live"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 2 where there is no such device."""
    options = _options().parse_args(arguments)
    device = Device("cpu" if options.device == "cpu" else f"cuda:{options.device}")
    if device.is_gpu and not torch.cuda.is_available():
        sys.stderr.write("no GPU that torch can use; --device cpu runs the same checks on the CPU\n")
        return 2
    if options.minutes <= 0:
        sys.stderr.write(f"--minutes must be positive, got {options.minutes}\n")
        return 2
    unknown = sorted(set(options.networks) - set(NETWORKS))
    if unknown:
        sys.stderr.write(f"--networks: {unknown[0]!r} is none of {', '.join(NETWORKS)}\n")
        return 2
    report = check(
        device,
        minutes=options.minutes,
        quick=options.quick,
        bundle=options.bundle,
        networks=options.networks,
    )
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1))
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu-check", description="Figures of one GPU.")
    parser.add_argument("--device", default="0", help="number of the GPU, or cpu")
    parser.add_argument("--minutes", type=float, default=12, help="what is left out by then is named")
    parser.add_argument(
        "--quick", action="store_true", help="small pictures and few repeats: a check of the check"
    )
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="bundle that ONNX Runtime runs")
    parser.add_argument("--json", type=Path, help="write the report to this file, too")
    return parser


def check(
    device: Device,
    *,
    minutes: float,
    quick: bool,
    bundle: Path = BUNDLE,
    networks: Sequence[str] = tuple(NETWORKS),
) -> dict[str, Any]:
    """Measure, print as it goes, and return the report.

    Args:
        device: What is measured.
        minutes: No new measurement begins after these.
        quick: Small pictures, batches of one and two, streams of half a second.
        bundle: Folder of the graphs that ONNX Runtime runs.
        networks: Names of `NETWORKS`; streams are run through `live`, and only with it.
    """
    end = time.monotonic() + 60 * minutes
    size = (96, 96) if quick else (HEIGHT, WIDTH)
    batches = (1, 2) if quick else BATCHES
    report: dict[str, Any] = {"machine": device.describe(), "size": size, "left_out": []}
    limits = device.measure_limits(quick=quick)
    report["limits"] = {"gb_per_s": limits.bytes_per_s / 1e9} | {
        f"tflops_{precision}": rate / 1e12 for precision, rate in limits.flops_per_s.items()
    }
    _say(json.dumps({"machine": report["machine"], "limits": report["limits"]}))
    repeats = 3 if quick else 20
    report["graphs"] = []
    if "live" in networks:
        live = NETWORKS["live"]()
        report["graphs"] += _graphs(
            device, limits, report, live, end, batches=batches, size=size, repeats=repeats
        )
        report["streams"] = _streams(device, report, live, end, quick=quick, size=size)
    if time.monotonic() < end:
        found = measure_bundle(bundle, device, batches=batches[:4], size=size, repeats=repeats)
        report["onnxruntime"] = found
        _say(f"ONNX Runtime: {json.dumps(found)}")
    for name in networks:
        if name == "live":
            continue
        if time.monotonic() >= end:
            report["left_out"].append(name)
            continue
        network = NETWORKS[name]()
        report["graphs"] += _graphs(
            device, limits, report, network, end, batches=batches[:4], size=size, repeats=repeats // 2 + 1
        )
    for name in report["left_out"]:
        _say(f"left out for lack of time or device: {name}")
    return report


def _streams(
    device: Device,
    report: dict[str, Any],
    live: Network,
    end: float,
    *,
    quick: bool,
    size: tuple[int, int],
) -> dict[str, list[dict[str, Any]]]:
    """Streams that were tried, by precision."""
    found: dict[str, list[dict[str, Any]]] = {}
    for precision in (Precision.F32,) if quick else (Precision.FP16, Precision.TF32):
        if time.monotonic() >= end or precision not in device.precisions:
            report["left_out"].append(f"streams {precision}")
            continue
        path = LivePath(live, device, precision, size)
        tried = most_streams(path, seconds=0.5 if quick else 3.0, size=size, most=2 if quick else 1024)
        found[precision] = [asdict(row) | {"keeps_up": row.keeps_up} for row in tried]
        best = max((row.num_streams for row in tried if row.keeps_up), default=0)
        _say(f"streams of 30 frames a second, p95 within 50 ms, {precision}: {best}")
    return found


def _graphs(
    device: Device,
    limits: Limits,
    report: dict[str, Any],
    network: Network,
    end: float,
    *,
    batches: Sequence[int],
    size: tuple[int, int],
    repeats: int,
) -> list[dict[str, Any]]:
    """Figures of a network's graphs in each precision; one that fails is reported and the run goes on."""
    rows: list[dict[str, Any]] = []
    for graph in network.graphs:
        for precision in device.precisions:
            name = f"{network.name} {graph.name} {precision}"
            if time.monotonic() >= end:
                report["left_out"].append(name)
                continue
            try:
                figures = measure_graph(
                    graph, device, precision, limits, batches=batches, size=size, repeats=repeats
                )
            except (RuntimeError, NotImplementedError) as error:
                rows.append({"network": network.name, "graph": graph.name, "precision": precision,
                             "error": str(error).splitlines()[0]})  # fmt: skip
                _say(f"{name}: does not run: {rows[-1]['error']}")
                continue
            rows.append({"network": network.name} | asdict(figures))
            _say(
                f"{name} ({figures.casting}): error {figures.relative_error:.1e}; ms by batch "
                f"{_table(figures.milliseconds)}; captured {_table(figures.captured_milliseconds)}; "
                f"roofline {_table(figures.roofline_share)}"
            )
    return rows


def _say(line: str) -> None:
    """Print a line at once: a run that is cut short has shown what it measured."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _table(values: dict[int, float]) -> str:
    return " ".join(f"{batch}:{value:.3g}" for batch, value in values.items()) or "-"


if __name__ == "__main__":
    sys.exit(main())
