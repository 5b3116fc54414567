"""ATEN's graphs: `backbone`, `flow`, `propagate`, `temporal`, `heads` and `instances`.

All are plain functions; which frame runs which of them is the server's to decide (algorithm 1). The heads put
out every proposal that is left as a candidate, best first: confidence and the last suppression belong to the
server, as with every bundle. Masks are made from the feature map and boxes of those that it keeps.

Shape suffixes: B batch, T key frames, C channels, P parts, R regions or rows (people), h and w feature size
(stride 4), H and W network size (multiples of 32), S cells a side of a region.

Source: ATEN (Zhou et al., MM 2018), section 4.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from partstream_core.labels import NUM_PARTS
from partstream_core.manifest import TensorSpec
from partstream_export.aten_proposals import NEVER, Proposals, at_least_a_pixel, clipped, proposals_of
from partstream_export.aten_regions import regions_of
from partstream_export.folding import folded
from partstream_export.graphs import GraphDefinition, floats, indices
from partstream_models.networks.aten import ATEN, ATENConfig
from partstream_models.networks.conv_gru import ConvGRU
from partstream_models.networks.conv_lstm import ConvLSTM, LSTMState
from partstream_models.networks.deeplab_v3_plus import FEATURE_STRIDE
from partstream_models.networks.flow_field import FlowField, propagate
from partstream_models.networks.flownet_s import FlowNetS
from partstream_models.networks.parsing_rcnn import BOX_CELLS, MASK_CELLS, BoxOutputs, ParsingRCNN
from partstream_models.networks.roi_matrices import spread_regions
from partstream_models.networks.rpn import RPNOutputs, decode_boxes

_SIDES = ("height/4", "width/4")
FLOW = floats("flow", "batch", 2, *_SIDES)


def check_exportable(config: ATENConfig) -> None:
    """Pass if a bundle can be made of such a network.

    Raises:
        ValueError: It has no people, other parts than the service's, or encodes without warping.
    """
    if not config.instances:
        raise ValueError("no bundle can be made of a network without an instance branch: it finds no people")
    if config.heads.num_classes != NUM_PARTS:
        raise ValueError(f"a bundle has {NUM_PARTS} classes of parts, the network {config.heads.num_classes}")
    if not config.aligned:
        raise ValueError("a network that encodes key frames without warping them fits no bundle")


def aten_graphs(network: ATEN) -> tuple[GraphDefinition, ...]:
    """The definitions of all graphs.

    Raises:
        ValueError: No bundle can be made of this network.
    """
    check_exportable(network.config)
    lean = folded(network)
    heads = lean.heads
    assert isinstance(heads, ParsingRCNN)
    return (*_feature_graphs(lean), _heads_graph(heads), _instances_graph(heads))


def _feature_graphs(lean: ATEN) -> tuple[GraphDefinition, ...]:
    channels = lean.config.backbone.channels
    image, feature = torch.zeros(2, 3, 96, 64), torch.zeros(2, channels, 24, 16)
    return (
        GraphDefinition(
            name="backbone",
            module=lean.backbone,
            inputs=(_image("image"),),
            outputs=(_map("feature", channels),),
            example=(image,),
        ),
        GraphDefinition(
            name="flow",
            module=FlowGraph(lean.flow),
            inputs=(_image("image"), _image("reference")),
            outputs=(FLOW, _map("scale", channels)),
            example=(image, image.clone()),  # clones, or the trace takes two inputs for one
        ),
        GraphDefinition(
            name="propagate",
            module=PropagateGraph(),
            inputs=(_map("feature", channels), FLOW, _map("scale", channels)),
            outputs=(_map("propagated", channels),),
            example=(feature, torch.zeros(2, 2, 24, 16), feature.clone()),
        ),
        GraphDefinition(
            name="temporal",
            module=TemporalGraph(lean.encoder),
            inputs=(floats("features", "batch", "frames", channels, *_SIDES),),
            outputs=(_map("encoded", channels),),
            example=(torch.zeros(2, 3, channels, 24, 16),),
        ),
    )


def _heads_graph(heads: ParsingRCNN) -> GraphDefinition:
    config = heads.config
    count = config.rpn.num_proposals
    return GraphDefinition(
        name="heads",
        module=HeadsGraph(heads),
        inputs=(_map("feature", config.channels),),
        outputs=(
            floats("boxes", "batch", count, 4),
            floats("scores", "batch", count),
            _map("part_probabilities", config.num_classes),
        ),
        probes=(
            floats("anchor_logits", "batch", "anchors", 2),
            floats("anchor_deltas", "batch", "anchors", 4),
            floats("proposals", "batch", count, 4),
            floats("proposal_is_real", "batch", count),
            floats("region_logits", "batch", count, 2),
            floats("region_deltas", "batch", count, 4),
            _map("part_logits", config.num_classes),
        ),
        example=(torch.zeros(2, config.channels, 24, 16),),
    )


def _instances_graph(heads: ParsingRCNN) -> GraphDefinition:
    channels = heads.config.channels
    boxes_R4 = torch.tensor([[0.0, 0.0, 8.0, 8.0]]).repeat(5, 1)
    return GraphDefinition(
        name="instances",
        module=InstancesGraph(heads),
        inputs=(_map("feature", channels), floats("boxes", "rows", 4), indices("batch_index", "rows")),
        outputs=(floats("masks", "rows", *_SIDES),),
        example=(torch.zeros(2, channels, 24, 16), boxes_R4, torch.zeros(5, dtype=torch.int64)),
    )


class FlowGraph(nn.Module):
    """Flow from a frame to a reference frame, and the scale map."""

    def __init__(self, flow: FlowNetS) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, image_B3HW: Tensor, reference_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Flow in pixels of the feature map, [B, 2, h, w], and factors, [B, C, h, w]."""
        field: FlowField = self.flow(image_B3HW, reference_B3HW)
        assert field.scale_BCHW is not None
        return field.flow_B2HW, field.scale_BCHW


class PropagateGraph(nn.Module):
    """A reference frame's feature as the current frame would have it."""

    def forward(self, feature_BChw: Tensor, flow_B2hw: Tensor, scale_BChw: Tensor) -> Tensor:
        """The propagated feature (eq. 6)."""
        return propagate(feature_BChw, FlowField(flow_B2hw, scale_BChw, ()))


class TemporalGraph(nn.Module):
    """One feature of any number of key frames'."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features_BTChw: Tensor) -> Tensor:
        """The encoded feature of warped features in time order, the current frame's last (eq. 4)."""
        mean_BChw = features_BTChw.mean(dim=1)
        if not isinstance(self.encoder, ConvGRU | ConvLSTM):
            return mean_BChw
        features_TBChw = features_BTChw.transpose(0, 1)
        if isinstance(self.encoder, ConvGRU):
            state, _ = scan(self._gru_step, mean_BChw, features_TBChw)
            encoded: Tensor = state
            return encoded
        (encoded, _), _ = scan(self._lstm_step, (mean_BChw, mean_BChw.clone()), features_TBChw)
        return encoded

    # a step of a scan has to say something on the way; a number is the least

    def _gru_step(self, state_BChw: Tensor, feature_BChw: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(self.encoder, ConvGRU)
        state: Tensor = self.encoder.cell(feature_BChw, state_BChw)
        return state, state.mean()

    def _lstm_step(
        self, state: tuple[Tensor, Tensor], feature_BChw: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        assert isinstance(self.encoder, ConvLSTM)
        hidden, cell = self.encoder.cell(feature_BChw, LSTMState(*state))
        return (hidden, cell), hidden.mean()


class Candidates(NamedTuple):
    """Of each image, best first; rows of filling are all 0."""

    boxes_BR4: Tensor
    scores_BR: Tensor


class HeadsGraph(nn.Module):
    """The `heads` graph: candidates and parts, then the probes."""

    def __init__(self, heads: ParsingRCNN) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, feature_BChw: Tensor) -> tuple[Tensor, ...]:
        """Outputs and probes, in the order of the definition."""
        heads, config = self.heads, self.heads.config
        height, width = (side * config.rpn.stride for side in feature_BChw.shape[-2:])
        dense: RPNOutputs = heads.rpn(feature_BChw)
        anchors_A4 = heads.anchors(feature_BChw)
        proposals = proposals_of(dense, anchors_A4, height=height, width=width, config=config.rpn)
        judged = self._judge(feature_BChw, proposals.boxes_BR4)
        found = candidates_of(judged, proposals, height=height, width=width)
        part_logits_BPhw = heads.parsing(feature_BChw)
        return (
            found.boxes_BR4,
            found.scores_BR,
            part_logits_BPhw.softmax(dim=1),
            dense.logits_BA2,
            dense.deltas_BA4,
            proposals.boxes_BR4,
            proposals.real_BR.to(feature_BChw.dtype),
            judged.logits_R2.reshape(*proposals.real_BR.shape, 2),
            judged.deltas_R24[:, 1].reshape(*proposals.real_BR.shape, 4),
            part_logits_BPhw,
        )

    def _judge(self, feature_BChw: Tensor, boxes_BR4: Tensor) -> BoxOutputs:
        """Class and refinement of each region of each image, image after image."""
        batch, count = boxes_BR4.shape[:2]
        index_BR = torch.arange(batch, device=boxes_BR4.device)[:, None].expand(batch, count)
        regions = regions_of(
            feature_BChw,
            boxes_BR4.reshape(-1, 4),
            index_BR.reshape(-1),
            size=BOX_CELLS,
            stride=self.heads.config.rpn.stride,
        )
        x = self.heads.box_head(regions)
        return BoxOutputs(self.heads.classify(x), self.heads.refine(x).reshape(-1, 2, 4))


class InstancesGraph(nn.Module):
    """The `instances` graph: masks of chosen people, wherever in the batch they are."""

    def __init__(self, heads: ParsingRCNN) -> None:
        super().__init__()
        self.mask_head = heads.mask_head

    def forward(self, feature_BChw: Tensor, boxes_R4: Tensor, batch_index_R: Tensor) -> Tensor:
        """Mask probabilities over the whole frame at stride 4, [R, h, w]; zero outside the box."""
        height, width = feature_BChw.shape[-2:]
        regions = regions_of(feature_BChw, boxes_R4, batch_index_R, size=MASK_CELLS, stride=FEATURE_STRIDE)
        masks_RSS = self.mask_head(regions).sigmoid()
        return spread_regions(masks_RSS, boxes_R4 / FEATURE_STRIDE, height=height, width=width)


def candidates_of(judged: BoxOutputs, proposals: Proposals, *, height: int, width: int) -> Candidates:
    """The refined proposals of each image by their scores."""
    deltas_BR4 = judged.deltas_R24[:, 1].reshape(proposals.boxes_BR4.shape)
    boxes_BR4 = clipped(decode_boxes(deltas_BR4, proposals.boxes_BR4), height=height, width=width)
    surer_BR = (judged.logits_R2[:, 1] - judged.logits_R2[:, 0]).reshape(proposals.real_BR.shape)
    good_BR = proposals.real_BR & at_least_a_pixel(boxes_BR4)
    surer_BR, order_BR = torch.where(good_BR, surer_BR, NEVER).topk(surer_BR.shape[1], dim=1)
    good_BR1 = (surer_BR > NEVER)[..., None]
    boxes_BR4 = boxes_BR4.gather(1, order_BR[..., None].expand(-1, -1, 4)) * good_BR1
    return Candidates(boxes_BR4, surer_BR.sigmoid() * good_BR1[..., 0])


def _image(name: str) -> TensorSpec:
    return floats(name, "batch", 3, "height", "width")


def _map(name: str, channels: int) -> TensorSpec:
    return floats(name, "batch", channels, *_SIDES)
