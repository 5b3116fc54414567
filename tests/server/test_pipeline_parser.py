"""Media in, results out: ready ones at once, and nothing left running when the reader goes."""

import io
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from partstream_core.errors import NotAVideoError, OptionError, TooLongError
from partstream_core.results import frame_to_json
from partstream_core.schedule import FlowSource, ScheduleMode
from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.engine import Engine, create_engine
from partstream_server.media import MediaLimits
from partstream_server.offline.parser import MediaParser, parse_media
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.pipeline.parse_options import ParseOptions, model_info
from tests.server import media_fixtures as media


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "walkers.mp4"
    write_figures(path, width=320, height=180, num_frames=12)
    return path


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_every_frame_has_a_result_in_order(engine: Engine, clip: Path) -> None:
    with MediaParser(clip, engine) as parser:
        pictures = list(parser)
        assert parser.video.num_frames == 12
    assert [picture.frame.index for picture in pictures] == list(range(12))
    for picture in pictures:
        assert picture.result is not None
        assert picture.maps is not None
        assert picture.result.index == picture.frame.index
        assert picture.result.time_s == picture.frame.time_s
        assert picture.maps.part_HW.shape == picture.frame.image.shape[:2] == (180, 320)
        assert picture.maps.person_HW.max() == len(picture.result.people)
    assert any(picture.result and picture.result.people for picture in pictures)


def test_frames_to_draw_on_keep_their_pixels_within_a_limit(
    engine: Engine, clip: Path, tmp_path: Path
) -> None:
    options = ParseOptions(schedule=ScheduleMode.PAPER, interval=5)
    with MediaParser(clip, engine, options) as parser:
        assert all(picture.frame.image.any() for picture in parser)
    with MediaParser(clip, engine, options, with_pixels=False) as parser:
        assert not any(picture.frame.image.any() for picture in parser)
    large = tmp_path / "large.png"
    large.write_bytes(media.image(media.picture(width=4000, height=3000)))
    greedy = ParseOptions(schedule=ScheduleMode.PAPER, interval=100)
    with pytest.raises(OptionError, match=r"100 frames of 4000x3000 to draw on, 3433 MB, the limit is 1024"):
        MediaParser(large, engine, greedy)
    with MediaParser(large, engine, greedy, with_pixels=False) as parser:
        assert parser.video.width == 4000
    limits = MediaLimits(max_waiting_bytes=100 * 4000 * 3000 * 3)
    with MediaParser(large, engine, greedy, limits=limits) as parser:
        assert parser.video.width == 4000


def test_frames_that_are_passed_over_while_others_wait_count_against_the_limit(
    engine: Engine, clip: Path
) -> None:
    """Between two frames that are parsed, `every` leaves others to draw on, which wait with them."""
    frame_bytes = 320 * 180 * 3
    options = ParseOptions(schedule=ScheduleMode.PAPER, interval=3, every=4)
    limits = MediaLimits(max_waiting_bytes=10 * frame_bytes)
    with MediaParser(clip, engine, options, limits=limits) as parser:
        assert [picture.frame.index for picture in parser] == [0, 4, 8]
    with pytest.raises(OptionError, match="would hold 12 frames of 320x180"):
        MediaParser(clip, engine, options, limits=limits, with_skipped=True)
    shorter = options.model_copy(update={"max_frames": 10})
    with MediaParser(clip, engine, shorter, limits=limits, with_skipped=True) as parser:
        assert len(list(parser)) == 10


def test_the_model_is_named(engine: Engine) -> None:
    info = model_info(engine)
    assert (info.bundle, info.provider) == (engine.bundle.manifest.name, engine.provider)
    assert len(info.parts) == 19


def test_results_come_before_the_source_is_read_to_its_end(engine: Engine, clip: Path) -> None:
    with MediaParser(clip, engine) as parser:
        first = next(iter(parser))
        assert first.frame.index == 0
        assert parser.video.num_frames < 12, "only a few frames are decoded ahead"


@pytest.mark.parametrize(
    ("mode", "flow"),
    [
        (ScheduleMode.EVERY_FRAME, None),
        (ScheduleMode.CAUSAL, FlowSource.NETWORK),
        (ScheduleMode.CAUSAL, FlowSource.CODEC),
        (ScheduleMode.PAPER, FlowSource.DIS),
        (ScheduleMode.ADAPTIVE, FlowSource.DIS),
    ],
)
def test_stages_that_overlap_give_the_results_of_stages_that_do_not(
    mode: ScheduleMode, flow: FlowSource | None, clip: Path
) -> None:
    engine = create_engine(precision="f32", num_threads=1)
    options = ParseOptions(schedule=mode, interval=None if mode is ScheduleMode.EVERY_FRAME else 3, flow=flow)
    found = []
    for overlapped in (True, False):
        with MediaParser(clip, engine, options, overlapped=overlapped) as parser:
            found.append([frame_to_json(picture.result) for picture in parser if picture.result])
    engine.close()
    assert found[0] == found[1]
    keys = [frame["key_frame"] for frame in found[0]]
    assert len(keys) == 12
    assert all(keys) == (mode is ScheduleMode.EVERY_FRAME)


def test_frames_that_are_passed_over_stay_in_their_place_when_others_wait(clip: Path) -> None:
    engine = create_engine(num_threads=1)
    options = ParseOptions(every=2, schedule=ScheduleMode.PAPER, interval=3)
    with MediaParser(clip, engine, options, with_skipped=True) as parser:
        pictures = list(parser)
    engine.close()
    assert [picture.frame.index for picture in pictures] == list(range(12))
    assert [picture.result is None for picture in pictures] == [False, True] * 6


def test_leaving_early_ends_the_thread_and_closes_the_file(engine: Engine, clip: Path) -> None:
    file = io.BytesIO(clip.read_bytes())
    results = parse_media(file, engine)
    assert next(iter(results)).index == 0
    assert "partstream-decode" in threads()
    results.close()
    assert file.closed
    assert "partstream-decode" not in threads()


def test_a_source_that_cannot_be_read_fails_before_anything_starts(engine: Engine) -> None:
    with pytest.raises(NotAVideoError):
        MediaParser(io.BytesIO(b"a poem\n" * 99), engine)
    assert "partstream-decode" not in threads()


def test_a_failure_half_way_comes_after_the_results_before_it(engine: Engine) -> None:
    endless = media.clip(num_frames=12, form="mpegts")
    seen = []
    with pytest.raises(TooLongError):
        for result in parse_media(io.BytesIO(endless), engine, limits=MediaLimits(max_frames=4)):
            seen.append(result.index)  # noqa: PERF401 - what came before the error counts
    assert seen == [0, 1, 2, 3]
    assert "partstream-decode" not in threads()


def test_frames_that_are_passed_over_are_shown_only_if_asked_for(engine: Engine, clip: Path) -> None:
    options = ParseOptions(every=4, max_frames=10)
    assert [result.index for result in parse_media(clip, engine, options)] == [0, 4, 8]
    with MediaParser(clip, engine, options, with_skipped=True) as parser:
        pictures = list(parser)
        assert parser.video.num_frames == 10
    assert [picture.frame.index for picture in pictures] == list(range(10))
    assert [picture.frame.index for picture in pictures if picture.result is not None] == [0, 4, 8]


def test_a_still_image_and_a_folder_are_sources_too(engine: Engine, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(media.image(media.picture(shade=number)))
    assert [result.index for result in parse_media(tmp_path / "0.png", engine)] == [0]
    assert [result.index for result in parse_media(tmp_path, engine)] == [0, 1, 2]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (65, 49), (3, 400), (2000, 40)])
def test_any_size_goes_through(engine: Engine, width: int, height: int) -> None:
    image = media.image(media.picture(width=width, height=height))
    options = ParseOptions(score_threshold=0.0)
    with MediaParser(io.BytesIO(image), engine, options) as parser:
        (picture,) = list(parser)
    assert picture.result is not None
    for person in picture.result.people:
        left, top, right, bottom = person.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


@pytest.mark.parametrize(
    "wrong",
    [{"every": 0}, {"max_frames": 0}, {"score_threshold": 1.1}, {"masks": "bitmap"}, {"speed": 9}],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ParseOptions.model_validate(wrong)
    assert ParseOptions.model_validate({"masks": "polygons"}).masks is MaskForm.POLYGONS
