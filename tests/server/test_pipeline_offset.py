"""No resize of the pipeline moves what it resizes: things at known places, to a fraction of a pixel.

Places are measured from the edge of the first pixel, whose middle is at 0.5. An error of half a cell would be
2 to 5 pixels of the frame.
"""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from partstream_core.manifest import InputSpec, Normalisation
from partstream_server.pipeline.assembly import assemble
from partstream_server.pipeline.flow_fields import between_sizes
from partstream_server.pipeline.host_flow import warp_on_host
from partstream_server.pipeline.inference import network_size, shrink, to_tensor
from partstream_server.pipeline.values import Inference

FloatArray = npt.NDArray[np.float64]
SIZES = ((1280, 720), (1281, 723), (854, 480), (550, 825), (1920, 1080), (480, 270), (3001, 1999))
MAP_STRIDE = 4
SPEC = InputSpec(longer_side=512, multiple=32)


def middles(length: int) -> FloatArray:
    """Places of the pixels of a row."""
    return np.arange(length, dtype=np.float64) + 0.5


def spot(width: int, height: int, x: float, y: float) -> npt.NDArray[np.uint8]:
    """A smooth bright spot on black, RGB."""
    spread = min(width, height) / 20
    across = np.exp(-(((middles(width) - x) / spread) ** 2) / 2)
    down = np.exp(-(((middles(height) - y) / spread) ** 2) / 2)
    grey = np.rint(255 * np.outer(down, across)).astype(np.uint8)
    return np.dstack([grey] * 3)


def centroid(values_HW: npt.NDArray[np.floating]) -> tuple[float, float]:
    """The middle of what is bright: x, y."""
    total = values_HW.sum()
    across, down = values_HW.sum(axis=0), values_HW.sum(axis=1)
    return float(across @ middles(len(across)) / total), float(down @ middles(len(down)) / total)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_and_what_the_network_reads_show_a_spot_at_one_place(width: int, height: int) -> None:
    network_width, network_height = network_size(width, height, SPEC)
    x, y = 0.37 * width, 0.58 * height
    small = shrink(spot(width, height, x, y), width=network_width, height=network_height)
    tensor_BCHW = to_tensor(small, Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "rgb"))
    found = centroid(tensor_BCHW[0, 0])
    expected = x * network_width / width, y * network_height / height
    assert found == pytest.approx(expected, abs=0.02)


def mask_map(width: int, height: int, box: tuple[float, float, float, float]) -> npt.NDArray[np.float32]:
    """What a network that knows a box exactly puts out: 0.5 at its edges, and ramps of two cells."""
    network = network_size(width, height, SPEC)
    columns, rows = (side // MAP_STRIDE for side in network)

    def ramp(cells: int, length: int, low: float, high: float) -> FloatArray:
        places, slope = middles(cells) * length / cells, cells / length / 2
        return np.clip(np.minimum(places - low, high - places) * slope + 0.5, 0, 1)

    left, top, right, bottom = box
    across, down = ramp(columns, width, left, right), ramp(rows, height, top, bottom)
    return np.minimum.outer(down, across).astype(np.float32)


def edges_of_assembly(
    width: int, height: int, box: tuple[float, float, float, float], *, with_parts: bool
) -> FloatArray:
    """Left, top, right, bottom of the person, and of the part where there is one."""
    mask_hw = mask_map(width, height, box)
    parts = [1 - mask_hw, mask_hw] if with_parts else [np.ones_like(mask_hw)]
    inference = Inference(
        boxes_N4=np.array([box], np.float32),
        scores_N=np.array([0.9], np.float32),
        embeddings_ND=None,
        masks_Nhw=mask_hw[None],
        part_probabilities_Phw=np.stack(parts).astype(np.float32),
    )
    maps = assemble(
        inference, width=width, height=height, part_labels=range(len(parts)), mask_threshold=0.5
    ).maps
    left, top, wide, high = cv2.boundingRect(np.ascontiguousarray(maps.person_HW))
    return np.array([left, top, left + wide, top + high], np.float64)


@pytest.mark.parametrize("with_parts", [False, True])
@pytest.mark.parametrize(("width", "height"), SIZES[:-1])
def test_masks_lie_where_the_network_put_them(width: int, height: int, with_parts: bool) -> None:
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(60):
        low, high = rng.uniform(0.1, 0.3, 2), rng.uniform(0.6, 0.9, 2)
        box = (low[0] * width, low[1] * height, high[0] * width, high[1] * height)
        found = edges_of_assembly(width, height, box, with_parts=with_parts)
        errors.append(found - np.array(box))
    assert np.abs(errors).max() < 1.01, "an edge is never more than a pixel away"
    moved = np.mean(errors, axis=0).reshape(2, 2).mean(axis=0)
    assert moved == pytest.approx([0, 0], abs=0.15), "and no more often on one side than on the other"


@pytest.mark.parametrize(("width", "height"), SIZES[:-1])
def test_a_mirrored_map_makes_a_mirrored_mask(width: int, height: int) -> None:
    rng = np.random.default_rng(1)
    apart = []
    for _ in range(60):
        low, high = rng.uniform(0.1, 0.3, 2), rng.uniform(0.6, 0.9, 2)
        box = (low[0] * width, low[1] * height, high[0] * width, high[1] * height)
        turned = (width - box[2], height - box[3], width - box[0], height - box[1])
        found, other = (edges_of_assembly(width, height, each, with_parts=True) for each in (box, turned))
        back = np.array([width - other[2], height - other[3], width - other[0], height - other[1]])
        apart.append((found - back).reshape(2, 2).mean(axis=0))
    network_pixel = max(width, height) / SPEC.longer_side
    assert np.abs(np.mean(apart, axis=0)).max() / 2 < 0.15 * network_pixel


@pytest.mark.parametrize("stride", [4, 8])
def test_a_feature_that_is_borrowed_without_motion_stays_in_place(stride: int) -> None:
    feature = np.random.default_rng(0).random((1, 3, 288 // stride, 512 // stride), np.float32)
    still = np.zeros((2, *feature.shape[-2:]), np.float32)
    assert np.array_equal(warp_on_host(feature, still), feature)


@pytest.mark.parametrize(("height", "width"), [(36, 64), (144, 256), (45, 80)])
def test_a_flow_of_another_size_changes_at_the_same_place(height: int, width: int) -> None:
    """A flow whose motion grows from left to right and downwards, read at the cells of another map."""
    rows, columns = 72, 128
    flow = np.stack(np.broadcast_arrays(middles(columns)[None] / columns, middles(rows)[:, None] / rows))
    resized = between_sizes(flow.astype(np.float32), height=height, width=width)
    inner = slice(2, -2)
    x_HW, y_HW = resized[0] * columns / width, resized[1] * rows / height
    assert x_HW[5, inner] == pytest.approx(middles(width)[inner] / width, abs=2e-3)
    assert y_HW[inner, 5] == pytest.approx(middles(height)[inner] / height, abs=2e-3)
