"""From candidates and parsing to people: who is kept, and who and what each pixel of the source frame is.

The network's resolution decides which people are kept and how sure their parts are; the pixels of the frame
are given away by the same rule (`partstream_core.fusion.assemble`) among interpolated probabilities.

Shape suffixes: N candidates or kept people, P parts and background; w, h the network's maps (transposed), W,
H the frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core import fusion
from partstream_core.boxes import Box
from partstream_server.upsample import MAX_LABEL, Cells, Contest, cells_of, tight
from partstream_server.values import Assembly, Crop, FloatArray, FoundPerson, Inference, LabelMaps, MapArray

MAX_PEOPLE = MAX_LABEL
"""People that a frame can hold."""

_BACKGROUND = 1


def assemble(
    inference: Inference, *, width: int, height: int, part_labels: Sequence[int], mask_threshold: float
) -> Assembly:
    """The people of a frame and its maps.

    Args:
        inference: What the network found.
        width: Of the source frame.
        height: Of the source frame.
        part_labels: Index into `partstream_core.labels.PARTS` of each channel of the parsing, background
            first.
        mask_threshold: Probability above which a pixel can be a person's.
    """
    fused = fusion.assemble(
        fusion.Instances(inference.masks_Nhw, inference.scores_N),
        inference.part_probabilities_Phw,
        mask_threshold=mask_threshold,
    )
    rows = fused.kept[:MAX_PEOPLE]
    masks_Nwh = np.ascontiguousarray(inference.masks_Nhw[rows].transpose(0, 2, 1))
    map_width, map_height = inference.part_probabilities_Phw.shape[:0:-1]
    people = Contest(width=width, height=height, map_width=map_width, map_height=map_height)
    regions = [_region(mask_wh > mask_threshold) for mask_wh in masks_Nwh]
    for number, (mask_wh, region) in enumerate(zip(masks_Nwh, regions, strict=True), start=1):
        people.enter(number, mask_wh, region, above=mask_threshold)
    person_WH = people.labels()

    parts = Contest(width=width, height=height, map_width=map_width, map_height=map_height)
    probabilities_Pwh = np.ascontiguousarray(inference.part_probabilities_Phw.transpose(0, 2, 1))
    owner_wh, part_wh = np.ascontiguousarray(fused.owner_HW.T), np.ascontiguousarray(fused.part_map_HW.T)
    for row, region in zip(rows, regions, strict=True):
        own_wh = region.of(owner_wh) == row
        _enter_parts(parts, region, region.of(part_wh) * own_wh, probabilities_Pwh, part_labels)
    part_WH = (parts.labels() - _BACKGROUND) * (person_WH > 0)
    crops = [people.pixels(region) for region in regions]
    return _gather(inference, fused, crops, person_WH, part_WH, part_labels)


def _region(mask_wh: npt.NDArray[np.bool_]) -> Cells:
    cells = cells_of(mask_wh)
    assert cells is not None, "a kept row owns a cell"
    return cells


def _enter_parts(
    contest: Contest,
    region: Cells,
    channel_wh: npt.NDArray[np.uint8],
    probabilities_Pwh: FloatArray,
    part_labels: Sequence[int],
) -> None:
    """Let the parts of one person contend where they can win, and background everywhere on the person.

    A part's label in the contest is its index plus `_BACKGROUND`, as background contends too.
    """
    contest.enter(_BACKGROUND, probabilities_Pwh[0], region)
    for channel in np.flatnonzero(np.bincount(channel_wh.ravel()))[1:]:
        cells = cells_of(channel_wh == channel, within=region, shape=probabilities_Pwh.shape[1:])
        assert cells is not None, "the channel was counted"
        contest.enter(part_labels[channel] + _BACKGROUND, probabilities_Pwh[channel], cells)


def _gather(
    inference: Inference,
    fused: fusion.Assembly,
    crops: Sequence[Crop],
    person_WH: MapArray,
    part_WH: MapArray,
    part_labels: Sequence[int],
) -> Assembly:
    """People with pixels, numbered from 1 without gaps."""
    people: list[FoundPerson] = []
    renumbered = np.zeros(256, np.uint8)
    for number, (row, crop) in enumerate(zip(fused.kept, crops, strict=False), start=1):
        own = tight(person_WH[crop.left : crop.right, crop.top : crop.bottom] == number, crop)
        if own is None:
            continue
        scores = fused.part_scores_NP[row]
        person = FoundPerson(
            score=float(inference.scores_N[row]),
            box_xyxy=_box(inference.boxes_N4[row]),
            crop=own,
            embedding_D=None if inference.embeddings_ND is None else inference.embeddings_ND[row],
            part_scores={
                label: float(scores[channel]) for channel, label in enumerate(part_labels) if channel
            },
        )
        people.append(person)
        renumbered[number] = len(people)
    if len(people) != min(len(fused.kept), MAX_PEOPLE):
        person_WH = np.asarray(cv2.LUT(person_WH, renumbered), np.uint8)
    return Assembly(tuple(people), LabelMaps(person_WH.T, part_WH.T))


def _box(box_4: FloatArray) -> Box:
    left, top, right, bottom = (float(edge) for edge in box_4)
    return left, top, right, bottom
