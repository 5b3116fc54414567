"""What goes into the network and what is taken from it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_core.manifest import InputSpec, Normalisation, TensorSpec
from partstream_server.engine.base import default_bundle_directory, load_bundle
from partstream_server.pipeline.inference import (
    InferConfig,
    candidates,
    instance_rows,
    network_size,
    shrink,
    to_tensor,
)

SPEC = InputSpec(longer_side=512, multiple=32)


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ((1280, 720), (512, 288)),
        ((720, 1280), (288, 512)),
        ((1920, 1080), (512, 288)),
        ((550, 825), (352, 512)),
        ((100, 100), (512, 512)),
        ((1, 1), (512, 512)),
        ((10_000, 1), (512, 32)),
    ],
)
def test_the_longer_side_and_the_orientation_of_the_source_are_kept(
    source: tuple[int, int], network: tuple[int, int]
) -> None:
    assert network_size(*source, SPEC) == network


@given(width=st.integers(1, 20_000), height=st.integers(1, 20_000))
def test_sides_are_multiples_within_half_a_step_of_the_shape(width: int, height: int) -> None:
    network_width, network_height = network_size(width, height, SPEC)
    assert max(network_width, network_height) == 512
    for side, exact in ((network_width, 512 * width), (network_height, 512 * height)):
        assert side % 32 == 0
        assert side == 32 or abs(side - exact / max(width, height)) <= 16


def test_pixels_are_normalised_in_the_order_of_colours_that_the_bundle_says() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    mean, std = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
    as_rgb = to_tensor(image, Normalisation(mean, std, "rgb"))
    as_bgr = to_tensor(image, Normalisation(mean, std, "bgr"))
    assert as_rgb.shape == (1, 3, 8, 6)
    assert np.allclose(as_rgb[0], ((image - np.array(mean)) / std).transpose(2, 0, 1), atol=1e-6)
    assert np.allclose(as_bgr[0], ((image[..., ::-1] - np.array(mean)) / std).transpose(2, 0, 1), atol=1e-6)


def test_shrinking_averages_what_it_leaves_out() -> None:
    """A fine checkerboard becomes grey, where sampling single pixels would make stripes."""
    board = (np.indices((720, 1280)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = shrink(np.dstack([board] * 3), width=512, height=288)
    assert small.shape == (288, 512, 3)
    assert np.abs(small.astype(int) - 127).max() <= 2


def test_shrinking_and_enlarging_keep_things_in_place() -> None:
    for width, height in ((2000, 1500), (1280, 720), (100, 75)):
        image = np.zeros((height, width, 3), np.uint8)
        image[: height // 2, : width // 2] = 200
        small = shrink(image, width=512, height=384)
        assert cv2.countNonZero((small[..., 0] > 100).astype(np.uint8)) == pytest.approx(256 * 192, rel=0.02)


def test_candidates_are_good_enough_and_not_doubles() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10], [80, 0, 90, 10]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.3], np.float32)
    config = InferConfig(score_threshold=0.4, nms_threshold=0.6, max_people=10)
    assert candidates(boxes, scores, config).tolist() == [0, 2]
    few = InferConfig(score_threshold=0.0, nms_threshold=0.6, max_people=2)
    assert candidates(boxes, scores, few).tolist() == [0, 2]


@given(num_kept=st.integers(1, 64))
def test_rows_are_gathered_by_name_and_padded_to_one_of_few_numbers(num_kept: int) -> None:
    known = {
        "feature": np.zeros((1, 8, 4, 4), np.float32),
        "mask_parameters": np.arange(64, dtype=np.float32)[None, :, None].repeat(169, axis=2),
        "locations": np.arange(64, dtype=np.float32)[None, :, None].repeat(3, axis=2),
        "scores": np.zeros((1, 64), np.float32),
    }
    inputs = (
        TensorSpec("feature", "float32", ("batch", 8, "height/8", "width/8")),
        TensorSpec("mask_parameters", "float32", ("rows", 169)),
        TensorSpec("locations", "float32", ("rows", 3)),
        TensorSpec("batch_index", "int64", ("rows",)),
    )
    shipped = load_bundle(default_bundle_directory()).manifest
    graphs = {**shipped.graphs, "instances": replace(shipped.graphs["instances"], inputs=inputs)}
    kept = np.arange(num_kept)[::-1].copy()
    rows = instance_rows(known, kept, replace(shipped, graphs=graphs))
    assert set(rows) == {spec.name for spec in inputs}
    assert rows["feature"] is known["feature"]
    assert len(rows["batch_index"]) in (8, 16, 32, 64)
    assert len(rows["batch_index"]) < 2 * max(8, num_kept)
    assert rows["mask_parameters"][:num_kept, 0].tolist() == kept.tolist()
    assert rows["locations"].shape == (len(rows["batch_index"]), 3)
