"""The comparison of schedules, as a command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.media_fixtures import clip


@pytest.mark.slow
def test_schedules_are_compared_on_a_clip(tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(clip(num_frames=7, width=128, height=96))
    command = [
        *(
            sys.executable,
            "-m",
            "partstream_server.benchmarks.compare",
            str(video),
            "-o",
            str(tmp_path / "out"),
        ),
        *("--only", "per frame", "--only", "l=3", "--frames", "6"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    rows = document["real"]["all"]
    assert rows["per frame"]["backbone"] == 1
    assert {name: rows[name]["backbone"] for name in rows if "l=3" in name} == {
        name: pytest.approx(2 / 6) for name in rows if "l=3" in name
    }
    assert "causal, codec, l=3" in rows
    assert "| per frame |" in (tmp_path / "out" / "real.md").read_text()
    assert "<svg" in (tmp_path / "out" / "real.svg").read_text()


@pytest.mark.parametrize(
    ("options", "complaint"), [(["--only", "nothing"], "no variant"), ([], "nothing to compare on")]
)
def test_a_comparison_of_nothing_is_refused(options: list[str], complaint: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "partstream_server.benchmarks.compare", "-o", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
