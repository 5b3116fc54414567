"""`partstream bench`: what each stage of the pipeline costs, on this machine.

Frames a second are those of the whole pipeline, its stages overlapped, from H.264 to lines of NDJSON. What
each stage takes is from another pass, one after the other: the stages on the host in milliseconds of CPU
time a frame, the graphs in milliseconds of wall time.
"""

from __future__ import annotations

import math
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from partstream_core.assembly_config import AssemblyKind
from partstream_core.results_io import ndjson_line
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode
from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.engine import Engine, create_engine
from partstream_server.media import open_video
from partstream_server.offline.parser import MediaParser
from partstream_server.pipeline.inference import network_size
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.pipeline.schedule_choice import INTERVAL, choose_schedule
from partstream_server.pipeline.stage_times import StageClock

THREADS = (2, 1)
PRECISIONS = ("auto", "f32")
OVERHEAD = ("decode", "assemble", "track", "encode")
"""Stages that the host pays for every frame, key frame or not."""
_WARM_UP_FRAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """What is timed."""

    bundle: Path | None = None
    provider: str = "auto"
    video: Path | None = None
    num_frames: int = 100
    score_threshold: float | None = None
    schedule: ScheduleMode | None = None
    """None: causal where the bundle carries features over time, else every frame."""
    interval: int | None = None
    flow: FlowSource | None = None
    encodes: bool | None = None
    assembly: AssemblyKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One way to parse the clip."""

    provider: str
    precision_asked: str
    precision: str
    num_threads: int
    num_frames: int
    schedule: str
    people_per_frame: float
    frames_per_second: float
    stages_ms: dict[str, float]
    """Milliseconds a frame."""
    network_ms: float
    """Milliseconds a frame in the graphs."""
    key_ms: float
    """Of them, milliseconds in the graphs of a key frame; NaN where there was none; the first is left out."""
    other_ms: float
    """Likewise of a frame that borrows."""

    @property
    def overhead_ms(self) -> float:
        """Milliseconds of CPU time a frame around them."""
        return sum(self.stages_ms[stage] for stage in OVERHEAD)


@dataclass(frozen=True, slots=True)
class Report:
    """All passes; the first is the one that people get: every thread, automatic precision."""

    size: tuple[int, int]
    network_size: tuple[int, int]
    runs: tuple[Run, ...]
    peak_memory_mb: float
    """After the first pass: the others add engines that are never run side by side."""

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        main = self.runs[0]
        return {
            "frames_per_second": round(main.frames_per_second, 2),
            "non_key_over_key": _number(main.other_ms / main.key_ms),
            "overhead_ms": round(main.overhead_ms, 3),
            "peak_memory_mb": round(self.peak_memory_mb, 1),
            "stages": _rounded(main.stages_ms),
            "video": {"width": self.size[0], "height": self.size[1], "num_frames": main.num_frames},
            "network": {"width": self.network_size[0], "height": self.network_size[1]},
            "runs": [
                {
                    "provider": run.provider,
                    "precision_asked": run.precision_asked,
                    "precision": run.precision,
                    "threads": run.num_threads,
                    "schedule": run.schedule,
                    "frames_per_second": round(run.frames_per_second, 2),
                    "network_ms": round(run.network_ms, 3),
                    "key_frame_network_ms": _number(run.key_ms),
                    "non_key_frame_network_ms": _number(run.other_ms),
                    "overhead_ms": round(run.overhead_ms, 3),
                    "people_per_frame": round(run.people_per_frame, 2),
                    "stages": _rounded(run.stages_ms),
                }
                for run in self.runs
            ],
        }


def run_bench(config: BenchConfig) -> Report:
    """Time every precision on every number of threads.

    Raises:
        MediaError: The given clip cannot be read.
        BundleError, EngineError: The engine cannot be made.
    """
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="partstream-bench-") as folder:
        video = config.video
        if video is None:
            video = Path(folder) / "figures.mp4"
            write_figures(video, num_frames=config.num_frames)
        size, decode_ms = _time_decoding(video, config.num_frames)
        runs: list[Run] = []
        peak_mb = 0.0
        for precision in PRECISIONS if config.provider not in ("cuda", "tensorrt") else PRECISIONS[:1]:
            for num_threads in THREADS:
                engine = create_engine(
                    config.bundle, provider=config.provider, precision=precision, num_threads=num_threads
                )
                for schedule in _schedules(config, engine):
                    runs.append(_time_run(video, engine, config, decode_ms, precision, schedule))
                    peak_mb = peak_mb or peak_memory_mb()
                engine.close()
        network = network_size(*size, engine.bundle.manifest.input)
    return Report(size, network, tuple(runs), peak_mb)


def report_lines(report: Report) -> list[str]:
    """The report as a table for people."""
    stages = list(report.runs[0].stages_ms)
    head = ["", *(f"{run.precision} x{run.num_threads}" for run in report.runs)]
    rows = [
        ["schedule", *(run.schedule for run in report.runs)],
        *([stage, *(f"{run.stages_ms[stage]:.2f}" for run in report.runs)] for stage in stages),
        ["key frame, network", *(f"{run.key_ms:.2f}" for run in report.runs)],
        ["other frame, network", *(f"{run.other_ms:.2f}" for run in report.runs)],
        ["network", *(f"{run.network_ms:.2f}" for run in report.runs)],
        ["overhead", *(f"{run.overhead_ms:.2f}" for run in report.runs)],
        ["people a frame", *(f"{run.people_per_frame:.1f}" for run in report.runs)],
        ["frames a second", *(f"{run.frames_per_second:.1f}" for run in report.runs)],
    ]
    (width, height), (network_width, network_height) = report.size, report.network_size
    main = report.runs[0]
    sizes = f"{width}x{height} to {network_width}x{network_height}"
    return [
        f"{main.provider}, {sizes}, {main.num_frames} frames; milliseconds a frame by precision and threads",
        *(
            "".join(f"{cell:>{21 if at == 0 else 14}}" for at, cell in enumerate(row))
            for row in [head, *rows]
        ),
        f"peak memory {report.peak_memory_mb:.0f} MB",
    ]


def _time_decoding(video: Path, num_frames: int) -> tuple[tuple[int, int], float]:
    """Size of the clip, and CPU milliseconds a frame of decoding alone, codec threads included."""
    with open_video(video) as reader:
        start_s, count = time.process_time(), 0
        for count, _ in enumerate(reader, start=1):
            if count == num_frames:
                break
        spent_s = time.process_time() - start_s
        return (reader.info.width, reader.info.height), spent_s / count * 1000


def _schedules(config: BenchConfig, engine: Engine) -> list[ScheduleConfig]:
    """What is timed: what was asked for, or what live streams do and every frame by itself."""
    manifest = engine.bundle.manifest
    if config.schedule is not None:
        asked = ParseOptions(
            schedule=config.schedule, interval=config.interval, flow=config.flow, encodes=config.encodes
        )
        return [asked.schedule_for(engine)]
    if manifest.capabilities.temporal == "none":
        return [ScheduleConfig()]
    return [
        choose_schedule(
            manifest,
            mode=ScheduleMode.CAUSAL,
            interval=config.interval or INTERVAL,
            flow=config.flow,
            device=engine.device,
            encodes=config.encodes,
            live=True,
        ),
        ScheduleConfig(),
    ]


def _time_run(
    video: Path,
    engine: Engine,
    config: BenchConfig,
    decode_ms: float,
    precision: str,
    schedule: ScheduleConfig,
) -> Run:
    """Two passes, after a short one that compiles the shapes: frames a second, and what each stage takes."""
    asked = ParseOptions(
        score_threshold=config.score_threshold,
        schedule=schedule.mode,
        interval=None if schedule.mode is ScheduleMode.EVERY_FRAME else schedule.interval,
        flow=None if schedule.mode is ScheduleMode.EVERY_FRAME else schedule.flow,
        encodes=schedule.encodes,
        assembly=config.assembly,
    )
    options = asked.model_copy(update={"max_frames": schedule.interval + 1 + _WARM_UP_FRAMES})
    with MediaParser(video, engine, options) as parser:
        for _ in parser:
            pass
    options = asked.model_copy(update={"max_frames": config.num_frames})
    start_s = time.perf_counter()
    with MediaParser(video, engine, options) as parser:
        for picture in parser:
            assert picture.result is not None, "every frame is parsed"
            ndjson_line(picture.result)
    seconds = time.perf_counter() - start_s
    clock, num_frames, num_people = StageClock(), 0, 0
    graphs = list(engine.bundle.manifest.graphs)
    network_s: list[tuple[bool, float]] = []
    before_s = 0.0
    with MediaParser(video, engine, options, clock=clock, overlapped=False) as parser:
        for picture in parser:
            assert picture.result is not None, "every frame is parsed"
            num_frames += 1
            num_people += len(picture.result.people)
            with clock.stage("encode"):
                ndjson_line(picture.result)
            now_s = sum(clock.total_s[graph] for graph in graphs)
            network_s.append((picture.result.key_frame, now_s - before_s))
            before_s = now_s
    host = {stage: clock.cpu_s[stage] / num_frames * 1000 for stage in ("infer", *OVERHEAD[1:])}
    graph_ms = {graph: clock.total_s[graph] / num_frames * 1000 for graph in graphs}
    return Run(
        provider=engine.provider,
        precision_asked=precision,
        precision=engine.precision,
        num_threads=engine.num_threads,
        num_frames=num_frames,
        schedule=_name(schedule),
        people_per_frame=num_people / num_frames,
        frames_per_second=num_frames / seconds,
        stages_ms={"decode": decode_ms, "infer": host.pop("infer"), **graph_ms, **host},
        network_ms=sum(graph_ms.values()),
        key_ms=_mean_ms([seconds for key, seconds in network_s[1:] if key]),
        other_ms=_mean_ms([seconds for key, seconds in network_s[1:] if not key]),
    )


def _name(schedule: ScheduleConfig) -> str:
    """The schedule in a few words, such as `causal 3 dis`."""
    words = [str(schedule.mode)]
    if schedule.interval > 1:
        words += [str(schedule.interval)]
    if schedule.flow is not FlowSource.NETWORK:
        words += [str(schedule.flow)]
    return " ".join(words if schedule.encodes else [*words, "plain"])


def _mean_ms(seconds: list[float]) -> float:
    return sum(seconds) / len(seconds) * 1000 if seconds else math.nan


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def peak_memory_mb() -> float:
    """Most memory this process ever held, in millions of bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _rounded(stages_ms: dict[str, float]) -> dict[str, float]:
    return {stage: round(value, 3) for stage, value in stages_ms.items()}
