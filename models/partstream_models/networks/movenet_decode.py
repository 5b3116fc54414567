"""People and joints from what MoveNet's heads give.

A person is a peak of the center heat map. The regression at the peak gives a first guess of each joint; the
joint is the highest cell of its heat map after division by the distance from that guess, moved by the offset
in that cell.

Shape suffixes: B batch, N people, J joints (17, COCO order), H and W picture size, h and w size at stride 4.

Source: Google, MoveNet MultiPose Lightning (Apache-2.0); the distance rule is that of MoveNet SinglePose's
model card. A person's score is the center's value times the mean of the joints' values.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.networks.movenet import NUM_JOINTS, STRIDE, JointMaps, MoveNet

Float32Array = npt.NDArray[np.float32]

MAX_PEOPLE = 6
"""People that the public model returns."""
_DISTANCE_FLOOR = 1.8
"""Cells added to the distance from the first guess."""


@dataclass(frozen=True, slots=True)
class MoveNetPeople:
    """People of one picture, best first; places are in pixels of the network's picture."""

    scores_N: Float32Array
    """Center times mean of the joints, 0..1."""
    centers_N: Float32Array
    """Value of the center heat map, 0..1."""
    boxes_N4: Float32Array
    """x1, y1, x2, y2, inside the picture."""
    joints_NJ3: Float32Array
    """x, y and score of each joint."""


def find_people(
    network: MoveNet,
    image_HWC: npt.NDArray[np.uint8],
    *,
    max_people: int = MAX_PEOPLE,
    threshold: float = 0.0,
) -> MoveNetPeople:
    """Find the people of an RGB picture whose sides are multiples of 32.

    Args:
        network: MoveNet in evaluation mode.
        image_HWC: The picture.
        max_people: Most people returned.
        threshold: Peaks of the center heat map at or below it are left out.

    Raises:
        ValueError: A side is no multiple of 32.
    """
    height, width = image_HWC.shape[:2]
    if height % 32 or width % 32:
        raise ValueError(f"sides must be multiples of 32, got {height}x{width}")
    image = torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        maps, scale, offset = network(image)
    return decode_people(maps, scale, offset, max_people=max_people, threshold=threshold)


def decode_people(
    maps: JointMaps, scale_B2hw: Tensor, offset_B2hw: Tensor, *, max_people: int, threshold: float = 0.0
) -> MoveNetPeople:
    """Decode the maps of one picture (B is 1).

    Args:
        maps: Centers and joints.
        scale_B2hw: Height and width of the box of the person whose center is in a cell, in cells.
        offset_B2hw: Place of the center inside its cell, y and x, in cells.
        max_people: Most people returned.
        threshold: Peaks of the center heat map at or below it are left out.
    """
    centers_hw = maps.centers[0, 0]
    height, width = centers_hw.shape
    peaks = centers_hw * (centers_hw == F.max_pool2d(centers_hw[None, None], 3, 1, 1)[0, 0])
    values_N, index_N = peaks.flatten().topk(min(max_people, height * width))
    kept = values_N > threshold
    values_N, index_N = values_N[kept], index_N[kept]
    cells_N2 = torch.stack([index_N // width, index_N % width], dim=1).float()
    size_N2 = scale_B2hw[0].flatten(1)[:, index_N].T
    middle_N2 = cells_N2 + offset_B2hw[0].flatten(1)[:, index_N].T
    limit_2 = torch.tensor([height, width], dtype=torch.float32)
    low_N2 = (middle_N2 - size_N2 / 2).clamp(min=0).minimum(limit_2)
    high_N2 = (middle_N2 + size_N2 / 2).clamp(min=0).minimum(limit_2)
    regression_NJ2 = maps.regression[0].flatten(1)[:, index_N].T.reshape(-1, NUM_JOINTS, 2)
    joints_NJ3 = refine_joints(maps, cells_N2[:, None] + regression_NJ2)
    scores_N = values_N * joints_NJ3[..., 2].mean(dim=1)
    boxes_N4 = torch.cat([low_N2.flip(1), high_N2.flip(1)], dim=1) * STRIDE
    return MoveNetPeople(scores_N.numpy(), values_N.numpy(), boxes_N4.numpy(), joints_NJ3.numpy())


def refine_joints(maps: JointMaps, guesses_NJ2: Tensor) -> Tensor:
    """Move each joint from its first guess (y, x, in cells) to its peak.

    Returns:
        x and y in pixels and score, [N, J, 3].
    """
    heat_Jhw = maps.heatmaps[0]
    height, width = heat_Jhw.shape[1:]
    y_h = torch.arange(height, dtype=torch.float32)
    x_w = torch.arange(width, dtype=torch.float32)
    rows = []
    for guess_J2 in guesses_NJ2:
        away_y = (y_h - guess_J2[:, :1])[:, :, None]
        away_x = (x_w - guess_J2[:, 1:])[:, None, :]
        distance_Jhw = (away_y.square() + away_x.square()).sqrt()
        index_J = (heat_Jhw / (distance_Jhw + _DISTANCE_FLOOR)).flatten(1).argmax(dim=1)
        joint_J = torch.arange(NUM_JOINTS)
        offset_J2 = maps.offsets[0].reshape(NUM_JOINTS, 2, -1)[joint_J, :, index_J]
        score_J = heat_Jhw.flatten(1)[joint_J, index_J]
        y_J, x_J = index_J // width + offset_J2[:, 0], index_J % width + offset_J2[:, 1]
        rows.append(torch.stack([x_J * STRIDE, y_J * STRIDE, score_J], dim=1))
    return torch.stack(rows) if rows else torch.zeros(0, NUM_JOINTS, 3)
