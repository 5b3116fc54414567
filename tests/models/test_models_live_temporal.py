"""The live network over time: its flow, its encoder of key frames, and the lessons that train them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from partstream_models.checkpoints import load_tensors
from partstream_models.data.batches import CacheStatistics, cache_statistics
from partstream_models.data.ccp_cache import PhotoCache
from partstream_models.data.clips_director import ClipConfig
from partstream_models.data.guess import DIS_PRESETS, dis_guess
from partstream_models.data.videos import VideoBatches, VideoConfig
from partstream_models.networks.conv_gru import ConvGRUCell
from partstream_models.networks.light_flow import LightFlow, match
from partstream_models.networks.live import LiveNetwork
from partstream_models.networks.warp import warp
from partstream_models.training.flow_pairs import FlowPairsConfig, draw_pairs
from partstream_models.training.loop import RunOptions, train
from partstream_models.training.recipes import Recipe, Subject
from partstream_models.training.video import run_video

VIDEO = VideoConfig(num_keys=2, max_clips=2, sizes=((64, 96),), clip=ClipConfig(max_people=2, cut_share=0.0))
FLOW = FlowPairsConfig(sizes=((64, 96),), pixels=4 * 64 * 96, clip=ClipConfig(num_frames=4, max_people=2))


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


def test_matching_finds_how_far_descriptors_moved() -> None:
    height, width = 6, 8
    key = torch.randn(1, 512, height, width, generator=torch.Generator().manual_seed(1)) * 2
    query = torch.roll(key, shifts=(-1, 2), dims=(2, 3))
    way, sureness = match(query, key, torch.tensor(0.0))
    assert torch.allclose(
        way[0, :, :-1, 2:], torch.tensor([-2.0, 1.0])[:, None, None].expand(2, 5, 6), atol=1e-3
    )
    assert sureness[..., :-1, 2:].min() > 0.99


def test_a_guess_that_is_trusted_passes_through() -> None:
    network = LightFlow()
    for module in network.predict:
        torch.nn.init.zeros_(module.weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(network.weigh.weight)
    torch.nn.init.constant_(network.weigh.bias, 60.0)  # type: ignore[arg-type]
    guess = torch.randn(1, 2, 8, 12)
    with torch.no_grad():
        field = network(torch.rand(1, 3, 64, 96), torch.rand(1, 3, 64, 96), guess)
    assert torch.allclose(field.flow_B2HW, guess, atol=1e-4)


def test_the_guess_of_a_shift_is_in_pixels_of_the_feature_map() -> None:
    picture = textured(256, 256)
    for preset in DIS_PRESETS:
        guess = dis_guess(np.roll(picture, (-8, 16), axis=(0, 1)), picture, preset=preset)
        assert np.median(guess[0]) == pytest.approx(-2.0, abs=0.1)
        assert np.median(guess[1]) == pytest.approx(1.0, abs=0.1)


def test_flow_of_drawn_pairs_maps_the_reference_onto_the_current_frame(photos: PhotoCache) -> None:
    config = replace(FLOW, colour_strength=0.0, sizes=((128, 128),), pixels=8 * 128 * 128)
    pairs = draw_pairs(photos, config, seed=3, step=1)
    seen = pairs.visible_BHW[:, None].expand(-1, 3, -1, -1)
    unmoved = (pairs.reference_B3HW - pairs.current_B3HW).abs()
    moved = (warp(pairs.reference_B3HW, pairs.flow_B2HW) - pairs.current_B3HW).abs()
    telling = seen & (unmoved > 0.3)
    assert telling.sum() > 100
    assert moved[telling].mean() < 0.5 * unmoved[telling].mean()


def test_batches_of_clips_depend_on_seed_and_number_alone(photos: PhotoCache) -> None:
    first, again, other = (VideoBatches(photos, VIDEO, seed=seed).draw(7) for seed in (1, 1, 2))
    assert torch.equal(first.images_BTHWC, again.images_BTHWC)
    assert torch.equal(first.guesses_BT2hw, again.guesses_BT2hw)
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
    with torch.no_grad():
        for module in network.temporal.flow.predict:
            module.weight.zero_()  # type: ignore[operator]
        bias = network.temporal.flow.weigh.bias
        assert bias is not None
        bias.fill_(60.0)
        outputs = run_video(network, images, torch.zeros(1, 2, 2, 8, 8), frozen=True)
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


def test_the_flow_lesson_changes_the_flow_network_alone(
    changed: Callable[[Path, Recipe], set[str]], tmp_path: Path
) -> None:
    names = changed(tmp_path, Recipe(name="f", num_steps=2, warmup_steps=1, subject=Subject.FLOW, flow=FLOW))
    assert "temporal.flow.fine.0.0.weight" in names
    assert all(name.startswith("temporal.flow.") and ".scale." not in name for name in names)


def test_the_temporal_lesson_leaves_backbone_and_heads(
    changed: Callable[[Path, Recipe], set[str]], tmp_path: Path
) -> None:
    recipe = Recipe(
        name="t", num_steps=2, warmup_steps=1, subject=Subject.VIDEO, temporal_only=True, video=VIDEO
    )
    names = changed(tmp_path, recipe)
    assert {"temporal.flow.scale.weight", "temporal.encoder.from_input.1.weight"} <= names
    assert all(name.startswith("temporal.") for name in names)


def test_the_video_lesson_changes_all_of_it(
    changed: Callable[[Path, Recipe], set[str]], tmp_path: Path
) -> None:
    names = changed(
        tmp_path, Recipe(name="v", num_steps=2, warmup_steps=1, subject=Subject.VIDEO, video=VIDEO)
    )
    for part in ("backbone.refine8.", "heads.parsing.", "temporal.flow.", "temporal.encoder."):
        assert any(name.startswith(part) for name in names)
