"""Assembles people from candidates and part maps: selects people and labels the pixels of the source frame.

Masks and parsing judge twice whether a pixel is a person's, from different features: the geometric mean of
their odds is better than either (`with_parsing`). Then the network's resolution decides which people are kept
and how sure their parts are; the pixels of the frame are given away by the same rule
(`partstream_core.fusion.assemble`) among interpolated probabilities.

Shape suffixes: N candidates or kept people, P parts and background; w, h the network's maps (transposed), K
their cells; W, H the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from scipy import ndimage

from partstream_core import fusion
from partstream_core.boxes import Box
from partstream_server.pipeline.upsampling import (
    MAX_LABEL,
    Cells,
    Contest,
    Grid,
    LevelArray,
    around,
    levels,
    tight,
)
from partstream_server.pipeline.values import (
    Assembly,
    Crop,
    FloatArray,
    FoundPerson,
    Inference,
    LabelMaps,
    MapArray,
)

MAX_PEOPLE = MAX_LABEL
"""People that a frame can hold."""

_LEAST_MASK = np.float32(0.05)
BACKGROUND_SHARE = 0.1
"""Of the parsing's background inside people: their masks have heard it once, so it must be ten times as
likely as any part for a pixel of a person to stay without one."""


def assemble(
    inference: Inference,
    *,
    width: int,
    height: int,
    part_labels: Sequence[int],
    mask_threshold: float,
    min_parts: float = 0.0,
) -> Assembly:
    """The people of a frame and its maps.

    Args:
        inference: What the network found.
        width: Of the source frame.
        height: Of the source frame.
        part_labels: Index into `partstream_core.labels.PARTS` of each channel of the parsing, background
            first.
        mask_threshold: Probability above which a pixel can be a person's.
        min_parts: Share of a person's own mask on which the parsing must see parts.
    """
    evidence = weigh(inference, mask_threshold=mask_threshold, min_parts=min_parts)
    return give_away(
        evidence, width=width, height=height, part_labels=part_labels, mask_threshold=mask_threshold
    )


def weigh(inference: Inference, *, mask_threshold: float, min_parts: float = 0.0) -> Inference:
    """The candidates that count, with masks that have heard the parsing.

    Args:
        inference: What the network found.
        mask_threshold: Probability above which a pixel can be a person's.
        min_parts: Share of a person's own mask on which the parsing must see parts.
    """
    inference = _believable(inference, mask_threshold=mask_threshold, min_parts=min_parts)
    masks_Nhw = with_parsing(inference.masks_Nhw, inference.part_probabilities_Phw)
    return replace(inference, masks_Nhw=masks_Nhw)


def give_away(
    evidence: Inference,
    *,
    width: int,
    height: int,
    part_labels: Sequence[int],
    mask_threshold: float,
    min_share: float = fusion.MIN_SHARE,
) -> Assembly:
    """The people of a frame and its maps, each pixel given to the likeliest mask and part.

    Args:
        evidence: What `weigh` made, or the Instance CRF of that.
        width: Of the source frame.
        height: Of the source frame.
        part_labels: Index into `partstream_core.labels.PARTS` of each channel of the parsing, background
            first.
        mask_threshold: Probability above which a pixel can be a person's.
        min_share: Of a mask that must lie outside the masks of better people.
    """
    masks_Nhw, inference = evidence.masks_Nhw, evidence
    inference = replace(inference, part_probabilities_Phw=_inside_people(inference.part_probabilities_Phw))
    fused = fusion.assemble(
        fusion.Instances(masks_Nhw, inference.scores_N),
        inference.part_probabilities_Phw,
        mask_threshold=mask_threshold,
        min_share=min_share,
    )
    rows = fused.kept[:MAX_PEOPLE]
    map_height, map_width = fused.owner_HW.shape
    grid = Grid(width=width, height=height, map_width=map_width, map_height=map_height)
    level_Nwh = _transposed_levels(masks_Nhw[rows])
    regions = [_region(mask_hw > mask_threshold, grid) for mask_hw in masks_Nhw[rows]]
    contest = Contest(grid, Crop(top=0, left=0, bottom=height, right=width), above=mask_threshold)
    for number, (level_wh, region) in enumerate(zip(level_Nwh, regions, strict=True), start=1):
        contest.enter(number, level_wh, region)
    person_WH = contest.labels()
    part_WH = np.zeros_like(person_WH)
    parsing = _Parsing(inference, fused, grid, part_labels)
    crops: list[Crop | None] = []
    for number, (row, region) in enumerate(zip(rows, regions, strict=True), start=1):
        crop = grid.pixels(region)
        inside = slice(crop.left, crop.right), slice(crop.top, crop.bottom)
        own_WH = person_WH[inside] == number
        cv2.copyTo(parsing.parts_of(int(row), region), own_WH.view(np.uint8), part_WH[inside])
        crops.append(tight(own_WH, crop))
    people = [
        _person(inference, fused, int(row), crop, part_labels)
        for row, crop in zip(rows, crops, strict=True)
        if crop is not None
    ]
    return Assembly(tuple(people), LabelMaps(_numbered(person_WH, crops).T, part_WH.T))


def _believable(inference: Inference, *, mask_threshold: float, min_parts: float) -> Inference:
    """The candidates on whose masks, as the network drew them, the parsing sees enough parts.

    This is asked before the parsing changes the masks: what it leaves of a dog's mask would pass.
    """
    parts_Phw = inference.part_probabilities_Phw
    if len(parts_Phw) == 1 or min_parts == 0:
        return inference
    seen_K = (parts_Phw[1:].max(axis=0) > parts_Phw[0]).ravel()
    inside_NK = (inference.masks_Nhw > mask_threshold).reshape(-1, seen_K.size)
    num_seen_N = np.count_nonzero(inside_NK & seen_K, axis=1)
    good_N = num_seen_N >= min_parts * np.count_nonzero(inside_NK, axis=1)
    return Inference(
        boxes_N4=inference.boxes_N4[good_N],
        scores_N=inference.scores_N[good_N],
        embeddings_ND=None if inference.embeddings_ND is None else inference.embeddings_ND[good_N],
        masks_Nhw=inference.masks_Nhw[good_N],
        part_probabilities_Phw=parts_Phw,
    )


def with_parsing(masks_Nhw: FloatArray, part_probabilities_Phw: FloatArray) -> FloatArray:
    """Masks whose odds are the geometric mean of their own and of the parsing's that there is any part.

    The parsing does not know whose a part is, so its say is limited: where a mask has no more than
    `_LEAST_MASK`, the most certain part is not the person's. Without parts, the masks stay as they are.
    """
    if part_probabilities_Phw.shape[0] == 1:
        return masks_Nhw
    nothing_hw = np.clip(part_probabilities_Phw[0], _LEAST_MASK, 1 - _LEAST_MASK)
    mine_Nhw = np.sqrt(masks_Nhw * (1 - nothing_hw))
    not_mine_Nhw = np.sqrt((1 - masks_Nhw) * nothing_hw)
    return np.asarray(mine_Nhw / (mine_Nhw + not_mine_Nhw), np.float32)


def _inside_people(part_probabilities_Phw: FloatArray) -> FloatArray:
    """The parsing as it counts inside people: background has had its say in their masks."""
    if len(part_probabilities_Phw) == 1:
        return part_probabilities_Phw
    inside_Phw = part_probabilities_Phw.copy()
    inside_Phw[0] *= BACKGROUND_SHARE
    return inside_Phw


def _transposed_levels(probabilities_Nhw: FloatArray) -> LevelArray:
    return np.ascontiguousarray(levels(probabilities_Nhw).transpose(0, 2, 1))


def _region(mask_hw: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], grid: Grid) -> Cells:
    """The cells that a person can win in."""
    left, top, width, height = cv2.boundingRect(mask_hw.view(np.uint8))
    return around((slice(left, left + width), slice(top, top + height)), grid.whole)


class _Parsing:
    """The parsing of a frame, and who owns its cells."""

    def __init__(
        self, inference: Inference, fused: fusion.Assembly, grid: Grid, part_labels: Sequence[int]
    ) -> None:
        self._probabilities_Phw = inference.part_probabilities_Phw
        self._levels: dict[int, LevelArray] = {}
        self._owner_wh, self._channel_wh = fused.owner_HW.T, fused.part_map_HW.T
        self._grid, self._part_labels = grid, part_labels

    def parts_of(self, row: int, region: Cells) -> MapArray:
        """The parts of one person over their region, [W, H] of its crop.

        Only what the person has in the network's map contends, background like parts, and only around its own
        cells: nobody is given a part across the border to somebody else.
        """
        contest = Contest(self._grid, self._grid.pixels(region))
        inside = region.slices
        owned_wh = self._owner_wh[inside] == row
        own_wh = (self._channel_wh[inside] + np.uint8(1)) * owned_wh
        for channel, own in enumerate(ndimage.find_objects(own_wh)):
            if own is not None:
                contest.enter(self._part_labels[channel], self._level(channel), around(own, region))
        return contest.labels()

    def _level(self, channel: int) -> LevelArray:
        """A channel's probabilities as whole numbers, [w, h]; most frames show half of the parts."""
        if channel not in self._levels:
            self._levels[channel] = _transposed_levels(self._probabilities_Phw[channel : channel + 1])[0]
        return self._levels[channel]


def _person(
    inference: Inference, fused: fusion.Assembly, row: int, crop: Crop, part_labels: Sequence[int]
) -> FoundPerson:
    left, top, right, bottom = (float(edge) for edge in inference.boxes_N4[row])
    box: Box = (left, top, right, bottom)
    scores = fused.part_scores_NP[row].tolist()
    return FoundPerson(
        score=float(inference.scores_N[row]),
        box_xyxy=box,
        crop=crop,
        embedding_D=None if inference.embeddings_ND is None else inference.embeddings_ND[row],
        part_scores=dict(zip(part_labels[1:], scores[1:], strict=True)),
        own_hw=fused.owner_HW == row,
    )


def _numbered(person_WH: MapArray, crops: Sequence[Crop | None]) -> MapArray:
    """The map with numbers that leave out those who won no pixel."""
    if None not in crops:
        return person_WH
    number = np.zeros(256, np.uint8)
    number[1 : len(crops) + 1] = np.cumsum([crop is not None for crop in crops])
    return np.asarray(cv2.LUT(person_WH, number), np.uint8)
