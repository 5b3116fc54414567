"""The live network's graphs against the network itself.

Each graph is fed with what torch feeds its own part. Dense outputs are compared before any selection, and
chosen rows with what torch says at the same location, so that two nearly equal scores may change places.

Shape suffixes: B batch, C channels, H and W network size, L locations, K chosen detections, R rows (people).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_export.live_temporal import temporal_inputs, temporal_reference
from partstream_export.parity import Difference, OnnxGraph, compare
from partstream_models.networks.condinst import mask_logits
from partstream_models.networks.fcos import all_locations, decode_boxes
from partstream_models.networks.live import FEATURE_STRIDE, DenseOutputs, LiveNetwork, select


@dataclass(frozen=True, slots=True)
class Case:
    """Sizes to run at."""

    batch: int
    height: int
    width: int
    rows: int

    def __str__(self) -> str:
        return f"{self.batch}x{self.height}x{self.width}, {self.rows} rows"


CASES = (Case(1, 288, 512, 1), Case(2, 512, 352, 8), Case(3, 64, 64, 17), Case(1, 32, 32, 3))
"""At the last, all locations fit into the K chosen ones, and rows of padding follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveGraphs:
    """The graphs to compare."""

    backbone: OnnxGraph
    heads: OnnxGraph
    probed_heads: OnnxGraph
    """The heads with their probes."""
    instances: OnnxGraph
    over_time: Mapping[str, OnnxGraph] = field(default_factory=dict)
    """`propagate` and `temporal`, where the network has a temporal path."""


def live_differences(
    network: LiveNetwork, graphs: LiveGraphs, *, top_k: int, cases: Sequence[Case] = CASES
) -> list[Difference]:
    """Every output's difference at every size; the network is put into evaluation mode."""
    network.eval()
    differences: list[Difference] = []
    for number, case in enumerate(cases):
        generator = torch.Generator().manual_seed(number)
        with torch.inference_mode():
            differences += _case_differences(network, graphs, case, top_k, generator)
    return differences


def _case_differences(
    network: LiveNetwork, graphs: LiveGraphs, case: Case, top_k: int, generator: torch.Generator
) -> list[Difference]:
    image = picture(case, generator)
    feature = network.backbone(image)
    dense = network.heads(feature, image)
    chosen = select(dense, image, top_k=top_k)
    inputs = {"feature": feature, "image": image}
    backbone = graphs.backbone.run({"image": image})
    heads = graphs.heads.run(inputs)
    chained = graphs.heads.run({"feature": backbone["feature"], "image": image})
    rows = _some_rows(dense, case, generator)
    wanted = _instances_reference(dense, rows, network.mask_stride)
    name = str(case)
    return [
        *compare("backbone", name, {"feature": feature} | _joint_maps(network, image), backbone),
        *compare("heads, dense", name, _dense_reference(dense), graphs.probed_heads.run(inputs)),
        *compare("heads", name, _chosen_reference(dense, case, heads), heads),
        *compare("heads", name, {"scores in order": chosen.scores}, {"scores in order": heads["scores"]}),
        *compare("backbone and heads", name, {"scores": chosen.scores}, chained),
        *compare("instances", name, wanted, graphs.instances.run(rows)),
        *_over_time(network, graphs, image, feature, name, generator),
    ]


def _over_time(
    network: LiveNetwork,
    graphs: LiveGraphs,
    image: Tensor,
    feature: Tensor,
    name: str,
    generator: torch.Generator,
) -> list[Difference]:
    if network.temporal is None:
        return []
    inputs = temporal_inputs(image, feature, generator)
    wanted = temporal_reference(network.temporal, inputs)
    return [
        difference
        for graph, runner in graphs.over_time.items()
        for difference in compare(graph, name, wanted[graph], runner.run(inputs[graph]))
    ]


def picture(case: Case, generator: torch.Generator) -> Tensor:
    """Soft patches with some noise, [B, 3, H, W] in [-1, 1]."""
    size = (case.height, case.width)
    patches = torch.randn(case.batch, 3, case.height // 16, case.width // 16, generator=generator)
    noise = torch.randn(case.batch, 3, *size, generator=generator)
    return (F.interpolate(patches, size, mode="bilinear") + 0.1 * noise).clamp(-1, 1)


def some_boxes(case: Case, generator: torch.Generator) -> Tensor:
    """Boxes anywhere in the frame, some of them at its border and one of all of it, [R, 4]."""
    size = torch.tensor([case.width, case.height], dtype=torch.float32)
    corners = (torch.rand(case.rows, 2, 2, generator=generator) * 1.2 - 0.1).clamp(0, 1) * size
    boxes = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
    boxes[0] = F.pad(size, (2, 0))
    return boxes


def _joint_maps(network: LiveNetwork, image_BCHW: Tensor) -> dict[str, Tensor]:
    if network.joints is None:
        return {}
    _, joints = network.feature_and_joints(image_BCHW)
    return {f"joint_{name}": tensor for name, tensor in joints._asdict().items()}


def _dense_reference(dense: DenseOutputs) -> dict[str, Tensor]:
    return {
        "person_logits": dense.person_logits,
        "distances": dense.distances,
        "centerness_logits": dense.centerness_logits,
        "dense_mask_parameters": dense.mask_parameters,
        "identity_map": dense.identity_map,
        "mask_features": dense.mask_features,
        "part_logits": dense.part_logits,
    }


def _chosen_reference(dense: DenseOutputs, case: Case, heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Torch's outputs at the locations that the graph selected; padding rows are copied from the graph."""
    locations_L3, _ = all_locations(case.height, case.width)
    away_BKL = torch.cdist(heads["locations"].double(), locations_L3.double().expand(case.batch, -1, -1))
    index_BK = away_BKL.argmin(dim=2)
    scores_BL = (dense.person_logits.sigmoid() * dense.centerness_logits.sigmoid()).sqrt()
    real_BK = torch.arange(index_BK.shape[1]).expand_as(index_BK) < len(locations_L3)

    def at(table_BLC: Tensor, name: str | None = None) -> Tensor:
        rows_BKC = table_BLC.gather(1, index_BK[..., None].expand(-1, -1, table_BLC.shape[2]))
        return rows_BKC if name is None else torch.where(real_BK[..., None], rows_BKC, heads[name])

    return {
        "boxes": at(decode_boxes(locations_L3, dense.distances), "boxes"),
        "scores": torch.where(real_BK, at(scores_BL[..., None])[..., 0], 0.0),
        "locations": at(locations_L3.expand(case.batch, -1, -1)),
        "mask_parameters": at(dense.mask_parameters, "mask_parameters"),
        "identity_map": dense.identity_map,
        "mask_features": dense.mask_features,
        "part_probabilities": dense.part_logits.softmax(dim=1),
    }


def _instances_reference(dense: DenseOutputs, rows: Mapping[str, Tensor], stride: int) -> dict[str, Tensor]:
    """Masks and embeddings of the rows, the embeddings by the mean over each mask one by one."""
    logits = mask_logits(
        rows["mask_features"], rows["mask_parameters"], rows["locations"], rows["batch_index"],
        stride=stride, doubled=False,
    )  # fmt: skip
    masks, pooled = logits.sigmoid(), F.avg_pool2d(logits.sigmoid()[:, None], 2)[:, 0]
    if stride == FEATURE_STRIDE:
        pooled = masks
        masks = F.interpolate(logits[:, None], scale_factor=2.0, mode="bilinear", align_corners=False)
        masks = masks[:, 0].sigmoid()
    means = []
    for picture, weights_HW in zip(rows["batch_index"], pooled, strict=True):
        weighted = (dense.identity_map[picture] * weights_HW).sum(dim=(1, 2))
        means.append(weighted / weights_HW.sum().clamp(min=1e-4))
    return {"masks": masks, "embeddings": F.normalize(torch.stack(means), dim=-1)}


def _some_rows(dense: DenseOutputs, case: Case, generator: torch.Generator) -> dict[str, Tensor]:
    """Inputs of the instances graph: people at any locations of any images."""
    locations_L3, _ = all_locations(case.height, case.width)
    image_R = torch.randint(case.batch, (case.rows,), generator=generator)
    place_R = torch.randint(len(locations_L3), (case.rows,), generator=generator)
    return {
        "mask_features": dense.mask_features,
        "identity_map": dense.identity_map,
        "mask_parameters": dense.mask_parameters[image_R, place_R],
        "locations": locations_L3[place_R],
        "batch_index": image_R,
    }
