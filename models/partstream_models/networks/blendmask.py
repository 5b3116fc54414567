"""Instance masks by blending: each person's coarse attention over four bases that all people share.

Shape suffixes: B batch, K bases, H and W size of the bases, R regions (people), A attention cells a side,
S mask cells a side.

Source: BlendMask (Chen et al., CVPR 2020), section 3.2.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.networks.roi_align import roi_align

NUM_BASES = 4
ATTENTION_CELLS = 14
MASK_CELLS = 56
BASES_STRIDE = 4
NUM_ATTENTION = NUM_BASES * ATTENTION_CELLS**2
assert NUM_ATTENTION == 784


def blended_logits(
    bases_BKHW: Tensor, attention_RN: Tensor, boxes_R4: Tensor, batch_index_R: Tensor
) -> Tensor:
    """Mask logits on a grid over each box, [R, 56, 56].

    Args:
        bases_BKHW: Bases at stride 4.
        attention_RN: Each person's attention, [R, 784]: base by base, row by row.
        boxes_R4: xyxy in network pixels.
        batch_index_R: Which image each box is in, int64.
    """
    bases_RKSS = roi_align(bases_BKHW, boxes_R4, batch_index_R, size=MASK_CELLS, stride=BASES_STRIDE)
    return blend(bases_RKSS, attention_RN)


def blend(bases_RKSS: Tensor, attention_RN: Tensor) -> Tensor:
    """The sum of each region's bases, weighted by its attention; weights of a cell add up to one."""
    size = (bases_RKSS.shape[-2], bases_RKSS.shape[-1])
    attention = attention_RN.reshape(-1, NUM_BASES, ATTENTION_CELLS, ATTENTION_CELLS)
    wide = F.interpolate(attention, size=size, mode="bilinear", align_corners=False)
    return torch.sum(wide.softmax(dim=1) * bases_RKSS, dim=1)
