"""Masks and parts of all people of a frame, decided together by the Instance CRF.

It stands between inference and `assembly`: unary terms from masks or boxes, the parsing and, if wanted, the
former frame's decision; mean field along the picture's edges; and what comes out takes the place of the masks
(and of the parsing, where labels are person and part), so that the pixels of the frame are given away by the
same rule as without.

Shape suffixes: N people, P parts and background, L labels (background first); h, w the network's maps.

Source: Li, Arnab, Torr, Holistic, Instance-Level Human Parsing (BMVC 2017), section 3.2, eqs. 1-3. Masks as
unary terms, labels of people alone, and the former frame's decision are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from partstream_core import fusion
from partstream_core.assembly_config import CrfSettings, Unary
from partstream_server.pipeline.flow_fields import between_sizes, places
from partstream_server.pipeline.initial_flow import dis_flow
from partstream_server.pipeline.mean_field import Picture, mean_field
from partstream_server.pipeline.values import FloatArray, Inference

EPSILON = np.float32(1e-6)
"""Of eq. 1: keeps the logarithm finite."""
_LEAST_PART = 0.05
"""Parts that are nowhere likelier are no labels."""
_LEAST_CHANCE = np.float32(0.05)
"""Of a person in a cell, against the likeliest label."""
_LEAST_OVERLAP = 0.3
"""IoU above which a person is one of the former frame."""
_FLOW_STRIDE = 4
"""Pixels of the network's input for each vector."""


@dataclass(frozen=True, slots=True, eq=False)
class FormerDecision:
    """What the next frame takes over: who owned which cell, and the picture to find the motion by."""

    people_Lhw: FloatArray
    """Probability of background and of each person."""
    grey_hw: npt.NDArray[np.uint8]
    """The frame in grey, at half the network's size."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Evidence as all people together leave it, and what the next frame takes over."""

    evidence: Inference
    former: FormerDecision | None = None
    """None where the next frame takes over nothing."""


def decide(
    evidence: Inference,
    picture_hw3: Picture,
    *,
    width: int,
    height: int,
    mask_threshold: float,
    settings: CrfSettings,
    grey_hw: npt.NDArray[np.uint8] | None = None,
    former: FormerDecision | None = None,
) -> Decision:
    """Decide all people of a frame together.

    Args:
        evidence: What `assembly.weigh` left of the inference.
        picture_hw3: The frame at the size of its maps, RGB.
        width: Of the source frame, in whose pixels boxes are.
        height: Of the source frame.
        mask_threshold: Probability of a mask above which a cell is rather the person's than background.
        settings: Of the field.
        grey_hw: The frame in grey at half the network's size; needed with a temporal term.
        former: The former frame's decision; None leaves it out.
    """
    evidence = _without_doubles(evidence, mask_threshold)
    potentials_Lhw = _people_potentials(evidence, (width, height), mask_threshold, settings)
    if settings.temporal and former is not None and grey_hw is not None:
        carried_Lhw = _carried(former, grey_hw, evidence.masks_Nhw, mask_threshold)
        if carried_Lhw is not None:
            potentials_Lhw += np.float32(settings.temporal) * carried_Lhw
    if len(evidence.scores_N) == 0:
        people_Lhw = np.ones_like(potentials_Lhw)
    elif settings.joint and len(evidence.part_probabilities_Phw) > 1:
        evidence, people_Lhw = _with_joint_labels(evidence, potentials_Lhw, picture_hw3, settings)
    else:
        people_Lhw = mean_field(_log(potentials_Lhw), picture_hw3, settings)
    masks_Nhw = _masks_of(people_Lhw)
    remembers = settings.temporal > 0 and grey_hw is not None
    return Decision(
        replace(evidence, masks_Nhw=_from_even_odds(masks_Nhw, mask_threshold)),
        FormerDecision(people_Lhw, grey_hw) if remembers and grey_hw is not None else None,
    )


def _without_doubles(evidence: Inference, mask_threshold: float) -> Inference:
    """The people who are not seen twice: a double would share cells with the person."""
    instances = fusion.Instances(evidence.masks_Nhw, evidence.scores_N)
    rows = np.sort(fusion.without_doubles(instances, mask_threshold=mask_threshold))
    return Inference(
        boxes_N4=evidence.boxes_N4[rows],
        scores_N=evidence.scores_N[rows],
        embeddings_ND=None if evidence.embeddings_ND is None else evidence.embeddings_ND[rows],
        masks_Nhw=evidence.masks_Nhw[rows],
        part_probabilities_Phw=evidence.part_probabilities_Phw,
    )


def _people_potentials(
    evidence: Inference, size: tuple[int, int], mask_threshold: float, settings: CrfSettings
) -> FloatArray:
    """Potentials of background and people, [L, h, w]: the unary terms of eq. 1, summed over parts."""
    parts_Phw = evidence.part_probabilities_Phw
    map_size = parts_Phw.shape[1:]
    nothing_hw = parts_Phw[0] if len(parts_Phw) > 1 else np.full(map_size, 0.5, np.float32)
    something_hw = 1 - nothing_hw
    potentials_Lhw = np.empty((1 + len(evidence.scores_N), *map_size), np.float32)
    potentials_Lhw[0] = settings.anywhere * nothing_hw
    potentials_Lhw[1:] = settings.anywhere * something_hw
    if settings.unary is Unary.BOXES:
        inside_Nhw = _inside_boxes(evidence.boxes_N4, map_size, size)
        share_Nhw = (settings.evidence * evidence.scores_N)[:, None, None] * inside_Nhw
        potentials_Lhw[1:] += share_Nhw * something_hw
        if settings.anywhere == 0:  # the box term alone: background has a box that is the whole frame
            potentials_Lhw[0] = settings.evidence * nothing_hw
        return potentials_Lhw
    masks_Nhw = _to_even_odds(evidence.masks_Nhw, mask_threshold)
    potentials_Lhw[0] += settings.evidence * (1 - masks_Nhw.max(axis=0, initial=0))
    potentials_Lhw[1:] += settings.evidence * masks_Nhw
    return potentials_Lhw


def _masks_of(people_Lhw: FloatArray) -> FloatArray:
    """Masks, [N, h, w]: of each person against background alone, which leaves the order of people as it is.

    Mean field is sure of nearly every cell. Interpolated, such masks would have an outline along the cells,
    so odds are softened, which moves no cell to the other side. Who has hardly a chance in a cell has no mask
    there.
    """
    soft_Lhw = np.sqrt(np.maximum(people_Lhw, EPSILON))
    masks_Nhw = soft_Lhw[1:] / (soft_Lhw[1:] + soft_Lhw[:1])
    masks_Nhw[people_Lhw[1:] < _LEAST_CHANCE * people_Lhw.max(axis=0)] = 0
    return np.asarray(masks_Nhw, np.float32)


def _log(potentials_Lhw: FloatArray) -> FloatArray:
    return np.asarray(np.log(potentials_Lhw + EPSILON), np.float32)


def _to_even_odds(masks_Nhw: FloatArray, mask_threshold: float) -> FloatArray:
    """Masks whose threshold is one half: odds against the threshold's."""
    if mask_threshold == 0.5:
        return masks_Nhw
    theirs, others = masks_Nhw * (1 - mask_threshold), (1 - masks_Nhw) * mask_threshold
    return np.asarray(theirs / np.maximum(theirs + others, EPSILON), np.float32)


def _from_even_odds(masks_Nhw: FloatArray, mask_threshold: float) -> FloatArray:
    """Masks whose threshold is the bundle's; the inverse of `_to_even_odds`."""
    return _to_even_odds(masks_Nhw, 1 - mask_threshold)


def _inside_boxes(boxes_N4: FloatArray, map_size: tuple[int, ...], size: tuple[int, int]) -> FloatArray:
    """1 where the middle of a cell is in a box, else 0, [N, h, w]."""
    (map_height, map_width), (width, height) = map_size, size
    x_w = (np.arange(map_width) + 0.5) * width / map_width
    y_h = (np.arange(map_height) + 0.5) * height / map_height
    left, top, right, bottom = (side[:, None] for side in boxes_N4.T)
    across_Nw = (x_w >= left) & (x_w < right)
    along_Nh = (y_h >= top) & (y_h < bottom)
    return np.asarray(along_Nh[:, :, None] & across_Nw[:, None, :], np.float32)


def _with_joint_labels(
    evidence: Inference, potentials_Lhw: FloatArray, picture_hw3: Picture, settings: CrfSettings
) -> tuple[Inference, FloatArray]:
    """Evidence with the parsing that labels of person and part leave, and the probabilities of people."""
    parts_Phw = evidence.part_probabilities_Phw
    seen = 1 + np.flatnonzero(parts_Phw[1:].max(axis=(1, 2)) > _LEAST_PART)
    if len(seen) == 0:
        return evidence, mean_field(_log(potentials_Lhw), picture_hw3, settings)
    shares_Shw = parts_Phw[seen] / np.maximum(parts_Phw[seen].sum(axis=0), EPSILON)
    num_people, num_seen = len(potentials_Lhw) - 1, len(seen)
    joint = (potentials_Lhw[1:, None] * shares_Shw).reshape(-1, *parts_Phw.shape[1:])
    q = mean_field(_log(np.concatenate([potentials_Lhw[:1], joint])), picture_hw3, settings)
    by_person = q[1:].reshape(num_people, num_seen, *parts_Phw.shape[1:])
    people_Lhw = np.concatenate([q[:1], by_person.sum(axis=1)])
    decided_Phw = np.zeros_like(parts_Phw)
    # the parsing's own background stays: there are things in people's arms
    decided_Phw[seen] = by_person.sum(axis=0) / np.maximum(1 - q[:1], EPSILON) * (1 - parts_Phw[:1])
    decided_Phw[0] = parts_Phw[0]
    return replace(evidence, part_probabilities_Phw=decided_Phw), people_Lhw


def _carried(
    former: FormerDecision, grey_hw: npt.NDArray[np.uint8], masks_Nhw: FloatArray, mask_threshold: float
) -> FloatArray | None:
    """The former decision along the flow, [L, h, w], its people in the order of these; None: another size.

    Where somebody is who was not there, the former frame has no say.
    """
    if former.grey_hw.shape != grey_hw.shape or former.people_Lhw.shape[1:] != masks_Nhw.shape[1:]:
        return None
    height, width = masks_Nhw.shape[1:]
    flow_2hw = dis_flow(grey_hw, former.grey_hw, stride=_FLOW_STRIDE)
    x_hw, y_hw = places(between_sizes(flow_2hw, height=height, width=width))
    warped_hwL = cv2.remap(
        np.ascontiguousarray(np.moveaxis(former.people_Lhw, 0, 2)),
        x_hw,
        y_hw,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    warped_Lhw = np.moveaxis(np.asarray(warped_hwL, np.float32).reshape(height, width, -1), 2, 0)
    carried_Lhw = np.zeros((1 + len(masks_Nhw), height, width), np.float32)
    carried_Lhw[0] = warped_Lhw[0]
    overlaps_NO = _overlaps(masks_Nhw > mask_threshold, warped_Lhw[1:] > 0.5)
    is_new_N = np.ones(len(masks_Nhw), np.bool_)
    for row, old in zip(*linear_sum_assignment(-overlaps_NO), strict=True):
        if overlaps_NO[row, old] > _LEAST_OVERLAP:
            carried_Lhw[1 + row], is_new_N[row] = warped_Lhw[1 + old], False
    carried_Lhw *= 1 - masks_Nhw[is_new_N].max(axis=0, initial=0)
    return carried_Lhw


def _overlaps(these_Nhw: npt.NDArray[np.bool_], those_Ohw: npt.NDArray[np.bool_]) -> FloatArray:
    """IoU of each pair, [N, O]."""
    these_NK = these_Nhw.reshape(len(these_Nhw), these_Nhw.shape[1] * these_Nhw.shape[2]).astype(np.float32)
    those_OK = those_Ohw.reshape(len(those_Ohw), these_NK.shape[1]).astype(np.float32)
    both_NO = these_NK @ those_OK.T
    union_NO = these_NK.sum(axis=1)[:, None] + those_OK.sum(axis=1) - both_NO
    return np.asarray(both_NO / np.maximum(union_NO, 1), np.float32)
