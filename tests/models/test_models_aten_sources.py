"""Training frames from data sets: which ones, how they are shown, and what is asked of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from partstream_core.labels import VOID
from partstream_models.data.clips.views import ViewConfig, draw_view
from partstream_models.data.prefetch import Ahead
from partstream_models.data.readers.formats import DataFormat, open_data
from partstream_models.data.readers.record import Frame, Recording
from partstream_models.training.aten_sources import RecordingSource, num_labelled, turn
from partstream_models.training.aten_task import SamplingConfig, as_input, frames_for, truth_of_maps
from tests.models.reader_trees import PANTS, draw_cihp, draw_davis, draw_vip

LEFT_ARM, RIGHT_ARM = 14, 15


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_given_target_lies_in_the_segment_of_its_key_frame(length: int) -> None:
    rng, config = np.random.default_rng(0), SamplingConfig(length=length, encoding_range=2)
    offsets = set()
    for _ in range(400):
        frames = frames_for(10, 21, config, rng)
        offsets.add(frames.target - frames.key)
        assert frames.target == 10
        assert frames.neighbours == (frames.key - 2 * length, frames.key - length)
    assert offsets == set(range(-(length // 2), length - length // 2))
    assert frames_for(0, 1, config, rng).key == 0


def test_every_labelled_frame_comes_once_an_epoch_in_another_order() -> None:
    def clip(name: str, *labelled: int) -> Recording:
        return Recording(name, 9, labelled, lambda _: Frame(np.zeros((32, 32, 3), np.uint8)))

    recordings = (clip("a", 0, 4), clip("b", 8), clip("c", 1, 2, 3))
    assert num_labelled(recordings) == 6
    epochs = [[turn(recordings, 1, 6 * epoch + place) for place in range(6)] for epoch in range(3)]
    names = [[f"{recording.name}{frame}" for recording, frame in epoch] for epoch in epochs]
    assert all(sorted(epoch) == ["a0", "a4", "b8", "c1", "c2", "c3"] for epoch in names)
    assert names[0] != names[1] or names[1] != names[2]


def half_and_half() -> Frame:
    """A person whose left arm is in the left half; flow to the right."""
    image = np.zeros((40, 80, 3), np.uint8)
    parts = np.full((40, 80), RIGHT_ARM, np.uint8)
    image[:, :40], parts[:, :40] = 200, LEFT_ARM
    flow = np.zeros((40, 80, 2), np.float32)
    flow[..., 0] = 5.0
    return Frame(image, parts, np.ones((40, 80), np.uint8), np.array([1]), flow)


def test_a_mirrored_view_trades_sides_and_turns_flow_around() -> None:
    frame, config = half_and_half(), ViewConfig(longer_side=160)
    views = [draw_view((40, 80), config, np.random.default_rng(seed)) for seed in range(8)]
    plain = next(view for view in views if not view.mirrored).of(frame)
    mirrored = next(view for view in views if view.mirrored).of(frame)
    assert plain.image_HWC.shape == mirrored.image_HWC.shape == (64, 160, 3)
    assert plain.parts_HW is not None
    assert mirrored.parts_HW is not None
    assert plain.flow_HW2 is not None
    assert mirrored.flow_HW2 is not None
    assert np.array_equal(plain.parts_HW, mirrored.parts_HW)  # its own left arm, now on the other side
    assert plain.image_HWC[0, 0, 0] == mirrored.image_HWC[0, -1, 0] == 200
    assert np.allclose(plain.flow_HW2, [10.0, 0.0])
    assert np.allclose(mirrored.flow_HW2, [-10.0, 0.0])


@pytest.mark.parametrize("size", [(40, 80), (300, 400), (64, 96)])
def test_crops_have_their_size_wherever_they_lie(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (*size, 3), np.uint8)
    for _ in range(5):
        view = draw_view(size, ViewConfig(crop=(64, 96), mirror=False), rng)
        shown = view.of(Frame(image)).image_HWC
        assert shown.shape == (64, 96, 3)
        if size == (300, 400):
            top, left, height, width = view.window
            assert np.array_equal(shown, image[top : top + height, left : left + width])


@pytest.mark.parametrize(
    ("bad", "told"),
    [({}, "needs longer_side or crop"), ({"longer_side": 8}, "longer_side"), ({"crop": (64, 50)}, "crops")],
)
def test_views_that_cannot_be_are_refused(bad: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ViewConfig(**bad)  # type: ignore[arg-type]


def source(folder: Path, data_format: DataFormat, *, two_classes: bool = False) -> RecordingSource:
    view = ViewConfig(longer_side=96)
    recordings = open_data(folder, data_format, "train")
    return RecordingSource(recordings, SamplingConfig(length=1, encoding_range=2), view, 1, two_classes)


def test_vip_s_labelled_frame_is_the_target_and_its_neighbours_are_frames_around(tmp_path: Path) -> None:
    drawing = source(draw_vip(tmp_path, annotations="."), DataFormat.VIP)
    draws = [drawing.draw(number) for number in range(8)]
    for draw in draws:
        assert draw.target is None  # in segments of one frame each is its own key frame
        assert len(draw.neighbours) == 2
        assert draw.key.shape == (1, 3, 64, 96)
        assert all(image.shape == draw.key.shape for image in draw.neighbours)
        assert draw.truth.parts_HW.shape == (64, 96)
        assert len(draw.truth.boxes_N4) == 2
        assert (draw.truth.parts_HW == PANTS).any()
    mirrored = {float(draw.truth.boxes_N4[0, 0]) for draw in draws}
    assert len(mirrored) == 2


def test_the_same_number_gives_the_same_draw(tmp_path: Path) -> None:
    drawing = source(draw_cihp(tmp_path), DataFormat.CIHP)
    for number in range(4):
        first, again = drawing.draw(number), drawing.draw(number)
        assert torch.equal(first.key, again.key)
        assert torch.equal(first.truth.parts_HW, again.truth.parts_HW)


def test_davis_asks_for_the_foreground(tmp_path: Path) -> None:
    drawing = source(draw_davis(tmp_path, year="2017"), DataFormat.DAVIS, two_classes=True)
    truth = drawing.draw(0).truth
    assert set(truth.parts_HW.flatten().tolist()) == {0, 1}
    assert (truth.parts_HW == 1).sum() == truth.masks_NHW.sum()


def test_frames_of_different_sizes_are_told(tmp_path: Path) -> None:
    def load(number: int) -> Frame:
        return Frame(np.zeros((32, 32 + number, 3), np.uint8))

    odd = Recording("odd", 3, (1,), load)
    drawing = RecordingSource((odd,), SamplingConfig(length=1), ViewConfig(longer_side=32))
    with pytest.raises(ValueError, match=r"frames of odd differ in size: \[\(32, 32\)"):
        drawing.draw(0)
    blank = Recording("blank", 1, (0,), lambda _: Frame(np.zeros((32, 32, 3), np.uint8)))
    drawing = RecordingSource((blank,), SamplingConfig(), ViewConfig(longer_side=32))
    with pytest.raises(ValueError, match="frame 0 of blank has no labels of people"):
        drawing.draw(0)


def test_parts_of_people_whose_parts_nobody_knows_are_void() -> None:
    instances = np.zeros((32, 32), np.uint8)
    instances[4:20, 4:20], instances[25:] = 1, VOID
    truth = truth_of_maps(None, instances)
    assert (truth.parts_HW[torch.from_numpy(instances > 0)] == VOID).all()
    assert (truth.parts_HW[torch.from_numpy(instances == 0)] == 0).all()
    two = truth_of_maps(None, instances, two_classes=True)
    assert (two.parts_HW[4:20, 4:20] == 1).all()
    assert (two.parts_HW[25:] == VOID).all()
    assert two.boxes_N4.tolist() == [[4, 4, 20, 20]]


def test_inputs_are_within_one() -> None:
    image: NDArray[np.uint8] = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    x = as_input(image)
    assert x.shape == (1, 3, 4, 4)
    assert x[0, 1, 2, 3] == pytest.approx(image[2, 3, 1] / 127.5 - 1)


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_draws_made_ahead_are_those_that_were_asked_for(num_threads: int) -> None:
    made: list[int] = []

    def draw(number: int) -> int:
        made.append(number)
        if number == 9:
            raise ValueError("nine is damaged")
        return number * number

    ahead = Ahead(draw, stride=3, num_threads=num_threads)
    assert [ahead.draw(number) for number in (0, 3, 6)] == [0, 9, 36]
    with pytest.raises(ValueError, match="nine is damaged"):
        ahead.draw(9)
    assert [ahead.draw(number) for number in (12, 15, 100)] == [144, 225, 10000]
    ahead.close()
    assert len(made) == len(set(made))
    assert len(made) <= 7 + 4 * num_threads
    with pytest.raises(ValueError, match="cannot draw ahead"):
        Ahead(draw, stride=0, num_threads=0)
