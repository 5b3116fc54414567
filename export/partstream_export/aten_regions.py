"""ROIAlign in graphs, as the runtimes' own operator.

Matrices (`partstream_models.networks.roi_matrices`) would hold a copy of the feature map for each of hundreds
of regions. For boxes inside the image, the operator with two samples a side and half-pixel coordinates is
what `partstream_models.networks.roi_align` computes.

Shape suffixes: B batch, C channels, H and W feature size, R regions, S cells a side.
"""

import torch
from torch import Tensor

from partstream_export.graphs import OPSET
from partstream_models.networks.roi_align import roi_align

_POINTS = 2
"""Samples a side of each cell, as in `roi_align`."""


def regions_of(
    feature_BCHW: Tensor, boxes_R4: Tensor, batch_index_R: Tensor, *, size: int, stride: int
) -> Tensor:
    """Features of each box, [R, C, S, S]; boxes are xyxy in image pixels and inside the image."""
    if not torch.compiler.is_exporting():
        return roi_align(feature_BCHW, boxes_R4, batch_index_R, size=size, stride=stride)
    regions: Tensor = torch.onnx.ops.symbolic(
        "RoiAlign",
        (feature_BCHW, boxes_R4, batch_index_R),
        attrs={
            "coordinate_transformation_mode": "half_pixel",
            "mode": "avg",
            "output_height": size,
            "output_width": size,
            "sampling_ratio": _POINTS,
            "spatial_scale": 1 / stride,
        },
        dtype=feature_BCHW.dtype,
        shape=(boxes_R4.shape[0], feature_BCHW.shape[1], size, size),
        version=OPSET,
    )
    return regions
