"""Following named people through a file: over REST, on the command line, and with the client."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from partstream_client import Client, RejectedError, Status
from partstream_core.errors import OptionError
from partstream_core.follow import GivenSight
from partstream_core.results import FrameResult, PersonResult
from partstream_core.rle import Rle, decode, encode
from partstream_server.app.cli import app
from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.offline.follow_targets import MAX_SIGHTS, MAX_TARGETS, SightResolver, read_sights
from tests.server.answers import document, problem
from tests.server.running_server import Running

SIZE = (360, 640)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("follow") / "clip.mp4"
    write_figures(path, width=SIZE[1], height=SIZE[0], num_frames=12)
    return path


@pytest.fixture(scope="module")
def people(shared_server: Running, figures: Path) -> list[dict[str, Any]]:
    """Who is in the sixth frame, by a parse with the same options."""
    frames = document(shared_server.parse(figures.read_bytes(), "application/json"))["frames"]
    found: list[dict[str, Any]] = frames[5]["people"]
    assert len(found) >= 2
    return found


def mask_of(person: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    height, width = person["mask"]["size"]
    return decode(Rle(height, width, person["mask"]["counts"]))


def inside(person: dict[str, Any]) -> str:
    """A pixel of the person, as a target's text has it."""
    rows, columns = np.nonzero(mask_of(person))
    middle = len(rows) // 2
    return f"{columns[middle]},{rows[middle]}"


def follow(
    server: Running, body: bytes, *persons: str, accept: str = "application/json", **options: Any
) -> httpx.Response:
    return server.http.post(
        "/v1/follow", content=body, headers={"Accept": accept}, params={"person": list(persons), **options}
    )


def followed(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def person_at(identity: int, left: int) -> PersonResult:
    mask = np.zeros((20, 40), bool)
    mask[5:15, left : left + 6] = True
    return PersonResult(identity, 0.9, (left, 5, left + 6, 15), encode(mask), ())


def frame_at(index: int, *people: PersonResult) -> FrameResult:
    return FrameResult(index, index / 10, True, people)


def test_a_follow_has_the_masks_and_parts_of_the_person_who_was_pointed_at(
    server: Running, figures: Path, people: list[dict[str, Any]]
) -> None:
    one, other = people[:2]
    answer = follow(server, figures.read_bytes(), f"anna@0.2:{inside(one)}", f"ben@0.2:{inside(other)}")
    found = followed(answer)
    assert [(row["name"], row["num_seen"] >= 6) for row in found["targets"]] == [
        ("anna", True),
        ("ben", True),
    ]
    assert found["video"]["width"] == SIZE[1]
    assert [frame["index"] for frame in found["frames"]] == list(range(12))
    anna, ben = found["frames"][5]["targets"]
    assert (anna["name"], anna["status"], anna["similarity"], anna["identity"]) == (
        "anna", "seen", 1.0, one["identity"],
    )  # fmt: skip
    assert (anna["mask"], anna["parts"], anna["box"]) == (one["mask"], one["parts"], one["box"])
    assert ben["mask"] == other["mask"]


def test_lines_hold_the_same_frames_as_the_document(
    server: Running, figures: Path, people: list[dict[str, Any]]
) -> None:
    target = f"anna@0.2:{','.join(map(str, people[0]['box']))}"
    whole = followed(follow(server, figures.read_bytes(), target))
    lines = follow(server, figures.read_bytes(), target, accept="application/x-ndjson")
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()] == whole["frames"]


def test_the_client_follows_an_identity_of_earlier_results(
    server: Running, figures: Path, people: list[dict[str, Any]]
) -> None:
    with Client(server.url) as client:
        found = client.follow(figures, [f"anna@0.2:#{people[0]['identity']}"], max_frames=8)
        assert found.size == SIZE
        assert len(found.frames) == 8
        target = found.frames[5].target("anna")
        assert target.status is Status.SEEN
        assert target.person is not None
        np.testing.assert_array_equal(target.person.mask, mask_of(people[0]))
        with pytest.raises(KeyError):
            found.frames[5].target("ben")
        with pytest.raises(RejectedError, match="nobody is at 1,1"):
            client.follow(figures, ["anna@0.2:1,1"])


def test_the_command_writes_lines_and_masks_as_davis_has_them(
    figures: Path, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    mask = tmp_path / "mask.png"
    Image.fromarray(mask_of(people[1]).astype(np.uint8) * 255).save(mask)
    arguments = ["follow", figures, "-o", tmp_path / "out", "--davis", "--max-frames", "8"]
    arguments += ["--person", f"anna@0.2:{inside(people[0])}", "--person", f"ben@0.2:{mask}"]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "anna: seen in 8 frames" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "follow.ndjson",
        "masks",
        "names.txt",
    ]
    assert (tmp_path / "out" / "names.txt").read_text() == "1 anna\n2 ben\n"
    lines = [json.loads(line) for line in (tmp_path / "out" / "follow.ndjson").read_text().splitlines()]
    with Image.open(tmp_path / "out" / "masks" / "00005.png") as opened:
        labels = np.asarray(opened)
    assert labels.shape == SIZE
    for number, target in enumerate(lines[5]["targets"], start=1):
        np.testing.assert_array_equal(labels == number, mask_of(target))


@pytest.mark.parametrize(
    ("persons", "said"),
    [
        ([], "name at least one person"),
        (["anna"], "is not written as NAME@SECONDS:X,Y"),
        (["@1:2,3"], "is not written as"),
        (["anna@one:2,3"], "'one' is no time in seconds"),
        (["anna@-1:2,3"], "'-1' is no time in seconds"),
        (["anna@nan:2,3"], "'nan' is no time in seconds"),
        (["anna@0:2"], "is not written as"),
        (["anna@0:2,x"], "is not written as"),
        (["anna@0:inf,2"], "is not written as"),
        (["anna@0:9,9,3,12"], "a box is left, top, right, bottom"),
        (["anna@0:#0"], "identities are whole numbers from 1"),
        (["anna@0:mask.png"], "is not written as"),
        (["anna@0.2:5000,3"], "5000,3 is outside the 640x360 picture"),
        (["anna@0.2:1,1"], "nobody is at 1,1; people there: "),
        (["anna@0.2:0,0,9,9"], "no person fits the box; people there: "),
        (["anna@0.2:#77"], "identity 77 is not seen; people there: "),
        (["anna@60:100,100"], "anna is named at 60 s, the last frame is at"),
        ([f"anna@{time}:1,1" for time in range(MAX_SIGHTS + 1)], f"at most {MAX_SIGHTS} sights"),
        ([f"a{number}@0:1,1" for number in range(MAX_TARGETS + 1)], f"at most {MAX_TARGETS} people"),
    ],
)
def test_targets_that_mean_nobody_are_refused_in_words(
    server: Running, figures: Path, persons: list[str], said: str
) -> None:
    answer = follow(server, figures.read_bytes(), *persons)
    assert said in problem(answer, "bad_option")["detail"]
    server.check_unharmed()


def test_two_names_for_one_person_are_refused(
    server: Running, figures: Path, people: list[dict[str, Any]]
) -> None:
    where = inside(people[0])
    answer = follow(server, figures.read_bytes(), f"anna@0.2:{where}", f"ben@0.2:{where}")
    assert "anna and ben are the same person in frame 5" in problem(answer, "bad_option")["detail"]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"people": "1"}, "a follow looks at everybody"), ({"masks": "none"}, "a follow needs run lengths")],
)
def test_options_that_leave_nobody_to_follow_are_refused(
    server: Running, figures: Path, options: dict[str, str], said: str
) -> None:
    answer = follow(server, figures.read_bytes(), "anna@0:1,1", **options)
    assert said in problem(answer, "bad_option")["detail"]


def test_what_is_no_video_is_refused_as_a_parse_refuses_it(server: Running) -> None:
    problem(follow(server, b"no video at all", "anna@0:1,1"), "not_a_video")
    problem(follow(server, b"", "anna@0:1,1"), "empty_upload")
    server.check_unharmed()


def test_the_frame_nearest_to_a_time_is_meant() -> None:
    resolver = SightResolver(read_sights(["anna@0.13:12,8", "ben@0.17:12,8", "carl@0.34:12,8"]))
    for index in range(4):
        resolver.observe(frame_at(index, person_at(index + 1, 10)))
    found = resolver.finish()
    assert found == {
        "anna": [GivenSight(1, 2)],
        "ben": [GivenSight(2, 3)],
        "carl": [GivenSight(3, 4)],
    }


def test_a_box_and_a_mask_mean_the_person_whom_they_cover_most(tmp_path: Path) -> None:
    frame = frame_at(0, person_at(1, 4), person_at(2, 12))
    Image.fromarray(decode(person_at(2, 13).mask).astype(np.uint8)).save(tmp_path / "mask.png")  # type: ignore[arg-type]
    sights = read_sights(["anna@0:5,5,11,15", f"ben@0:{tmp_path / 'mask.png'}"], mask_files=True)
    resolver = SightResolver(sights)
    resolver.observe(frame)
    assert resolver.finish() == {"anna": [GivenSight(0, 1)], "ben": [GivenSight(0, 2)]}


def test_a_mask_of_another_size_and_one_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((20, 30), np.uint8)).save(tmp_path / "other.png")
    Image.fromarray(np.zeros((20, 40), np.uint8)).save(tmp_path / "empty.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    resolver = SightResolver(read_sights([f"anna@0:{tmp_path / 'other.png'}"], mask_files=True))
    with pytest.raises(OptionError, match="the mask is 30x20, the picture 40x20"):
        resolver.observe(frame_at(0, person_at(1, 4)))
    for name, said in (
        ("empty", "is empty"),
        ("broken", "no picture that can be read"),
        ("none", "no picture"),
    ):
        with pytest.raises(OptionError, match=said):
            read_sights([f"anna@0:{tmp_path / name}.png"], mask_files=True)


def test_a_source_without_frames_is_said() -> None:
    with pytest.raises(OptionError, match="no frame of the source was parsed"):
        SightResolver(read_sights(["anna@0:1,1"])).finish()
