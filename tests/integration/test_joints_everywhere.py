"""Joints over every way into the server and out of it: the same ones, and none where they are not wanted."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from websockets.sync.client import connect

from partstream.v1 import service_pb2
from partstream_client import Client, LiveFrame, SourceFrame, StreamOptions
from partstream_core.joints import JOINTS
from partstream_core.results import FrameResult, frame_from_json
from partstream_core.results_io import read_ndjson
from partstream_core.schedule import ScheduleMode
from partstream_server.benchmarks.drawn_clip import scene, write_figures
from partstream_server.engine import Engine, create_engine
from partstream_server.engine.base import default_bundle_directory
from partstream_server.media import open_video
from partstream_server.offline.parser import MediaParser, parse_media
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.service.errors import codes_for
from tests.server.joint_bundle import write_joint_bundle
from tests.server.media_fixtures import image, rotated
from tests.server.running_grpc import RunningGrpc, serving_grpc

WIDTH, HEIGHT, NUM_FRAMES = 320, 180, 6
Joints = list[list[tuple[float, float, float]]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joints") / "bundle"
    return write_joint_bundle(default_bundle_directory(), folder)


@pytest.fixture(scope="module")
def engine(bundle: Path) -> Iterator[Engine]:
    opened = create_engine(bundle, precision="f32", num_threads=1)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "walkers.mp4"
    write_figures(path, width=WIDTH, height=HEIGHT, num_frames=NUM_FRAMES)
    return path


@pytest.fixture(scope="module")
def expected(engine: Engine, clip: Path) -> list[FrameResult]:
    results = list(parse_media(clip, engine))
    assert any(person.joints for result in results for person in result.people)
    assert not all(result.key_frame for result in results)
    return results


@pytest.fixture(scope="module")
def server(engine: Engine, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGrpc]:
    work = tmp_path_factory.mktemp("work")
    with serving_grpc(engine, work, source_folder=clip.parent) as running:
        yield running


@pytest.fixture
def client(server: RunningGrpc) -> Iterator[Client]:
    with Client(server.url, streams=server.target) as made:
        yield made


def joints_of(results: Iterable[FrameResult]) -> Joints:
    found = []
    for result in results:
        for person in result.people:
            assert [joint.joint for joint in person.joints] == list(JOINTS)[: len(person.joints)]
            found.append([(joint.x, joint.y, joint.score) for joint in person.joints])
    return found


def check_same(results: Iterable[FrameResult], expected: Sequence[FrameResult]) -> None:
    found, wanted = joints_of(results), joints_of(expected)
    assert len(found) == len(wanted) > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def check_none(results: Iterable[FrameResult]) -> None:
    people = [person for result in results for person in result.people]
    assert people
    assert all(person.joints == () for person in people)


def ask(server: RunningGrpc, clip: Path, accept: str, **options: object) -> httpx.Response:
    answer = httpx.post(
        f"{server.url}/parse",
        content=clip.read_bytes(),
        headers={"Accept": accept},
        params={name: str(value) for name, value in options.items()},
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    return answer


def frames_of(answer: httpx.Response) -> list[FrameResult]:
    """The frames of a document, of lines, or of the document in an archive."""
    kind = answer.headers["content-type"]
    if kind == "application/x-ndjson":
        return [frame_from_json(json.loads(line)) for line in answer.text.splitlines()]
    if kind == "application/zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            document = json.loads(archive.read("results.json"))
    else:
        document = answer.json()
    return [frame_from_json(frame) for frame in document["frames"]]


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "application/zip"])
def test_rest(server: RunningGrpc, clip: Path, expected: list[FrameResult], accept: str) -> None:
    check_same(frames_of(ask(server, clip, accept)), expected)
    without = ask(server, clip, accept, joints="false")
    check_none(frames_of(without))
    assert b'"joints"' not in without.content


def test_the_python_client_over_rest(client: Client, clip: Path, expected: list[FrameResult]) -> None:
    check_same((frame.record for frame in client.parse(clip).frames), expected)
    check_same((frame.record for frame in client.iter_frames(clip)), expected)
    check_none(frame.record for frame in client.iter_frames(clip, joints=False))
    person = next(person for frame in client.parse(clip).frames for person in frame.people)
    assert list(person.joints) == list(JOINTS)
    assert person.joints["nose"].x == person.record.joints[0].x


def test_a_file_over_grpc(client: Client, clip: Path, expected: list[FrameResult]) -> None:
    check_same((frame.record for frame in client.stream_video(clip)), expected)
    check_none(frame.record for frame in client.stream_video(clip, joints=False))


def pictures() -> list[NDArray[np.uint8]]:
    return [scene(WIDTH, HEIGHT, number) for number in range(4)]


def over_websocket(server: RunningGrpc, **options: object) -> list[FrameResult]:
    address = server.url.replace("http", "ws", 1) + "/v1/stream"
    found = []
    with connect(address, open_timeout=60, max_size=2**24) as connection:
        connection.send(json.dumps({"policy": "block", **options}))
        connection.recv(60)
        for picture in pictures():
            connection.send(image(picture))
            found.append(frame_from_json(json.loads(connection.recv(60))["result"]))
        connection.send('{"type": "end"}')
    return found


def over_grpc(client: Client, *, joints: bool = True) -> list[FrameResult]:
    options = StreamOptions(policy="block", encoding="png", joints=joints)
    answers = list(client.stream(pictures(), options))
    assert all(isinstance(answer, LiveFrame) for answer in answers)
    return [answer.record for answer in answers if isinstance(answer, LiveFrame)]


def test_live_streams(server: RunningGrpc, client: Client) -> None:
    over_socket = over_websocket(server)
    assert [result.key_frame for result in over_socket] == [True, False, False, True]
    check_same(over_grpc(client), over_socket)
    check_none(over_websocket(server, joints=False))
    check_none(over_grpc(client, joints=False))


def pulled(client: Client, clip: Path, *, joints: bool) -> list[FrameResult]:
    source = client.start_source(f"file://{clip}", policy="block", joints=joints)
    answers = list(client.subscribe(source))
    client.stop_source(source)
    return [answer.record for answer in answers if isinstance(answer, SourceFrame)]


def test_sources_that_the_server_pulls(client: Client, clip: Path) -> None:
    found = pulled(client, clip, joints=True)
    assert all(len(person.joints) == len(JOINTS) for result in found for person in result.people)
    assert any(result.people for result in found)
    check_none(pulled(client, clip, joints=False))


def test_the_model_tells_that_it_finds_joints(server: RunningGrpc) -> None:
    with server.stub() as stub:
        (model,) = stub.ListModels(service_pb2.ListModelsRequest(), timeout=60).models
    assert model.joints == len(JOINTS)
    (described,) = httpx.get(f"{server.url}/v1/models").json()["models"]
    assert described["capabilities"]["joints"] == len(JOINTS)


def turned(clip: Path) -> bytes:
    """The clip as a phone on its side stores it: a quarter turn back, and told to be turned when shown."""
    file = io.BytesIO()
    with av.open(str(clip)) as source, av.open(file, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            upright = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            stored = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(upright)), "rgb24")
            stored.pts, stored.time_base = number, Fraction(1, 25)
            target.mux(stream.encode(stored.reformat(format="yuv420p")))
        target.mux(stream.encode(None))
    return rotated(file.getvalue())


def test_joints_are_in_the_pixels_of_the_upright_picture(engine: Engine, clip: Path) -> None:
    options = ParseOptions(max_frames=1, schedule=ScheduleMode.EVERY_FRAME)
    with MediaParser(io.BytesIO(turned(clip)), engine, options) as parser:
        (picture,) = list(parser)
    upright = picture.frame.image
    assert upright.shape == (HEIGHT, WIDTH, 3)
    assert picture.result is not None
    check_same([picture.result], list(parse_media(io.BytesIO(image(upright)), engine)))


def partstream(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "partstream_server", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "street.png"
    PillowImage.fromarray(scene(WIDTH, HEIGHT, 0)).save(path)
    return path


def test_the_command_line_writes_joints_and_draws_them_where_it_is_asked_to(
    bundle: Path, photo: Path, tmp_path: Path
) -> None:
    overlays = {}
    for name, options in {"plain": [], "drawn": ["--skeletons"], "none": ["--no-joints"]}.items():
        done = partstream("parse", photo, "-o", tmp_path / name, "--bundle", bundle, *options)
        assert done.returncode == 0, done.stderr
        folder = tmp_path / name / "street"
        results = list(read_ndjson(folder / "results.ndjson"))
        assert results[0].people
        assert all(bool(person.joints) == (name != "none") for person in results[0].people)
        overlays[name] = np.asarray(PillowImage.open(folder / "overlay.png"))
    assert np.array_equal(overlays["plain"], overlays["none"])
    assert (overlays["drawn"] != overlays["plain"]).any(axis=2).sum() > 100


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--skeletons"], "finds no joints"), (["--skeletons", "--no-joints"], "without joints")],
)
def test_skeletons_of_no_joints_are_refused_in_a_line(
    bundle: Path, photo: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    chosen = [] if words == "finds no joints" else ["--bundle", bundle]
    done = partstream("parse", photo, "-o", tmp_path, *options, *chosen)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: skeletons")
    assert words in line


def shown(video: bytes) -> NDArray[np.uint8]:
    """All pictures of a video, [N, H, W, 3]."""
    with open_video(io.BytesIO(video)) as reader:
        return np.stack([frame.image for frame in reader])


def test_the_overlay_video_shows_skeletons_where_they_are_asked_for(
    server: RunningGrpc, client: Client, clip: Path, tmp_path: Path
) -> None:
    plain = shown(ask(server, clip, "video/mp4").content).astype(int)
    drawn = shown(ask(server, clip, "video/mp4", skeletons="true").content)
    assert (np.abs(drawn - plain).max(axis=3) > 40).sum(axis=(1, 2)).min() > 50
    by_client = client.overlay(clip, tmp_path / "overlay.mp4", skeletons=True)
    np.testing.assert_array_equal(shown(by_client.read_bytes()), drawn)
    refused = httpx.post(
        f"{server.url}/parse", content=clip.read_bytes(), params={"skeletons": "1", "joints": "0"}, timeout=60
    )
    assert refused.status_code == codes_for("bad_option").http
    assert refused.json()["code"] == "bad_option"
