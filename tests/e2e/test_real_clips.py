"""The shipped bundle on real footage, through the command that people run."""

import collections
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from partstream_core.results import FrameResult
from partstream_core.results_io import read_ndjson

BIN = Path(sys.executable).parent


def parse(source: Path, out: Path, *options: str) -> list[FrameResult]:
    """Results of the `partstream` command."""
    command = [
        sys.executable,
        "-m",
        "partstream_server",
        "parse",
        str(source),
        "-o",
        str(out),
        "--no-overlay",
        *options,
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    return list(read_ndjson(out / source.stem / "results.ndjson"))


def test_the_juggler_is_one_person_with_his_parts_throughout(data_dir: Path, tmp_path: Path) -> None:
    frames = parse(data_dir / "videos" / "05_default_juggle.mp4", tmp_path)
    assert len(frames) == 247
    identities = collections.Counter(person.identity for frame in frames for person in frame.people)
    juggler, num_frames = identities.most_common(1)[0]
    assert num_frames >= 0.95 * len(frames), "one identity in at least 95 % of the frames"
    others = [frame for frame in frames if len(frame.people) > 1]
    assert len(others) <= 0.1 * len(frames), "nobody else is in the clip"
    found = collections.Counter(
        part.part
        for frame in frames
        for person in frame.people
        if person.identity == juggler
        for part in person.parts
    )
    wanted = ("hair", "face", "upper-clothes", "pants", "left-arm", "right-arm", "left-shoe", "right-shoe")
    assert {part: found[part] for part in wanted if found[part] <= len(frames) / 2} == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "num_frames", "every"), [("01_dog.mp4", 289, 2), ("one-by-one-person-detection.mp4", 1394, 6)]
)
def test_other_clips_run_to_the_end(
    data_dir: Path, tmp_path: Path, name: str, num_frames: int, every: int
) -> None:
    frames = parse(data_dir / "videos" / name, tmp_path, "--every", str(every))
    assert [frame.index for frame in frames] == list(range(0, num_frames, every))
    assert sum(bool(frame.people) for frame in frames) > len(frames) / 4


def test_held_out_photos_are_parsed_as_well_as_promised(data_dir: Path) -> None:
    command = [str(BIN / "partstream-evaluate"), "ccp", "--data", str(data_dir / "ccp"), "--json"]
    command += ["--partstream", str(BIN / "partstream")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0, run.stderr
    figures: dict[str, Any] = json.loads(run.stdout)
    assert figures["labels_published"] is True
    assert figures["num_photos"] == 100
    assert figures["miou"] >= 0.30
    assert figures["person_iou"] >= 0.85
