"""Real footage through the whole pipeline: who is found, as whom, and with which parts."""

from collections import Counter
from pathlib import Path

import pytest

from partstream_core.results import FrameResult
from partstream_server.engine import Engine, create_engine
from partstream_server.offline.parser import MediaParser, parse_media
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.pipeline.parse_options import ParseOptions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine() -> Engine:
    return create_engine()


def main_person(results: list[FrameResult]) -> tuple[int, int]:
    """The identity seen in most frames, and in how many."""
    seen = Counter(person.identity for result in results for person in result.people)
    return seen.most_common(1)[0]


def test_the_juggler_is_one_person_throughout_with_all_his_parts(engine: Engine, data_dir: Path) -> None:
    results = list(parse_media(data_dir / "videos" / "05_default_juggle.mp4", engine))
    assert len(results) == 247
    identity, num_frames = main_person(results)
    assert num_frames >= 0.95 * 247, "one identity in at least 95 % of the frames"
    others = [result for result in results if len(result.people) > 1]
    assert len(others) <= 0.1 * 247, "nobody else is in the clip"
    parts = Counter(
        part.part
        for result in results
        for person in result.people
        if person.identity == identity
        for part in person.parts
    )
    for group in (
        ["hair"],
        ["face"],
        ["upper-clothes"],
        ["pants"],
        ["left-arm", "right-arm"],
        ["left-shoe", "right-shoe"],
    ):
        assert max(parts[name] for name in group) > 247 / 2, f"{group} in most frames, got {parts}"


@pytest.mark.parametrize(
    ("name", "num_frames"),
    [("01_dog.mp4", 289), ("one-by-one-person-detection.mp4", 1394), ("bedroom.mp4", 200)],
)
def test_clips_run_to_their_end_and_people_are_in_them(
    engine: Engine, data_dir: Path, name: str, num_frames: int
) -> None:
    options = ParseOptions(every=4, masks=MaskForm.NONE)
    with MediaParser(data_dir / "videos" / name, engine, options) as parser:
        results = [picture.result for picture in parser if picture.result is not None]
        assert parser.video.num_frames == num_frames
        assert parser.video.num_damaged == 0
    assert len(results) == -(-num_frames // 4)
    assert sum(bool(result.people) for result in results) >= 0.4 * len(results)


@pytest.mark.parametrize(
    ("name", "num_frames"),
    [
        ("face-demographics-walking.gif", 35),
        ("store-aisle-detection.gif", 67),
        ("worker-zone-detection.gif", 71),
    ],
)
def test_animated_gifs_are_videos(engine: Engine, data_dir: Path, name: str, num_frames: int) -> None:
    results = list(parse_media(data_dir / "videos" / name, engine, ParseOptions(every=5)))
    assert len(results) == -(-num_frames // 5)
    assert any(result.people for result in results)
