"""A camera that shakes: which frames it smears, how far, and what learns from them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import Clip, draw_clip
from partstream_models.data.clips.shake import Shake, shaken
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.readers.record import Frame, Recording
from partstream_models.training.aten_sources import ClipSource
from partstream_models.training.aten_task import SamplingConfig


def spot(size: int = 101) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A bright point in the dark."""
    image = np.zeros((size, size, 3), np.uint8)
    image[size // 2, size // 2] = 255
    return image


def test_a_point_becomes_a_line_of_the_length_that_was_drawn() -> None:
    shake = Shake(share=1, least=0.1, most=0.2)
    for seed in range(20):
        image = shake.of(spot(), np.random.default_rng(seed))
        rows, columns = np.nonzero(image[..., 0])
        length = np.hypot(np.ptp(rows), np.ptp(columns))
        assert 0.1 * 101 - 2 <= length <= 0.2 * 101 + 2
        assert abs(rows.mean() - 50) <= 1
        assert abs(columns.mean() - 50) <= 1


def test_as_many_frames_are_smeared_as_were_asked_for() -> None:
    rng, image = np.random.default_rng(5), spot(31)
    for share, least, most in ((0.0, 0, 0), (0.3, 60, 120), (1.0, 300, 300)):
        shake = Shake(share=share, least=0.2, most=0.3)
        smeared = sum(not np.array_equal(shake.of(image, rng), image) for _ in range(300))
        assert least <= smeared <= most


@pytest.mark.parametrize(
    "wrong", [{"share": 1.1}, {"share": -0.1}, {"least": 0.0}, {"least": 0.3, "most": 0.2}, {"most": 1.5}]
)
def test_what_no_camera_does_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no camera shakes"):
        Shake(**wrong)


def test_a_shaken_recording_is_the_same_each_time_and_keeps_its_truth() -> None:
    truth = np.zeros((31, 31), np.uint8)
    steady = Recording("clip", 40, tuple(range(40)), lambda _: Frame(spot(31), truth, truth))
    unsteady = shaken(steady, Shake(share=0.5, least=0.2, most=0.3), seed=1)
    images = [unsteady.frame(number).image_HWC for number in range(40)]
    smeared = [not np.array_equal(image, spot(31)) for image in images]
    assert 8 <= sum(smeared) <= 32
    assert all(np.array_equal(unsteady.frame(number).image_HWC, images[number]) for number in (3, 39, 0))
    assert unsteady.frame(7).parts_HW is truth
    other = shaken(replace(steady, name="another"), Shake(share=0.5, least=0.2, most=0.3), seed=1)
    assert any(not np.array_equal(other.frame(number).image_HWC, images[number]) for number in range(40))
    with pytest.raises(ValueError, match=r"frames 0\.\.39"):
        unsteady.frame(40)


def test_draws_show_shaken_frames_with_the_truth_of_the_steady_clip(photos: PhotoCache) -> None:
    def clip_of(number: int) -> Clip:
        config = ClipConfig(num_frames=9, empty_share=0.0, cut_share=0.0)
        return draw_clip(photos, seed=4, number=number, height=64, width=64, config=config)

    source = partial(ClipSource, clip_of, SamplingConfig(length=3, encoding_range=2), seed=2)
    steady, same, unsteady = source(), source(shake=Shake(share=0)), source(shake=Shake(share=1))
    for number in range(4):
        draws = [each.draw(number) for each in (steady, same, unsteady)]
        assert torch.equal(draws[0].key, draws[1].key)
        assert not torch.equal(draws[0].key, draws[2].key)
        assert all(
            not torch.equal(sharp, smeared)
            for sharp, smeared in zip(draws[0].neighbours, draws[2].neighbours, strict=True)
        )
        assert torch.equal(draws[0].truth.parts_HW, draws[2].truth.parts_HW)
