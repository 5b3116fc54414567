"""Real videos and animated GIFs through the parser to their last frame; they contain people.

`tests/e2e/test_real_clips.py` checks identities and parts, on a clip that takes long to parse.
"""

from pathlib import Path

import pytest

from partstream_server.engine import Engine, create_engine
from partstream_server.offline.parser import MediaParser, parse_media
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.pipeline.parse_options import ParseOptions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine() -> Engine:
    return create_engine()


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
