"""Live streams of the client and the real server, which is killed, told to stop, and started again."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import trustme
from PIL import Image

from partstream_client import (
    Answer,
    AuthError,
    Client,
    Failed,
    LiveFrame,
    RetryPolicy,
    Skipped,
    StreamOptions,
    TimedFrame,
    Tls,
    UnreachableError,
)
from tests.clients.server_process import ServerProcess, server_process

pytestmark = pytest.mark.slow

SIZE = (640, 360)
SECRET = {"PARTSTREAM_RESUME_SECRET": "shared by the servers of these tests"}
NUM_OTHERS, NUM_MAN = 4, 14
LOSSLESS = StreamOptions(policy="block", max_in_flight=4, give_up_s=300, answer_timeout_s=120)
PLAIN = np.full((64, 64, 3), 128, np.uint8)

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("server")) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url, streams=server.streams, retry=RetryPolicy(retries=0)) as made:
        yield made


def pictures(path: Path, num: int, *, every: int) -> list[Pixels]:
    """Frames of a clip, all of one size."""
    with av.open(path) as container:
        chosen = itertools.islice(container.decode(video=0), 0, num * every, every)
        images = [Image.fromarray(frame.to_ndarray(format="rgb24")).resize(SIZE) for frame in chosen]
    assert len(images) == num
    return [np.asarray(image) for image in images]


@pytest.fixture(scope="module")
def footage(data_dir: Path) -> list[TimedFrame]:
    """Two children jump on a bed, a cut, and a man juggles a ball: his number is not the first one."""
    videos = data_dir / "videos"
    others = pictures(videos / "bedroom.mp4", NUM_OTHERS, every=2)
    man = pictures(videos / "05_default_juggle.mp4", NUM_MAN, every=2)
    return [TimedFrame(image, number / 12.5) for number, image in enumerate([*others, *man])]


def interrupted(
    client: Client, frames: list[TimedFrame], after: int, interrupt: Callable[[], None]
) -> list[Answer]:
    """All answers of a stream, during which something happens."""
    answers: list[Answer] = []
    for answer in client.stream(frames, LOSSLESS):
        answers.append(answer)
        if answer.index == after:
            interrupt()
    return answers


def check_the_man_stays_himself(answers: list[Answer]) -> None:
    """Every frame has its result, and the man of the second clip one number, which nobody else had."""
    assert [answer.index for answer in answers] == list(range(NUM_OTHERS + NUM_MAN))
    found = [answer for answer in answers if isinstance(answer, LiveFrame)]
    assert len(found) == len(answers), [answer for answer in answers if answer not in found]
    assert {answer.epoch for answer in found} == {0}
    before = {person.identity for answer in found[:NUM_OTHERS] for person in answer.people}
    numbers = Counter(
        max(answer.people, key=lambda person: person.mask.sum()).identity
        for answer in found[NUM_OTHERS:]
        if answer.people
    )
    assert before
    ((number, num_frames),) = numbers.items()
    assert number not in before
    assert num_frames >= NUM_MAN - 2


def test_the_man_keeps_his_identity_when_the_server_is_killed_and_started_again(
    tmp_path: Path, footage: list[TimedFrame]
) -> None:
    with server_process(tmp_path, **SECRET) as server, Client(server.url, streams=server.streams) as client:

        def kill() -> None:
            server.stop(9)
            server.start()

        answers = interrupted(client, footage, NUM_OTHERS + 5, kill)
    check_the_man_stays_himself(answers)
    assert "resumed=True" in server.log


def test_the_man_keeps_his_identity_when_the_server_is_drained_and_another_takes_over(
    tmp_path: Path, footage: list[TimedFrame]
) -> None:
    (first_dir, second_dir) = (tmp_path / "first", tmp_path / "second")
    first_dir.mkdir()
    second_dir.mkdir()
    with (
        server_process(first_dir, **SECRET) as first,
        server_process(second_dir, **SECRET) as second,
        Client(first.url, streams=[first.streams, second.streams]) as client,
    ):
        answers = interrupted(client, footage, NUM_OTHERS + 5, first.begin_to_stop)
        assert first.end() == 0
        check_the_man_stays_himself(answers)
        assert "resumed=True" in second.log
        assert "resumed=True" not in first.log


def test_a_picture_that_is_none_fails_alone(client: Client) -> None:
    answers = list(client.stream([PLAIN, b"no picture at all", PLAIN], LOSSLESS))
    assert [type(answer) for answer in answers] == [LiveFrame, Failed, LiveFrame]
    assert isinstance(answers[1], Failed)
    assert answers[1].code == "not_a_video"


def test_a_frame_of_another_size_fails_alone(client: Client) -> None:
    answers = list(client.stream([PLAIN, PLAIN[:32], PLAIN], LOSSLESS))
    assert [type(answer) for answer in answers] == [LiveFrame, Failed, LiveFrame]


@pytest.mark.parametrize("encoding", ["jpeg", "raw", "png"])
def test_every_encoding_shows_the_server_the_same_man(
    client: Client, footage: list[TimedFrame], encoding: str
) -> None:
    options = StreamOptions(policy="block", encoding=encoding)  # type: ignore[arg-type]
    (answer,) = client.stream([footage[-1]], options)
    assert isinstance(answer, LiveFrame)
    (man,) = [person for person in answer.people if person.score > 0.6]
    assert man.mask.shape == answer.part_map.shape == SIZE[::-1]
    assert man.parts["face"].mask.any()
    assert not (man.parts["face"].mask & ~man.mask).any()
    assert answer.drawn().shape == (*SIZE[::-1], 3)


def test_frames_that_come_too_fast_are_skipped_and_said_so(client: Client) -> None:
    answers = list(client.stream([PLAIN] * 60))
    assert [answer.index for answer in answers] == list(range(60))
    reasons = {answer.reason for answer in answers if isinstance(answer, Skipped)}
    assert reasons
    assert reasons <= {"replaced", "too_old"}
    assert isinstance(answers[-1], LiveFrame)


def test_a_video_is_parsed_over_grpc_as_over_rest(client: Client, data_dir: Path) -> None:
    path = data_dir / "videos" / "05_default_juggle.mp4"
    streamed = list(client.stream_video(path, max_frames=4, every=2))
    document = client.parse(path, max_frames=4, every=2)
    assert [frame.index for frame in streamed] == [0, 2]
    assert streamed[0].size == (720, 1280)
    for one, other in zip(streamed, document.frames, strict=True):
        assert [person.identity for person in one.people] == [person.identity for person in other.people]
        for person, same in zip(one.people, other.people, strict=True):
            np.testing.assert_array_equal(person.mask, same.mask)
            assert person.parts.keys() == same.parts.keys()


def test_both_wires_take_a_schedule(client: Client, data_dir: Path) -> None:
    path = data_dir / "videos" / "05_default_juggle.mp4"
    options = StreamOptions(policy="block", schedule="causal", interval=3, flow="none")
    live = [answer for answer in client.stream([PLAIN] * 7, options) if isinstance(answer, LiveFrame)]
    streamed = client.stream_video(path, max_frames=7, schedule="causal", interval=3, flow="codec")
    posted = client.iter_frames(path, max_frames=7, schedule="causal", interval=3, flow="dis")
    for frames in (live, streamed, posted):
        assert "".join("K" if frame.key_frame else "-" for frame in frames) == "K--K--K"


def test_every_wire_takes_a_rule_of_assembly(
    client: Client, data_dir: Path, footage: list[TimedFrame]
) -> None:
    path = data_dir / "videos" / "05_default_juggle.mp4"
    children = footage[0]
    masks: dict[str, list[Pixels]] = {}
    for rule in ("greedy", "crf"):
        streamed = next(iter(client.stream_video(path, max_frames=1, assembly=rule)))
        posted = next(iter(client.iter_frames(path, max_frames=1, assembly=rule)))
        options = StreamOptions(policy="block", schedule="every-frame", assembly=rule)
        live = next(iter(client.stream([children], options)))
        assert isinstance(live, LiveFrame) and streamed.people and live.people
        assert [person.identity for person in streamed.people] == [
            person.identity for person in posted.people
        ]
        for one, other in zip(streamed.people, posted.people, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
        masks[rule] = [np.sum([person.mask for person in each.people], axis=0) for each in (streamed, live)]
    for greedy, crf in zip(masks["greedy"], masks["crf"], strict=True):
        assert 0 < np.count_nonzero(greedy != crf) < 0.2 * np.count_nonzero(greedy)


def test_what_is_no_video_is_refused_with_the_same_code_on_both_wires(client: Client) -> None:
    for ask in (client.stream_video, client.iter_frames):
        with pytest.raises(Exception, match="not_a_video") as caught:
            list(ask(b"no video at all"))
        assert type(caught.value).__name__ == "RejectedError"


def test_closing_early_lets_the_server_go_on(client: Client, server: ServerProcess) -> None:
    closed = threading.Event()

    def camera() -> Iterator[Pixels]:
        try:
            while True:
                yield PLAIN
        finally:
            closed.set()

    answers = client.stream(camera(), LOSSLESS)
    assert next(answers).index == 0
    answers.close()
    assert closed.is_set()
    assert len(list(client.stream([PLAIN] * 3, LOSSLESS))) == 3


def test_a_stream_that_cannot_be_opened_says_where_it_was_looked_for() -> None:
    nobody = Client("http://127.0.0.1:9", streams="127.0.0.1:9", retry=RetryPolicy(retries=0))
    with nobody as client, pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        list(client.stream([PLAIN]))


def test_the_key_and_the_certificate_open_both_wires(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    ca, certificate, key = (tmp_path / name for name in ("ca.pem", "certificate.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    settings = {
        "PARTSTREAM_TLS_CERT": str(certificate),
        "PARTSTREAM_TLS_KEY": str(key),
        "PARTSTREAM_API_KEYS": "tests:a-key-for-these-tests",
    }
    with server_process(tmp_path, verify=str(ca), **settings) as server:

        def client_with(api_key: str | None) -> Client:
            return Client(
                server.url,
                streams=server.streams,
                api_key=api_key,
                tls=Tls(ca_file=ca),
                retry=RetryPolicy(retries=0),
            )

        picture = Path(tmp_path / "plain.png")
        Image.fromarray(PLAIN).save(picture)
        with client_with("a-key-for-these-tests") as client:
            assert len(client.parse(picture).frames) == 1
            assert [type(answer) for answer in client.stream([PLAIN], LOSSLESS)] == [LiveFrame]
        for wrong in (None, "another-key"):
            with client_with(wrong) as client:
                for ask in (lambda: client.parse(picture), lambda: list(client.stream([PLAIN]))):
                    with pytest.raises(AuthError) as caught:
                        ask()
                    assert caught.value.code == ("key_missing" if wrong is None else "key_wrong")
        plain = Client(
            f"http://127.0.0.1:{server.port}", streams=server.streams, retry=RetryPolicy(retries=0)
        )
        with plain as client, pytest.raises(UnreachableError):
            list(client.stream([PLAIN]))
