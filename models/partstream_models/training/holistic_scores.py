"""How well the Holistic network parses pictures, as its tables 1 to 3 measure it.

Shape suffixes: H height, W width, L labels; h, w the grid of the field.

Source: Li, Arnab, Torr, Holistic, Instance-Level Human Parsing (BMVC 2017), section 4.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_core.labels import VOID
from partstream_core.rle import Rle, encode, iou_matrix
from partstream_evaluation.metrics.average_precision import (
    PART_THRESHOLDS,
    Matching,
    PictureOverlaps,
    average_precision,
    mean_average_precision,
)
from partstream_evaluation.metrics.semantic import confusion_matrix, mean_iou
from partstream_models.networks.holistic import Holistic
from partstream_models.networks.instance_crf import InstanceParsing, decode
from partstream_models.training.holistic_task import HolisticDraw

_LEAST_PIXELS = 4
"""Smaller segments are none."""


@torch.no_grad()
def holistic_scores(
    network: Holistic, draws: Sequence[HolisticDraw], *, device: str = "cpu"
) -> dict[str, float]:
    """AP^r of parts (table 1) and people (table 2), and mean IoU of parts by either module (table 3).

    Two segments may not claim one truth. A segment's score is its detection's times the mean probability of
    its label; the paper does not say.
    """
    was_training = network.training
    network.eval()
    num_classes = network.config.parts.num_classes
    parts: list[list[PictureOverlaps]] = [[] for _ in range(num_classes - 1)]
    people: list[PictureOverlaps] = []
    counts = {name: np.zeros((num_classes, num_classes), np.int64) for name in ("before", "after")}
    for draw in draws:
        here = draw.to(device)
        output = network(here.image_1CHW, here.boxes_D4, here.scores_D)
        q_LHW = F.interpolate(
            output.log_q_Lhw.exp()[None], size=draw.parts_HW.shape, mode="bilinear", align_corners=False
        )[0].cpu()
        found = decode(q_LHW, num_classes - 1)
        _count(counts["before"], draw, output.part_logits_CHW.argmax(dim=0).cpu())
        _count(counts["after"], draw, found.parts_HW)
        known_HW = draw.parts_HW != VOID
        for part, pictures in enumerate(parts, start=1):
            pictures.append(_overlaps(draw, found, q_LHW, known_HW, part))
        people.append(_overlaps(draw, found, q_LHW, known_HW, None))
    network.train(was_training)
    present = [pictures for pictures in parts if any(each.iou_MN.shape[1] for each in pictures)]
    scores = {
        f"ap_r_{round(100 * threshold)}": float(
            np.mean([average_precision(pictures, threshold=threshold) for pictures in present])
        )
        for threshold in (0.5, 0.6, 0.7)
    }
    volumes = [
        mean_average_precision(pictures, thresholds=PART_THRESHOLDS, matching=Matching.STRICT)
        for pictures in present
    ]
    return scores | {
        "ap_r_vol": float(np.mean(volumes)),
        "people_ap_r_50": average_precision(people, threshold=0.5),
        "miou_parts": mean_iou(counts["before"]),
        "miou_final": mean_iou(counts["after"]),
    }


def _count(
    confusion_CC: np.ndarray[tuple[int, ...], np.dtype[np.int64]], draw: HolisticDraw, found_HW: Tensor
) -> None:
    num_classes = len(confusion_CC)
    counted = confusion_matrix(draw.parts_HW.numpy().astype(np.uint8), found_HW.numpy().astype(np.uint8))
    confusion_CC += counted[:num_classes, :num_classes]


def _overlaps(
    draw: HolisticDraw, found: InstanceParsing, q_LHW: Tensor, known_HW: Tensor, part: int | None
) -> PictureOverlaps:
    """Segments of one part, or of people, against the true ones, where the truth is known."""
    num_parts = (q_LHW.shape[0] - 1) // max(len(draw.scores_D), 1)
    true = _segments(draw.people_HW, draw.parts_HW, known_HW, part)
    theirs = _segments(found.people_HW, found.parts_HW, known_HW, part)
    scores = []
    for person, mask_HW in theirs.items():
        labels_HW = 1 + (person - 1) * num_parts + found.parts_HW - 1
        q = q_LHW.gather(0, labels_HW.clamp(min=0)[None])[0][mask_HW]
        scores.append(float(draw.scores_D[person - 1] * q.mean()))
    return PictureOverlaps(np.array(scores, np.float64), iou_matrix(_rles(theirs), _rles(true)))


def _segments(people_HW: Tensor, parts_HW: Tensor, known_HW: Tensor, part: int | None) -> dict[int, Tensor]:
    masks = {}
    shown_HW = known_HW & (parts_HW > 0 if part is None else parts_HW == part)
    for person in np.unique(people_HW[shown_HW].numpy()).tolist():
        mask_HW = shown_HW & (people_HW == person)
        if person > 0 and int(mask_HW.sum()) >= _LEAST_PIXELS:
            masks[int(person)] = mask_HW
    return masks


def _rles(masks: dict[int, Tensor]) -> list[Rle]:
    return [encode(np.asfortranarray(mask.numpy())) for mask in masks.values()]
