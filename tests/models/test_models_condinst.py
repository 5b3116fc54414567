"""Masks by conditional convolutions against one small network a person."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.networks.condinst import NUM_MASK_PARAMETERS, mask_logits

STRIDE = 8


def one_person(features_CHW: Tensor, parameters_P: Tensor, location_3: Tensor) -> Tensor:
    """One person's mask logits by three convolutions, [2H, 2W]."""
    _, height, width = features_CHW.shape
    x, y, scale = location_3.tolist()
    relative = torch.empty(2, height, width, dtype=features_CHW.dtype)
    for row in range(height):
        for column in range(width):
            relative[0, row, column] = (x - (column + 0.5) * STRIDE) / scale
            relative[1, row, column] = (y - (row + 0.5) * STRIDE) / scale
    z = torch.cat([features_CHW, relative])[None]
    values = parameters_P.tolist()

    def take(*shape: int) -> Tensor:
        count = int(torch.Size(shape).numel())
        taken = torch.tensor([values.pop(0) for _ in range(count)], dtype=features_CHW.dtype)
        return taken.reshape(shape)

    z = F.relu(F.conv2d(z, take(8, 10, 1, 1), take(8)))
    z = F.relu(F.conv2d(z, take(8, 8, 1, 1), take(8)))
    z = F.conv2d(z, take(1, 8, 1, 1), take(1))
    assert not values
    return F.interpolate(z, size=(2 * height, 2 * width), mode="bilinear", align_corners=False)[0, 0]


@pytest.fixture
def case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features of two images and five people in them."""
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(2, 8, 5, 7, generator=generator, dtype=torch.float64)
    parameters = torch.randn(5, NUM_MASK_PARAMETERS, generator=generator, dtype=torch.float64)
    places = torch.rand(5, 2, generator=generator, dtype=torch.float64) * 50
    ranges = torch.tensor([64.0, 128.0, 256.0, 64.0, 128.0], dtype=torch.float64)
    return features, parameters, torch.cat([places, ranges[:, None]], dim=1), torch.tensor([0, 1, 1, 0, 1])


def test_all_people_at_once_are_each_person_alone(case: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    features, parameters, locations, image = case
    together = mask_logits(features, parameters, locations, image, stride=STRIDE)
    assert together.shape == (5, 10, 14)
    for row in range(5):
        alone = one_person(features[image[row]], parameters[row], locations[row])
        assert torch.allclose(together[row], alone, atol=1e-10)


def test_the_order_of_people_does_not_matter(case: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    features, parameters, locations, image = case
    order = torch.tensor([3, 0, 4, 2, 1])
    straight = mask_logits(features, parameters, locations, image, stride=STRIDE)
    turned = mask_logits(features, parameters[order], locations[order], image[order], stride=STRIDE)
    assert torch.allclose(turned, straight[order])


def test_nobody_has_no_masks(case: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    features, parameters, locations, image = case
    none = mask_logits(features, parameters[:0], locations[:0], image[:0], stride=STRIDE)
    assert none.shape == (0, 10, 14)
