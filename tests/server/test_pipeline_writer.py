"""The overlay video has the frames, times and size of its source, and plays everywhere."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from partstream_core.joints import JOINTS, SURE
from partstream_core.results import FrameResult, JointResult, PersonResult
from partstream_server.media.video_spec import VideoSpec
from partstream_server.media.video_writer import VideoWriter
from partstream_server.offline.overlay import USUAL_LAYERS, draw, identity_colour
from partstream_server.pipeline.values import LabelMaps
from tests.server import media_fixtures as media


def write(path: Path, times: list[float], last_s: float = 0.04, *, width: int = 64, height: int = 48) -> None:
    with VideoWriter(path, VideoSpec(width=width, height=height, frame_rate=25)) as writer:
        for number, time_s in enumerate(times):
            image = media.picture(width=width, height=height, shade=number)
            writer.write(image, time_s=time_s, duration_s=last_s)


@pytest.mark.parametrize(
    "times",
    [
        [0.0, 0.04, 0.08, 0.12],
        [0.0, 0.01, 0.5, 0.51, 2.0],
        [5.0, 5.5, 5.6],
        [0.25],
    ],
    ids=["constant", "variable", "starting late", "one frame"],
)
def test_every_frame_is_shown_when_and_as_long_as_in_the_source(tmp_path: Path, times: list[float]) -> None:
    path = tmp_path / "overlay.mp4"
    write(path, times, last_s=0.3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.duration is not None
        assert stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(
            times[-1] + 0.3 - times[0], abs=1e-4
        )
    assert [frame.time for frame in frames] == pytest.approx(
        [time_s - times[0] for time_s in times], abs=1e-4
    )


def test_times_that_stand_still_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    write(path, [0.0, 0.0, 0.0, 0.04])
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) == 4
    assert times == sorted(set(times))


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 49), (1, 1), (2, 2), (301, 3), (48, 201)])
def test_odd_sides_gain_a_line_and_lose_nothing(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "overlay.mp4"
    write(path, [0.0, 0.04], width=width, height=height)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == (width + width % 2, height + height % 2)
        image = frame.to_ndarray(format="rgb24")[:height, :width]
    if min(width, height) > 16:
        assert np.abs(image.astype(int) - media.picture(width=width, height=height)).mean() < 10


def test_colours_survive(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    flat = np.zeros((48, 64, 3), np.uint8)
    flat[:] = (210, 40, 90)
    with VideoWriter(path, VideoSpec(width=64, height=48, frame_rate=25)) as writer:
        writer.write(flat, time_s=0)
    with av.open(str(path)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(image.astype(int) - flat).max() < 8


def test_players_find_the_index_before_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    write(path, [index / 25 for index in range(10)])
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "overlay.mp4", VideoSpec(width=64, height=48, frame_rate=25)) as writer:
        writer.write(media.picture(), time_s=0)
        with pytest.raises(ValueError, match="65x48, the video 64x48"):
            writer.write(media.picture(width=65), time_s=1)


def person(identity: int, box: tuple[float, float, float, float]) -> PersonResult:
    return PersonResult(identity, 0.9, box, None, ())


def test_people_are_outlined_parts_coloured_and_everything_else_is_left_alone() -> None:
    image = np.full((300, 400, 3), 120, np.uint8)
    person_WH = np.zeros((400, 300), np.uint8)
    person_WH[150:250, 100:250] = 1
    part_WH = np.zeros_like(person_WH)
    part_WH[160:240, 110:180] = 5
    result = FrameResult(0, 0.0, True, (person(3, (150, 100, 250, 250)),))
    drawn = draw(image, result.people, LabelMaps(person_WH.T, part_WH.T))
    assert (image == 120).all(), "the frame itself is not drawn on"
    assert (drawn[150, 200] != 120).any(), "a part is coloured"
    assert (drawn[220, 200] == 120).all(), "a person without a part is not"
    assert (drawn[10:60, 10:140] == 120).all()
    assert np.abs(drawn[249, 200].astype(int) - identity_colour(3)).max() < 40, (
        "the outline has the identity's colour"
    )
    assert (drawn[80:98, 152:165] != 120).any(), "the identity stands on top of the person"


def test_a_skeleton_joins_the_joints_that_are_visible() -> None:
    image = np.full((300, 400, 3), 120, np.uint8)
    places = {"left_hip": (100, 200), "left_knee": (100, 260), "left_ankle": (100, 295), "nose": (-900, 20)}
    scores = {"left_hip": 0.9, "left_knee": SURE, "nose": 0.9}
    joints = tuple(
        JointResult(name, *places.get(name, (350, 50)), scores.get(name, SURE - 0.01)) for name in JOINTS
    )
    people = [replace(person(3, (90, 190, 110, 299)), joints=joints)]
    maps = LabelMaps(np.zeros((400, 300), np.uint8).T, np.zeros((400, 300), np.uint8).T)
    plain, drawn = (
        draw(image, people, maps, layers=layers) for layers in (USUAL_LAYERS, USUAL_LAYERS | {"joints"})
    )
    np.testing.assert_array_equal(drawn[230, 100], identity_colour(3))
    np.testing.assert_array_equal(drawn[200, 100], [255, 255, 255])
    np.testing.assert_array_equal(drawn[280, 90:110], plain[280, 90:110], "the ankle is hidden")
    np.testing.assert_array_equal(drawn[30:70, 330:370], plain[30:70, 330:370])
    assert (
        draw(image, [person(3, (90, 190, 110, 299))], maps, layers=frozenset({"joints"})).shape == image.shape
    )


def test_labels_stay_inside_the_frame_and_tiny_frames_can_be_drawn_on() -> None:
    for width, height in ((1, 1), (7, 5), (400, 20)):
        person_WH = np.ones((width, height), np.uint8)
        maps = LabelMaps(person_WH.T, person_WH.T)
        drawn = draw(np.zeros((height, width, 3), np.uint8), [person(12, (0, 0, width, height))], maps)
        assert drawn.shape == (height, width, 3)


@pytest.mark.parametrize("aspect", [0.5, 16 / 11, 2.0])
def test_a_label_has_its_shape_where_pixels_are_not_square(aspect: float) -> None:
    def shape(pixel_aspect: float) -> float:
        empty = np.zeros((200, 300), np.uint8)
        people = [person(12, (100, 100, 200, 190))]
        maps = LabelMaps(empty, empty)
        layers = frozenset({"labels"})
        drawn = draw(
            np.zeros((200, 300, 3), np.uint8), people, maps, layers=layers, pixel_aspect=pixel_aspect
        )
        rows, columns = np.nonzero(drawn.max(axis=2))
        return float(np.ptp(columns) + 1) * pixel_aspect / float(np.ptp(rows) + 1)

    assert shape(aspect) == pytest.approx(shape(1.0), rel=0.06)


def test_identities_near_in_number_differ_in_colour() -> None:
    colours = np.array([identity_colour(identity) for identity in range(1, 9)], int)
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2)
    assert distances[~np.eye(8, dtype=bool)].min() > 60
