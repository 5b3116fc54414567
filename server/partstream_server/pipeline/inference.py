"""From an image to candidate people: resize, normalise, run the graphs, suppress doubles.

Shape suffixes: B batch (1 here), K the graph's fixed number of candidates, N kept candidates, R rows of the
`instances` graph, P parts and background, D embedding; H, W the network's input, h, w its maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.manifest import BATCH_INDEX, InputSpec, Manifest, Normalisation
from partstream_core.nms import non_maximum_suppression
from partstream_server.pipeline.engine_request import EngineRequest, Steps
from partstream_server.pipeline.frame_changes import SceneView, scene_view
from partstream_server.pipeline.values import FloatArray, Inference

_FEWEST_ROWS = 8


@dataclass(frozen=True, slots=True)
class InferConfig:
    """Thresholds that make a detection a candidate."""

    score_threshold: float
    nms_threshold: float
    max_people: int


class View:
    """A frame as the network sees it; what not every bundle reads is made when it is asked for.

    The frame is resized to its network size and padded, on the right and below, to one of a few shapes that
    graphs are compiled for.
    """

    def __init__(
        self, image: npt.NDArray[np.uint8], manifest: Manifest, *, pixel_aspect: float = 1.0
    ) -> None:
        """Resize a frame.

        Args:
            image: RGB.
            manifest: Of the bundle.
            pixel_aspect: Width of a pixel against its height: the network sees the picture as it is shown.
        """
        self.height, self.width = image.shape[:2]
        self.content_width, self.content_height = network_size(
            self.width * pixel_aspect, self.height, manifest.input
        )
        """Size of the frame inside the padded one."""
        shown = shrink(image, width=self.content_width, height=self.content_height)
        padded_width, padded_height = padded_size(self.content_width, self.content_height, manifest.input)
        below, right = padded_height - self.content_height, padded_width - self.content_width
        self._small = shown
        if below or right:
            mean = tuple(float(value) for value in manifest.normalisation.mean)
            padded = cv2.copyMakeBorder(shown, 0, below, 0, right, cv2.BORDER_CONSTANT, value=mean)
            self._small = np.asarray(padded, np.uint8)
        self._normalisation = manifest.normalisation

    @cached_property
    def tensor_BCHW(self) -> FloatArray:
        """The normalised image: four times as large as its pixels, so it is made when it is needed."""
        return to_tensor(self._small, self._normalisation)

    def content_of(self, map_XHW: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of a map over the padded frame, [..., H, W], that lies over the frame itself."""
        height, width = self._small.shape[:2]
        rows = map_XHW.shape[-2] * self.content_height // height
        columns = map_XHW.shape[-1] * self.content_width // width
        return map_XHW[..., :rows, :columns]

    def over_padding(self, map_XHW: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A map over the frame, [..., H, W], with zeros over the padding."""
        height, width = self._small.shape[:2]
        rows, columns = map_XHW.shape[-2:]
        below = rows * height // self.content_height - rows
        right = columns * width // self.content_width - columns
        return np.pad(map_XHW, [(0, 0)] * (map_XHW.ndim - 2) + [(0, below), (0, right)])

    def release_tensors(self) -> None:
        """Free the normalised images; they are made again where they are asked for."""
        for name in ("tensor_BCHW", "half_tensor_BCHW"):
            self.__dict__.pop(name, None)

    @cached_property
    def _half(self) -> npt.NDArray[np.uint8]:
        height, width = self._small.shape[:2]
        return np.asarray(
            cv2.resize(self._small, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8
        )

    @cached_property
    def half_tensor_BCHW(self) -> FloatArray:
        """The normalised image at half size."""
        return to_tensor(self._half, self._normalisation)

    @cached_property
    def quarter_hw3(self) -> npt.NDArray[np.uint8]:
        """The image at a quarter of the network's size, RGB."""
        height, width = self._small.shape[:2]
        return np.asarray(
            cv2.resize(self._half, (width // 4, height // 4), interpolation=cv2.INTER_AREA), np.uint8
        )

    def picture(self, size: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """The frame at the size of a map that covers it, RGB, uint8 [*size, 3]."""
        content_3hw = self.content_of(np.moveaxis(self.quarter_hw3, 2, 0))
        content_hw3 = np.ascontiguousarray(np.moveaxis(content_3hw, 0, 2))
        height, width = size
        if content_hw3.shape[:2] == (height, width):
            return content_hw3
        return np.asarray(cv2.resize(content_hw3, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    @cached_property
    def scene(self) -> SceneView:
        """Description of the frame for scene-cut detection."""
        return scene_view(self.quarter_hw3)

    @cached_property
    def half_grey_hw(self) -> npt.NDArray[np.uint8]:
        """The grey image at half size."""
        return np.asarray(cv2.cvtColor(self._half, cv2.COLOR_RGB2GRAY), np.uint8)


def infer(image: npt.NDArray[np.uint8], manifest: Manifest, config: InferConfig) -> Steps[Inference]:
    """Ask for the graphs of a frame by itself and return what they found in an RGB image."""
    view = View(image, manifest)
    backbone = yield EngineRequest("backbone", {"image": view.tensor_BCHW})
    return (yield from run_heads(view, backbone["feature"], manifest, config))


def run_heads(
    view: View, feature: npt.NDArray[Any], manifest: Manifest, config: InferConfig
) -> Steps[Inference]:
    """Ask for the heads of a frame's feature, and return what they found."""
    network_height, network_width = view.tensor_BCHW.shape[-2:]
    inputs = {"feature": feature}
    if any(spec.name == "image" for spec in manifest.graphs["heads"].inputs):
        inputs["image"] = view.tensor_BCHW
    heads = yield EngineRequest("heads", inputs)
    boxes_K4, scores_K = _inside(view, heads["boxes"][0], heads["scores"][0])
    kept_N = candidates(boxes_K4, scores_K, config)
    map_size = network_height // manifest.strides.masks, network_width // manifest.strides.masks
    if len(kept_N) == 0:
        instances: Mapping[str, npt.NDArray[Any]] = {"masks": np.zeros((0, *map_size), np.float32)}
    else:
        rows = instance_rows({**heads, "feature": feature}, kept_N, manifest)
        instances = yield EngineRequest("instances", rows)
    limits = np.array([view.width, view.height] * 2, np.float32)
    scale = limits / np.array([view.content_width, view.content_height] * 2, np.float32)
    parts = heads["part_probabilities"][0] if manifest.capabilities.parts else np.ones((1, *map_size))
    return Inference(
        boxes_N4=np.clip(boxes_K4[kept_N] * scale, 0, limits),
        scores_N=heads["scores"][0][kept_N],
        embeddings_ND=_embeddings(heads, instances, kept_N, manifest.capabilities.embedding),
        masks_Nhw=view.content_of(instances["masks"][: len(kept_N)]),
        part_probabilities_Phw=view.content_of(np.asarray(parts, np.float32)),
    )


def _inside(view: View, boxes_K4: FloatArray, scores_K: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Boxes and scores, the scores of people whose middle lies in the padding set to zero."""
    middle_K2 = (boxes_K4[:, :2] + boxes_K4[:, 2:]) / 2
    inside_K = (middle_K2 < (view.content_width, view.content_height)).all(axis=1)
    return boxes_K4, np.where(inside_K, scores_K, 0).astype(np.float32)


def _embeddings(
    heads: Mapping[str, npt.NDArray[Any]],
    instances: Mapping[str, npt.NDArray[Any]],
    kept_N: npt.NDArray[np.int64],
    dimension: int | None,
) -> FloatArray | None:
    """Embeddings of the kept people: made with their masks, or read where they were detected."""
    if dimension is None:
        return None
    if "embeddings" in heads:
        return np.asarray(heads["embeddings"][0][kept_N], np.float32)
    if len(kept_N) == 0:
        return np.zeros((0, dimension), np.float32)
    return np.asarray(instances["embeddings"][: len(kept_N)], np.float32)


def network_size(width: float, height: float, spec: InputSpec) -> tuple[int, int]:
    """Width and height of the network's input for a source.

    The longer side is what the bundle says; each side is rounded to the nearest multiple, and at least one.
    """
    scale = spec.longer_side / max(width, height)
    return _rounded(width * scale, spec.multiple), _rounded(height * scale, spec.multiple)


PADDED_SHARES = (3 / 16, 6 / 16, 9 / 16, 11 / 16, 12 / 16, 1.0)
"""Shorter sides that graphs are compiled for, against the longer one: 16:9, 3:2, 4:3, 1:1, two narrow ones.

Every further one takes memory for as long as pictures of such shapes come.
"""


def padded_size(width: int, height: int, spec: InputSpec) -> tuple[int, int]:
    """Width and height of the smallest compiled shape that holds a network size."""
    longer, shorter = max(width, height), min(width, height)
    steps = [_rounded(share * spec.longer_side, spec.multiple) for share in PADDED_SHARES]
    padded = min((step for step in steps if step >= shorter), default=shorter)
    return (longer, padded) if width >= height else (padded, longer)


def _rounded(side: float, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)


def shrink(image: npt.NDArray[np.uint8], *, width: int, height: int) -> npt.NDArray[np.uint8]:
    """The image at another size, halved by averages first so that a bilinear step never skips pixels."""
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def to_tensor(image: npt.NDArray[np.uint8], normalisation: Normalisation) -> FloatArray:
    """(pixel - mean) / std of an RGB image, [1, 3, H, W], in the bundle's order of colours."""
    levels = np.arange(256, dtype=np.float64)
    channels = range(3) if normalisation.colour == "rgb" else range(2, -1, -1)
    tensor_BCHW = np.empty((1, 3, *image.shape[:2]), np.float32)
    for position, channel in enumerate(channels):
        table = ((levels - normalisation.mean[position]) / normalisation.std[position]).astype(np.float32)
        tensor_BCHW[0, position] = cv2.LUT(cv2.extractChannel(image, channel), table)
    return tensor_BCHW


def candidates(boxes_K4: FloatArray, scores_K: FloatArray, config: InferConfig) -> npt.NDArray[np.int64]:
    """Indices of the candidates that are good enough and not doubles, best first."""
    good_N = np.flatnonzero(scores_K >= config.score_threshold)
    kept_N = non_maximum_suppression(
        boxes_K4[good_N], scores_K[good_N], iou_threshold=config.nms_threshold, max_kept=config.max_people
    )
    return good_N[kept_N]


def instance_rows(
    known: Mapping[str, npt.NDArray[Any]], kept_N: npt.NDArray[np.int64], manifest: Manifest
) -> dict[str, npt.NDArray[Any]]:
    """Inputs of the `instances` graph, padded with the last row to one of few numbers of rows.

    Args:
        known: What `heads` put out, and the feature.
        kept_N: Candidates of the one image.
        manifest: Says which inputs are rows and which are maps.

    The numbers are 8, 16, 32, ... up to `most`, so that an engine of static shapes compiles few of them.
    """
    num_rows = _FEWEST_ROWS
    while num_rows < len(kept_N):
        num_rows *= 2
    num_rows = max(len(kept_N), min(num_rows, manifest.top_k))
    rows_R = np.pad(kept_N, (0, num_rows - len(kept_N)), mode="edge")
    rows: dict[str, npt.NDArray[Any]] = {name: known[name][0][rows_R] for name in manifest.instance_rows}
    rows[BATCH_INDEX] = np.zeros(num_rows, np.int64)
    return rows | {name: known[name] for name in manifest.instance_maps}
