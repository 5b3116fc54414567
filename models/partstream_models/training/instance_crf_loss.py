"""The matched loss of the Instance CRF: the order in which people are detected does not matter.

Shape suffixes: D detections, M people of the truth, P parts, L labels, H height, W width.

Source: Li, Arnab, Torr, Holistic, Instance-Level Human Parsing (BMVC 2017), section 3.3 and eq. 4.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from partstream_core.labels import VOID
from partstream_models.networks.instance_crf import decode, hardest_mean

HARDEST = 2**15
"""Pixels of a picture that the loss looks at."""


def matched_loss(
    log_q_LHW: Tensor, people_HW: Tensor, parts_HW: Tensor, num_parts: int, *, hardest: int = HARDEST
) -> Tensor:
    """Cross-entropy against the truth whose people are numbered as the detections that fit them best.

    Args:
        log_q_LHW: Log probabilities of the Instance CRF.
        people_HW: People of the truth, from 1; 0 nobody.
        parts_HW: Their parts, from 1; 0 background, `VOID` not known.
        num_parts: P.
        hardest: How many pixels count, those with the largest loss.
    """
    truth_HW = matched_truth(log_q_LHW, people_HW, parts_HW, num_parts)
    keep_HW = truth_HW >= 0
    loss_HW = F.nll_loss(log_q_LHW[None], truth_HW.clamp(min=0)[None], reduction="none")[0]
    return hardest_mean(loss_HW, keep_HW, hardest)


@torch.no_grad()
def matched_truth(log_q_LHW: Tensor, people_HW: Tensor, parts_HW: Tensor, num_parts: int) -> Tensor:
    """Labels of the truth, its people numbered like the detections that they overlap most (eq. 4), [H, W].

    Where the overlap of a person and a detection counts, their parts are the same. -1 where the truth is not
    known, and on people for whom no detection is left.
    """
    num_people = (log_q_LHW.shape[0] - 1) // num_parts
    found = decode(log_q_LHW, num_parts)
    known_HW = parts_HW != VOID
    numbers = sorted({number for number in people_HW[known_HW].tolist() if number > 0})
    overlaps_MD = np.zeros((len(numbers), num_people))
    for row, number in enumerate(numbers):
        own_HW = (people_HW == number) & known_HW & (parts_HW > 0)
        for person in range(num_people):
            theirs_HW = (found.people_HW == person + 1) & known_HW
            same = int((own_HW & theirs_HW & (found.parts_HW == parts_HW)).sum())
            union = int((own_HW | theirs_HW).sum())
            overlaps_MD[row, person] = same / union if union else 0.0
    truth_HW = torch.zeros_like(parts_HW, dtype=torch.int64)
    truth_HW[~known_HW] = -1
    for number in numbers:
        truth_HW[(people_HW == number) & known_HW & (parts_HW > 0)] = -1
    for row, person in zip(*linear_sum_assignment(-overlaps_MD), strict=True):
        own_HW = (people_HW == numbers[row]) & known_HW & (parts_HW > 0)
        truth_HW[own_HW] = 1 + int(person) * num_parts + parts_HW[own_HW].long() - 1
    return truth_HW
