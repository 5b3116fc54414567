"""Parsing for long takes no more memory than parsing for a while.

MEMORY_FRAMES=20000 parses so many frames; a quick run of few hundred is part of every test.
"""

import json
import os
import subprocess
import sys

import pytest

NUM_FRAMES = int(os.environ.get("MEMORY_FRAMES", "200"))
MODES = ["every-frame", "causal", "adaptive"] if "MEMORY_FRAMES" in os.environ else ["adaptive"]
PARSE = """
import itertools, json, sys, tempfile
from pathlib import Path
import cv2, psutil
from partstream_core.results_io import ndjson_line
from partstream_core.schedule import ScheduleConfig, ScheduleMode
from partstream_server.media import Frame, open_video
from partstream_server.engine import create_engine
from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.pipeline.session import Session, SessionConfig, drive

cv2.setNumThreads(1)
num_frames, mode = int(sys.argv[1]), ScheduleMode(sys.argv[2])
interval = 1 if mode is ScheduleMode.EVERY_FRAME else 3
engine = create_engine(num_threads=1)
with tempfile.TemporaryDirectory() as folder:
    video = Path(folder) / "walkers.mp4"
    write_figures(video, num_frames=50)
    with open_video(video) as reader:
        images = [frame.image for frame in reader]
config = SessionConfig(schedule=ScheduleConfig(mode=mode, interval=interval))
session = Session(engine.bundle.manifest, config)
process, num_bytes, seen = psutil.Process(), 0, {}
for index, image in zip(range(num_frames), itertools.cycle(images)):
    for parsed in drive(session.push(Frame(index, index / 25, image), index * 40.0), engine):
        num_bytes += len(ndjson_line(parsed.result))
    if index + 1 in (num_frames // 10, num_frames):
        seen[index + 1] = process.memory_info().rss
print(json.dumps({"resident": seen, "num_bytes": num_bytes}))
"""


@pytest.mark.slow
@pytest.mark.timeout(120 + NUM_FRAMES // 5)
@pytest.mark.parametrize("mode", MODES)
def test_memory_at_the_end_is_memory_at_a_tenth(mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(NUM_FRAMES), mode], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(mode, found)  # noqa: T201
    early, late = found["resident"].values()
    assert found["num_bytes"] > 100 * NUM_FRAMES, "people are seen"
    assert late <= early * 1.05
