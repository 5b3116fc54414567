"""Mean field of the Instance CRF with kernels that are cut to a window, on the host.

The pairwise term is the Potts model over a bilateral and a spatial Gaussian kernel, with weights that all
labels share. Both kernels make one sparse matrix with a row for each cell that is decided anew: cells near a
border between labels, and those that are not sure. Elsewhere all of a cell's neighbours agree with it.

Shape suffixes: L labels, h height, w width, M cells decided anew, K offsets of the window.

Source: Li, Arnab, Torr, Holistic, Instance-Level Human Parsing (BMVC 2017), section 3.2.3 and eqs. 5-6;
Kraehenbuehl and Koltun, Efficient Inference in Fully Connected CRFs (NIPS 2011).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse

from partstream_core.assembly_config import CrfSettings
from partstream_server.pipeline.values import FloatArray

Picture = npt.NDArray[np.uint8]

_CLOSE = np.float32(0.6)
"""Of the second label's probability against the first's: a cell away from borders that is less sure."""


def mean_field(unary_Lhw: FloatArray, picture_hw3: Picture, settings: CrfSettings) -> FloatArray:
    """Probabilities of the labels of each cell, [L, h, w].

    Args:
        unary_Lhw: Logarithms of the unary potentials.
        picture_hw3: Colours, 0..255.
        settings: Kernels, window and number of iterations.

    Raises:
        ValueError: The map and the picture differ in size.
    """
    num_labels, height, width = unary_Lhw.shape
    if picture_hw3.shape != (height, width, 3):
        raise ValueError(f"the map is {(height, width)}, the picture {picture_hw3.shape}")
    radius = settings.radius
    padded_width = width + 2 * radius
    q_hwL = np.zeros((height + 2 * radius, padded_width, num_labels), np.float32)
    inside = q_hwL[radius : radius + height, radius : radius + width]
    inside[:] = softmax(np.moveaxis(unary_Lhw, 0, 2))
    rows_M, columns_M = np.nonzero(_undecided(inside, settings.band))
    if len(rows_M) and num_labels > 1:
        cells_M = (rows_M + radius) * padded_width + columns_M + radius
        messages = _kernels(picture_hw3, cells_M, settings)
        own_ML = np.ascontiguousarray(unary_Lhw[:, rows_M, columns_M].T)
        q_NL = q_hwL.reshape(-1, num_labels)
        for _ in range(settings.num_iterations):
            q_NL[cells_M] = softmax(own_ML + messages @ q_NL)
    return np.ascontiguousarray(np.moveaxis(inside, 2, 0))


def softmax(logits_XL: FloatArray) -> FloatArray:
    """Probabilities over the last axis."""
    raised = np.exp(logits_XL - logits_XL.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


def _undecided(q_hwL: FloatArray, band: int | None) -> npt.NDArray[np.bool_]:
    """Cells near a border between labels, and cells that are not sure; None for `band`: all cells."""
    if band is None or q_hwL.size == 0:
        return np.ones(q_hwL.shape[:2], np.bool_)
    label_hw = q_hwL.argmax(axis=2).astype(np.uint16)
    window = np.ones((2 * band + 1, 2 * band + 1), np.uint8)
    is_near_hw = np.asarray(cv2.dilate(label_hw, window) != cv2.erode(label_hw, window), np.bool_)
    best_hw = q_hwL.max(axis=2)
    num_close_hw = np.count_nonzero(q_hwL > _CLOSE * best_hw[..., None], axis=2)
    return np.asarray(is_near_hw | (num_close_hw > 1), np.bool_)


def _kernels(picture_hw3: Picture, cells_M: npt.NDArray[np.int64], settings: CrfSettings) -> sparse.csr_array:
    """Weights of all neighbours of each cell, [M, N], over the N cells of the padded map.

    Cells of the padding have no probability of any label, so their weights do not matter.
    """
    radius = settings.radius
    padded_hw3 = np.pad(picture_hw3, ((radius, radius), (radius, radius), (0, 0)))
    num_cells, padded_width = padded_hw3.shape[0] * padded_hw3.shape[1], padded_hw3.shape[1]
    down_K, right_K = np.indices((2 * radius + 1, 2 * radius + 1)).reshape(2, -1) - radius
    others = (down_K != 0) | (right_K != 0)
    down_K, right_K = down_K[others], right_K[others]
    neighbours_MK = cells_M[:, None] + (down_K * padded_width + right_K)
    unlike_MK = np.zeros(neighbours_MK.shape, np.float32)
    for channel in range(3):
        plane_N = np.ascontiguousarray(padded_hw3[..., channel], np.float32).ravel()
        difference_MK = plane_N.take(neighbours_MK)
        difference_MK -= plane_N.take(cells_M)[:, None]
        difference_MK *= difference_MK
        unlike_MK += difference_MK
    far_K = down_K**2 + right_K**2
    unlike_MK *= np.float32(-1 / (2 * settings.theta_beta**2))
    unlike_MK -= np.float32(1 / (2 * settings.theta_alpha**2)) * far_K.astype(np.float32)
    weights_MK = np.float32(settings.bilateral) * np.asarray(cv2.exp(unlike_MK), np.float32)
    if settings.spatial:
        spatial_K = settings.spatial * np.exp(-far_K / (2 * settings.theta_gamma**2))
        weights_MK += spatial_K.astype(np.float32)
    num_rows, num_offsets = neighbours_MK.shape
    starts = np.arange(0, num_rows * num_offsets + 1, num_offsets, dtype=np.int32)
    columns = neighbours_MK.astype(np.int32).ravel()
    return sparse.csr_array((weights_MK.ravel(), columns, starts), shape=(num_rows, num_cells))
