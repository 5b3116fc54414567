"""The live network over time: its flow, its encoder of key frames, and the tasks that train them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from partstream_models.data.batches import CacheStatistics, cache_statistics
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.key_frames import VideoBatches, VideoConfig
from partstream_models.data.clips.unlabelled import VideoFrames, read_unlabelled
from partstream_models.data.initial_flow import QUICK, SERVED, dis_guess
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.networks.checkpoints import load_tensors
from partstream_models.networks.conv_gru import ConvGRUCell
from partstream_models.networks.flow_field import FlowField
from partstream_models.networks.light_flow import (
    LightFlow,
    _gradient_products,
    lucas_kanade,
    neighbourhood,
)
from partstream_models.networks.live import LiveNetwork
from partstream_models.networks.warp import warp
from partstream_models.training.flow_pairs import FlowPairsConfig, draw_pairs, flow_terms
from partstream_models.training.live_loop import RunOptions, train
from partstream_models.training.live_recipes import Recipe, Subject
from partstream_models.training.live_video import run_video
from partstream_server.pipeline.initial_flow import dis_flow as served_flow
from partstream_server.pipeline.initial_flow import dis_guess as served_guess

VIDEO = VideoConfig(num_keys=2, max_clips=2, sizes=((64, 96),), clip=ClipConfig(max_people=2, cut_share=0.0))
FLOW = FlowPairsConfig(
    sizes=((64, 96),), pixels=4 * 64 * 96, clip=ClipConfig(num_frames=4, max_people=2), gaps=(1, 2, 3)
)


def textured(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    noise = np.random.default_rng(5).normal(size=(height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 5)
    return np.asarray(np.clip(128 + 60 * smooth / smooth.std(), 0, 255), np.uint8)


def test_an_anchored_state_stays_within_its_inputs_over_two_thousand_steps() -> None:
    torch.manual_seed(3)
    cell = ConvGRUCell(in_channels=6, state_channels=6, separable=True, anchored=True)
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=2.0)
    state = torch.rand(1, 6, 4, 5) * 3
    with torch.no_grad():
        for _ in range(2000):
            state = cell(torch.rand(1, 6, 4, 5) * 3, state)
    assert torch.isfinite(state).all()
    assert state.abs().max() <= 4.0


def test_before_training_an_anchored_state_is_mostly_its_input() -> None:
    cell = ConvGRUCell(in_channels=6, state_channels=6, separable=True, anchored=True)
    x, state = torch.rand(1, 6, 4, 5), torch.rand(1, 6, 4, 5)
    with torch.no_grad():
        share = ((cell(x, state) - state) / (x - state)).median()
    assert 0.8 < share < 0.95


def test_an_anchored_cell_refuses_input_of_other_channels_than_its_state() -> None:
    with pytest.raises(ValueError, match="8 channels cannot take 6"):
        ConvGRUCell(in_channels=6, state_channels=8, anchored=True)


@pytest.mark.parametrize("way", [(0.6, -0.3), (-0.4, 0.5)])
def test_the_equations_find_a_small_shift(way: tuple[float, float]) -> None:
    picture = torch.from_numpy(textured(96, 128)).permute(2, 0, 1)[None].float() / 127.5 - 1
    flow = torch.tensor(way)[None, :, None, None].expand(1, 2, 96, 128)
    shown = warp(picture, -flow, outside="border").mean(dim=1, keepdim=True)
    products = _gradient_products(picture.mean(dim=1, keepdim=True), shown)
    found = lucas_kanade(torch.nn.functional.avg_pool2d(products, 7, 1, 3))[..., 6:-6, 6:-6]
    assert found[0, 0].median() == pytest.approx(way[0], abs=0.1)
    assert found[0, 1].median() == pytest.approx(way[1], abs=0.1)


def test_where_there_is_no_texture_the_equations_say_nothing() -> None:
    flat = torch.full((1, 1, 32, 32), 0.3)
    assert lucas_kanade(_gradient_products(flat, flat)).abs().max() == 0


def test_neighbours_are_the_field_moved_and_its_border_goes_on() -> None:
    field = torch.randn(1, 2, 6, 8)
    itself, *others = neighbourhood(field)
    assert torch.equal(itself, field)
    assert len(others) == 16
    assert torch.equal(others[0][..., 1:, 1:], field[..., :-1, :-1])
    assert torch.equal(others[0][..., 0, 0], field[..., 0, 0])
    assert torch.equal(others[-1][..., :-3, :-3], field[..., 3:, 3:])


def taking_the_guess(network: LightFlow) -> LightFlow:
    """The network with weights that choose the guess everywhere and correct nothing."""
    for module in (network.choose, network.correct):
        assert module.bias is not None
        torch.nn.init.zeros_(module.weight)
        torch.nn.init.zeros_(module.bias)
    assert network.choose.bias is not None
    with torch.no_grad():
        network.choose.bias[0] = 60.0
    return network


def test_a_guess_that_is_chosen_passes_through() -> None:
    network = taking_the_guess(LightFlow())
    guess = torch.randn(1, 2, 16, 24)
    with torch.no_grad():
        field = network(torch.rand(1, 3, 64, 96), torch.rand(1, 3, 64, 96), guess)
    assert torch.allclose(field.flow_B2HW, torch.nn.functional.avg_pool2d(guess, 2), atol=1e-4)


def test_an_answer_that_is_far_off_gives_way_to_the_guess_and_a_good_one_does_not() -> None:
    """The answer is always the guess moved by a pixel of the map: wrong, then right."""
    network = taking_the_guess(LightFlow())
    assert network.correct.bias is not None
    with torch.no_grad():
        network.correct.bias[0] = 1.0
        picture = torch.from_numpy(textured(128, 192)).permute(2, 0, 1)[None].float() / 127.5 - 1
        moved = torch.roll(picture, -8, dims=3)  # every pixel of it lies a cell further right in the picture
        right = torch.zeros(1, 2, 32, 48)
        right[:, 0] = 1.0
        inside = (..., slice(2, -2), slice(2, -4))
        for guess, wanted in ((right, right), (torch.zeros_like(right), right)):
            field = network(moved, picture, guess)
            expected = torch.nn.functional.avg_pool2d(wanted, 2)
            assert (field.flow_B2HW - expected)[inside].abs().mean() < 0.05
            assert torch.allclose(
                field.pyramid[0], torch.nn.functional.avg_pool2d(guess, 2) + right[..., :1, :1]
            )


def test_the_guess_of_a_shift_is_in_pixels_of_the_feature_map() -> None:
    picture = textured(256, 256)
    for config in (SERVED, QUICK):
        guess = dis_guess(np.roll(picture, (-8, 16), axis=(0, 1)), picture, config)
        assert guess.shape == (2, 64, 64)
        assert np.median(guess[0]) == pytest.approx(-2.0, abs=0.1)
        assert np.median(guess[1]) == pytest.approx(1.0, abs=0.1)


def test_training_and_serving_guess_alike() -> None:
    picture = textured(128, 192)
    moved = np.roll(picture, (2, 3), axis=(0, 1))
    greys = [
        cv2.cvtColor(cv2.resize(image, (96, 64), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        for image in (moved, picture)
    ]
    current, reference = (np.asarray(grey, np.uint8) for grey in greys)
    assert np.array_equal(dis_guess(moved, picture), served_guess(current, reference, stride=8))
    quick = dis_guess(moved, picture, QUICK).reshape(2, 16, 2, 24, 2).mean(axis=(2, 4))
    assert np.allclose(quick, served_flow(current, reference, stride=8), atol=1e-5)


def test_flow_of_drawn_pairs_maps_the_reference_onto_the_current_frame(photos: PhotoCache) -> None:
    config = replace(FLOW, tinted_share=0.0, sizes=((128, 128),), pixels=8 * 128 * 128)
    pairs = draw_pairs(photos, config, seed=3, step=1)
    seen = pairs.visible_BHW[:, None].expand(-1, 3, -1, -1)
    unmoved = (pairs.reference_B3HW - pairs.current_B3HW).abs()
    moved = (warp(pairs.reference_B3HW, pairs.flow_B2HW) - pairs.current_B3HW).abs()
    telling = seen & (unmoved > 0.3)
    assert telling.sum() > 100
    assert moved[telling].mean() < 0.5 * unmoved[telling].mean()


def moving_clip() -> VideoFrames:
    """A texture that moves two pixels to the right and one up a frame."""
    picture = textured(96, 128)
    return VideoFrames("moving", np.stack([np.roll(picture, (-t, 2 * t), axis=(0, 1)) for t in range(6)]))


def test_every_so_often_pairs_are_real_and_nobody_knows_their_flow(photos: PhotoCache) -> None:
    real = draw_pairs(photos, FLOW, seed=3, step=8, unlabelled=[moving_clip()])
    assert not real.visible_BHW.any()
    assert real.alike_B.all()
    assert real.current_B3HW.shape == (4, 3, 64, 96)
    again = draw_pairs(photos, FLOW, seed=3, step=8, unlabelled=[moving_clip()])
    assert torch.equal(real.reference_B3HW, again.reference_B3HW)
    drawn = draw_pairs(photos, FLOW, seed=3, step=7, unlabelled=[moving_clip()])
    assert drawn.visible_BHW.any()
    assert draw_pairs(photos, FLOW, seed=3, step=8).visible_BHW.any()


def test_the_light_of_real_pairs_asks_for_their_motion(photos: PhotoCache) -> None:
    pairs = draw_pairs(photos, FLOW, seed=3, step=8, unlabelled=[moving_clip()])
    zeros, guess = torch.zeros(4, 2, 8, 12), torch.nn.functional.avg_pool2d(pairs.guess_B2QR, 2)
    still, guessed = FlowField(zeros, None, (zeros,)), FlowField(guess, None, (guess,))
    assert flow_terms(guessed, pairs)["light"] < 0.5 * flow_terms(still, pairs)["light"]
    assert flow_terms(still, pairs)["flow"] == 0


def test_the_right_flow_is_better_than_none(photos: PhotoCache) -> None:
    pairs = draw_pairs(photos, replace(FLOW, tinted_share=0.0), seed=3, step=1)
    visible = pairs.visible_BHW[:, None].float()
    pool = torch.nn.functional.avg_pool2d
    truth = pool(pairs.flow_B2HW * visible, 8) / pool(visible, 8).clamp(min=0.5) / 8
    right = flow_terms(FlowField(truth, None, (truth,)), pairs)
    zeros = torch.zeros_like(truth)
    wrong = flow_terms(FlowField(zeros, None, (zeros,)), pairs)
    assert right["flow"] == pytest.approx((0.02 + 1e-6**0.5 * 8) ** 0.5, abs=1e-3)
    assert wrong["flow"] > right["flow"]
    assert wrong["light"] > right["light"]


def test_pairs_that_no_clip_has_are_refused() -> None:
    with pytest.raises(ValueError, match="4 frames have no pairs"):
        replace(FLOW, gaps=(4,))


def test_unlabelled_clips_are_read_from_a_folder_and_bad_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no clips"):
        read_unlabelled(tmp_path)
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (1440, 720))
    for _ in range(3):
        writer.write(textured(720, 1440))
    writer.release()
    (tmp_path / "notes.txt").write_text("not a clip")
    (clip,) = read_unlabelled(tmp_path)
    assert clip.name == "a.avi"
    assert clip.images_THWC.shape == (3, 360, 720, 3)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"b\.mp4 has 0 frames"):
        read_unlabelled(tmp_path)


def test_batches_of_clips_depend_on_seed_and_number_alone(photos: PhotoCache) -> None:
    first, again, other = (VideoBatches(photos, VIDEO, seed=seed).draw(7) for seed in (1, 1, 2))
    assert torch.equal(first.images_BTHWC, again.images_BTHWC)
    assert torch.equal(first.guesses_BT2QR, again.guesses_BT2QR)
    assert not torch.equal(first.images_BTHWC, other.images_BTHWC)
    assert first.images_BTHWC.shape == (2, 3, 64, 96, 3)
    assert first.truth.images_BHWC.shape == (4, 64, 96, 3)


def test_the_truth_is_that_of_the_last_key_frames_and_the_targets(photos: PhotoCache) -> None:
    batch = VideoBatches(photos, VIDEO, seed=1).draw(3)
    keys, targets = batch.truth.images_BHWC.chunk(2)
    assert torch.equal(keys, batch.images_BTHWC[:, -2])
    assert torch.equal(targets, batch.images_BTHWC[:, -1])


def test_a_still_target_borrows_the_encoded_feature_of_the_key_frame() -> None:
    torch.manual_seed(1)
    network = LiveNetwork(temporal=True).eval()
    images = torch.rand(1, 3, 3, 64, 64)
    images[:, 2] = images[:, 1]
    assert network.temporal is not None
    taking_the_guess(network.temporal.flow)
    with torch.no_grad():
        outputs = run_video(network, images, torch.zeros(1, 2, 2, 16, 16), frozen=True)
    key, target = outputs.dense.part_logits.chunk(2)
    assert torch.allclose(key, target, atol=1e-4)


@pytest.fixture(scope="module")
def statistics(photos: PhotoCache, tmp_path_factory: pytest.TempPathFactory) -> CacheStatistics:
    return cache_statistics(photos, tmp_path_factory.mktemp("counts"))


@pytest.fixture(scope="module")
def changed(photos: PhotoCache, statistics: CacheStatistics) -> Callable[[Path, Recipe], set[str]]:
    """Names of the tensors that two steps of a recipe change."""

    def run(folder: Path, recipe: Recipe) -> set[str]:
        torch.manual_seed(recipe.seed)
        before = {name: value.clone() for name, value in LiveNetwork(temporal=True).state_dict().items()}
        train(recipe, photos, statistics, RunOptions(output_dir=folder, num_threads=1, num_workers=0))
        tensors, _ = load_tensors(folder / "state.safetensors")
        after = {n.removeprefix("network."): t for n, t in tensors.items() if n.startswith("network.")}
        assert all(torch.isfinite(value).all() for value in after.values() if value.is_floating_point())
        return {name for name, value in after.items() if not _equal(value, before[name])}

    return run


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b)


def test_the_flow_task_changes_the_flow_network_alone(
    changed: Callable[[Path, Recipe], set[str]], tmp_path: Path
) -> None:
    names = changed(tmp_path, Recipe(name="f", num_steps=2, warmup_steps=1, subject=Subject.FLOW, flow=FLOW))
    assert "temporal.flow.fine.0.weight" in names
    assert all(name.startswith("temporal.flow.") and ".scale." not in name for name in names)


def test_the_temporal_task_leaves_backbone_and_heads(
    changed: Callable[[Path, Recipe], set[str]], tmp_path: Path
) -> None:
    recipe = Recipe(
        name="t", num_steps=2, warmup_steps=1, subject=Subject.VIDEO, temporal_only=True, video=VIDEO
    )
    names = changed(tmp_path, recipe)
    assert {"temporal.flow.scale.weight", "temporal.encoder.from_input.1.weight"} <= names
    assert all(name.startswith(("temporal.flow.scale.", "temporal.encoder.")) for name in names)


def test_the_video_task_changes_all_of_it(
    changed: Callable[[Path, Recipe], set[str]], tmp_path: Path
) -> None:
    names = changed(
        tmp_path, Recipe(name="v", num_steps=2, warmup_steps=1, subject=Subject.VIDEO, video=VIDEO)
    )
    for part in ("backbone.refine8.", "heads.parsing.", "temporal.flow.", "temporal.encoder."):
        assert any(name.startswith(part) for name in names)
