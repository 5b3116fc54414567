"""Instance masks by conditional convolutions.

Each person brings the 169 weights of a three-layer network (8 channels) that turns eight shared mask features
and relative coordinates into that person's mask.

Shape suffixes: B batch, C mask channels, H and W mask feature size, R rows (people), N pixels.

Source: CondInst (Tian et al., ECCV 2020), section 3.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

MASK_CHANNELS = 8
HIDDEN = 8
LAYERS = ((MASK_CHANNELS + 2, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1))
NUM_MASK_PARAMETERS = sum(inputs * outputs + outputs for inputs, outputs in LAYERS)
assert NUM_MASK_PARAMETERS == 169


def mask_logits(
    mask_features_BCHW: Tensor,
    parameters_RP: Tensor,
    locations_R3: Tensor,
    batch_index_R: Tensor,
    *,
    stride: int,
    doubled: bool = True,
) -> Tensor:
    """Mask logits of each person at twice the mask features' resolution, [R, 2H, 2W].

    Args:
        mask_features_BCHW: Shared mask features, 8 channels.
        parameters_RP: Weights and biases of each person's network, [R, 169].
        locations_R3: x, y and range of each person's location, in network pixels; relative coordinates are
            divided by the range.
        batch_index_R: Which image each person is in, int64.
        stride: Network pixels between two mask features.
        doubled: Interpolate to twice the size; [R, H, W] where not.
    """
    num_rows = parameters_RP.shape[0]
    _, channels, height, width = mask_features_BCHW.shape
    like = mask_features_BCHW
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) * stride
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) * stride
    scale = locations_R3[:, 2].reshape(-1, 1, 1)
    relative_x = ((locations_R3[:, 0].reshape(-1, 1, 1) - x.reshape(1, 1, -1)) / scale).expand(-1, height, -1)
    relative_y = ((locations_R3[:, 1].reshape(-1, 1, 1) - y.reshape(1, -1, 1)) / scale).expand(-1, -1, width)
    shared = mask_features_BCHW[batch_index_R].reshape(num_rows, channels, height * width)
    coordinates = torch.stack([relative_x, relative_y], dim=1).reshape(num_rows, 2, height * width)
    z_RCN = torch.cat([shared, coordinates.to(shared.dtype)], dim=1)
    start = 0
    for index, (inputs, outputs) in enumerate(LAYERS):
        weight = parameters_RP[:, start : start + inputs * outputs].reshape(num_rows, outputs, inputs)
        start += inputs * outputs
        bias = parameters_RP[:, start : start + outputs].reshape(num_rows, outputs, 1)
        start += outputs
        z_RCN = torch.bmm(weight, z_RCN) + bias
        if index < len(LAYERS) - 1:
            z_RCN = z_RCN.relu()
    logits = z_RCN.reshape(num_rows, 1, height, width)
    if not doubled:
        return logits[:, 0]
    return F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)[:, 0]
