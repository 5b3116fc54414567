"""The examples, and the documents' own, run as people run them, on a real clip and the real server."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from partstream_client import Client
from tests.clients.server_process import ServerProcess, server_process

pytestmark = pytest.mark.slow

NUM_FRAMES = 12
PATIENCE_S = 300.0
PATIENT = ["--max-age-ms", "100000"]
"""However busy the machine is, the last frame of the clip is parsed."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("server")) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """Half a second of a man who juggles a ball, with small sides."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(data_dir / "videos" / "05_default_juggle.mp4") as source, av.open(path, "w") as out:
        track = out.add_stream("libx264", rate=25, options={"crf": "18"})
        track.width, track.height, track.pix_fmt = 640, 360, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            if number == NUM_FRAMES:
                break
            small = frame.reformat(640, 360, "yuv420p")
            small.pts = None
            out.mux(track.encode(small))
        out.mux(track.encode())
    return path


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def examples(repository: Path) -> Path:
    return repository / "clients" / "python" / "examples"


def pictures(path: Path) -> list[npt.NDArray[np.uint8]]:
    with av.open(path) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def test_a_file_is_described_and_drawn(
    server: ServerProcess, examples: Path, clip: Path, tmp_path: Path
) -> None:
    printed = run(
        examples / "parse_file.py", clip, "--server", server.url, "--overlay", "o.mp4", cwd=tmp_path
    )
    lines = printed.splitlines()
    assert (
        len([line for line in lines if re.match(r"[\d.]+ s: person 1: .*face \d+", line)]) >= NUM_FRAMES - 2
    )
    assert len(pictures(tmp_path / "o.mp4")) == NUM_FRAMES


def test_garments_become_a_table(server: ServerProcess, examples: Path, clip: Path, tmp_path: Path) -> None:
    printed = run(examples / "garments_csv.py", clip, "--server", server.url, cwd=tmp_path)
    rows = list(csv.DictReader(io.StringIO(printed)))
    worn = {row["garment"]: float(row["share_of_frames"]) for row in rows if row["identity"] == "1"}
    assert worn["pants"] > 0.8
    assert all(0 < float(row["share_of_frames"]) <= 1 and int(row["mean_area_px"]) > 0 for row in rows)


def test_a_face_is_blurred_and_the_rest_stays(
    server: ServerProcess, examples: Path, clip: Path, tmp_path: Path
) -> None:
    options = ["--server", server.url, "--streams", server.streams]
    printed = run(examples / "blur_faces.py", clip, "-o", "blurred.mp4", *options, cwd=tmp_path)
    assert printed.startswith("0 frames")
    before, after = pictures(clip), pictures(tmp_path / "blurred.mp4")
    assert len(before) == len(after) == NUM_FRAMES
    with Client(server.url) as client:
        frames = client.parse(clip).frames
    for original, blurred, frame in zip(before, after, frames, strict=True):
        (man,) = [person for person in frame.people if person.identity == 1]
        face = man.parts["face"].mask
        difference = np.abs(original.astype(int) - blurred).mean(axis=2)
        assert original[face].std() > blurred[face].std()
        assert difference[face].mean() > 3 * difference[~man.mask].mean()


def test_a_clip_stands_in_for_the_camera(
    server: ServerProcess, examples: Path, clip: Path, tmp_path: Path
) -> None:
    options = ["--server", server.url, "--streams", server.streams, *PATIENT, "--overlay", "o.mp4"]
    printed = run(examples / "webcam.py", clip, *options, cwd=tmp_path)
    last = printed.splitlines()[-1]
    found = re.fullmatch(r"(\d+) frames were skipped, so that no result is late", last)
    assert found
    assert int(found.group(1)) + len(pictures(tmp_path / "o.mp4")) == NUM_FRAMES


def test_a_network_camera_prints_lines_of_json(
    server: ServerProcess, examples: Path, clip: Path, tmp_path: Path
) -> None:
    options = ["--once", *PATIENT, "--server", server.url, "--streams", server.streams]
    lines = [
        json.loads(line) for line in run(examples / "rtsp.py", clip, *options, cwd=tmp_path).splitlines()
    ]
    assert lines
    assert {person["identity"] for line in lines for person in line["people"]} <= {1}
    assert all(line["epoch"] == 0 and line["latency_ms"] > 0 for line in lines)


DOCUMENTS = ("README.md", "docs/client.md", "docs/jobs.md")


def document_blocks(repository: Path) -> list[str]:
    """The Python of the README and of the documents about the client and about jobs."""
    text = "".join((repository / name).read_text("utf-8") for name in DOCUMENTS)
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_examples_of_the_documents_run_as_they_stand(
    server: ServerProcess, repository: Path, clip: Path, tmp_path: Path
) -> None:
    blocks = document_blocks(repository)
    assert len(blocks) == 5
    shutil.copy(clip, tmp_path / "clip.mp4")
    for number, block in enumerate(blocks):
        at_home = 'Client("http://127.0.0.1:8000"'
        assert at_home in block
        here = block.replace(', streams="127.0.0.1:50051"', "")
        here = here.replace(at_home, f'Client("{server.url}", streams="{server.streams}"')
        script = tmp_path / f"block_{number}.py"
        script.write_text(here)
        printed = run(script, cwd=tmp_path)
        assert printed.strip()
    assert len(pictures(tmp_path / "overlay.mp4")) == NUM_FRAMES


def test_the_first_example_has_ten_lines_at_most(repository: Path) -> None:
    first = document_blocks(repository)[0]
    assert len([line for line in first.splitlines() if line.strip()]) <= 10
