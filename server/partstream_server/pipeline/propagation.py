"""Features of a stream's frames: computed and encoded at key frames, propagated from them to the others.

Nothing here decides which frame is which; `session.py` does. What must be computed is asked for as engine
requests. Graphs are told what they declare, by name: `propagate` may hold the flow network (then it reads
images and a guess), or take the flow and scale of a graph `flow`.

Shape suffixes: B batch (1 here), T key frames, C channels; H, W the network's input, h, w the feature map.

Source: ATEN (Zhou et al., MM 2018), eqs. 1 to 6 and algorithm 1; h_k = GRU(F_k, propagate(h_{k-1})) where the
bundle's temporal kind is `recurrent`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from partstream_core.joints import JointMaps
from partstream_core.manifest import Manifest
from partstream_core.schedule import FlowSource, ScheduleConfig
from partstream_server.media import BlockMotion
from partstream_server.pipeline.engine_request import EngineRequest, Steps
from partstream_server.pipeline.frame_changes import scene_change
from partstream_server.pipeline.host_flow import host_flow, warp_on_host
from partstream_server.pipeline.inference import View
from partstream_server.pipeline.initial_flow import dis_guess
from partstream_server.pipeline.joints import joint_maps

Tensor = npt.NDArray[Any]
_HALVES = ("half_image", "reference_half_image")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A frame as flow reads it."""

    view: View
    since_key: BlockMotion | None = None
    """Motion to the stream's last key frame, where the source tells it."""


@dataclass(frozen=True, slots=True, eq=False)
class Extracted:
    """Outputs of the backbone for a frame."""

    feature: Tensor
    joints: JointMaps | None
    """None where the bundle has none or they are not wanted."""


@dataclass(frozen=True, slots=True, eq=False)
class Borrowed:
    """A key frame's feature as another frame would have it."""

    feature: Tensor
    flow_B2hw: Tensor
    """From the frame to the key frame, in pixels of the feature map."""
    scale_deviation: float
    """Mean of |scale - 1|; 0 where the flow has no scale map."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyFrame:
    """A key frame: what others borrow."""

    seen: Seen
    raw: Tensor
    """The backbone's feature."""
    encoded: Tensor
    """The feature that its people are read from, and that is handed on."""
    joints: JointMaps | None = None
    """Its joint maps, as long as a frame may still be read with them."""


class Propagation:
    """How a bundle carries features from frame to frame; holds no stream's state."""

    def __init__(
        self, manifest: Manifest, flow: FlowSource = FlowSource.NETWORK, *, joints: bool = True
    ) -> None:
        """Take a bundle's graphs.

        Args:
            manifest: Of the bundle.
            flow: What tells how a frame moved against its key frame.
            joints: Whether joint maps are wanted, where the bundle has them.
        """
        self._manifest, self._flow = manifest, flow
        self._joints = joints and manifest.capabilities.joints > 0
        self.kind = manifest.capabilities.temporal
        """none, window or recurrent."""
        graphs = manifest.graphs
        self._has_flow = "flow" in graphs
        self._read_by_flow = frozenset(
            spec.name for name in ("flow", "propagate") if name in graphs for spec in graphs[name].inputs
        )

    def backbone(self, view: View) -> Steps[Extracted]:
        """The backbone's feature and joint maps of a frame."""
        outputs = yield EngineRequest("backbone", {"image": view.tensor_BCHW})
        return Extracted(outputs["feature"], joint_maps(outputs) if self._joints else None)

    def borrow(self, frame: Seen, key: Seen, feature: Tensor) -> Steps[Borrowed]:
        """A feature of a key frame, carried to another frame."""
        if self._flow is not FlowSource.NETWORK:
            stride = self._manifest.strides.feature
            flow_2hw = host_flow(self._flow, frame.view, key.view, stride=stride, since_key=frame.since_key)
            return Borrowed(warp_on_host(feature, flow_2hw), flow_2hw[None], scale_deviation=0.0)
        told = self._told(frame, key) | {"feature": feature}
        if self._has_flow:
            flow = yield self._request("flow", told)
            told |= flow
        outputs = yield self._request("propagate", told)
        known = told | dict(outputs)
        deviation = known.get("scale_deviation")
        if deviation is None:
            deviation = np.abs(known["scale"] - 1).mean() if "scale" in known else np.zeros(1)
        return Borrowed(self._first(outputs, "propagate"), known["flow"], float(np.mean(deviation)))

    def encode_step(self, feature: Tensor, carried: Tensor) -> Steps[Tensor]:
        """The next state of a recurrent encoder."""
        outputs = yield EngineRequest("temporal", {"feature": feature, "state": carried})
        return self._first(outputs, "temporal")

    def encode_window(self, features: Sequence[Tensor]) -> Steps[Tensor]:
        """One feature of several, in time order, the current one last."""
        stacked_BTChw = np.stack(features, axis=1)
        outputs = yield EngineRequest("temporal", {"features": stacked_BTChw})
        return self._first(outputs, "temporal")

    def _told(self, frame: Seen, key: Seen) -> dict[str, Tensor]:
        wanted = self._read_by_flow
        told = {"image": frame.view.tensor_BCHW, "reference": key.view.tensor_BCHW}
        if not wanted.isdisjoint(_HALVES):
            told |= dict(zip(_HALVES, (frame.view.half_tensor_BCHW, key.view.half_tensor_BCHW), strict=True))
        if "guess" in wanted:
            stride = self._manifest.strides.feature
            told["guess"] = dis_guess(frame.view.half_grey_hw, key.view.half_grey_hw, stride=stride)[None]
        return told

    def _request(self, graph: str, told: Mapping[str, Tensor]) -> EngineRequest:
        return EngineRequest(
            graph, {spec.name: told[spec.name] for spec in self._manifest.graphs[graph].inputs}
        )

    def _first(self, outputs: Mapping[str, Tensor], graph: str) -> Tensor:
        return outputs[self._manifest.graphs[graph].outputs[0].name]


def encode_over(
    propagation: Propagation, frame: Seen, raw: Tensor, neighbours: Sequence[KeyFrame]
) -> Steps[Tensor]:
    """A key frame's feature encoded with other key frames', in time order, its own last (eqs. 3, 4)."""
    features = []
    for key in neighbours:
        borrowed = yield from propagation.borrow(frame, key.seen, key.raw)
        features.append(borrowed.feature)
    return (yield from propagation.encode_window([*features, raw]))


class RecentKeys:
    """The last key frames of a stream: the newest is borrowed from, and a new one is encoded with them.

    Nothing is carried over a cut: key frames of another scene are forgotten.
    """

    def __init__(self, propagation: Propagation, schedule: ScheduleConfig) -> None:
        self._propagation, self._range = propagation, schedule.encoding_range
        self._cut, self._encodes = schedule.triggers.scene_change, schedule.encodes
        self._keys: list[KeyFrame] = []

    @property
    def empty(self) -> bool:
        """Whether there is nothing to borrow from."""
        return not self._keys

    @property
    def last(self) -> KeyFrame:
        """The newest key frame."""
        return self._keys[-1]

    def cut_before(self, view: View) -> bool:
        """Whether a frame is of another scene than the newest key frame."""
        return bool(self._keys) and scene_change(view.scene, self.last.seen.view.scene) >= self._cut

    def start_over(self) -> None:
        """Forget all: the scene is another one."""
        self._keys = []

    def borrow(self, frame: Seen) -> Steps[Borrowed]:
        """The newest key frame's feature, carried to a frame."""
        return self._propagation.borrow(frame, self.last.seen, self.last.encoded)

    def add(self, frame: Seen, carried: Borrowed | None = None) -> Steps[Tensor]:
        """The encoded feature of a new key frame.

        Args:
            frame: The frame.
            carried: The newest key frame's feature carried to it, where that was computed already.
        """
        propagation = self._propagation
        if self.cut_before(frame.view):
            self.start_over()
        extracted = yield from propagation.backbone(frame.view)
        raw = encoded = extracted.feature
        former = [replace(key, joints=None) for key in self._keys[-self._range :]] if self._range else []
        if not self._encodes:
            pass
        elif propagation.kind == "window":
            encoded = yield from encode_over(propagation, frame, raw, former)
        elif self._keys:
            carried = carried or (yield from self.borrow(frame))
            encoded = yield from propagation.encode_step(raw, carried.feature)
        self._keys = [*former, KeyFrame(frame, raw, encoded, extracted.joints)]
        return encoded
