"""Parity of HVISNet's ONNX graphs with the torch network.

Each graph gets the inputs that torch computes for it. Detections are compared at equal locations, not at
equal ranks, because rounding may swap two nearly equal scores. The reference of masks is the blending used in
training, with ROIAlign and pasting by sampling.

Shape suffixes: B batch, C channels, L locations, K chosen detections, R rows (people), H and W network size.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_export.live_parity import CASES, Case, picture, some_boxes
from partstream_export.parity import Difference, OnnxGraph, compare
from partstream_models.networks.blendmask import BASES_STRIDE, blended_logits
from partstream_models.networks.condinst import mask_logits
from partstream_models.networks.fcos import decode_boxes, level_locations
from partstream_models.networks.hvisnet import HVISNet, HVISOutputs, Masks, scores_of
from partstream_models.networks.hvisnet_graphs import pack
from partstream_models.networks.parsing_rcnn import People, paste_masks


def hvisnet_differences(
    network: HVISNet, graphs: Mapping[str, OnnxGraph], *, top_k: int, cases: Sequence[Case] = CASES
) -> list[Difference]:
    """Differences of all outputs in all cases; sets the network to evaluation mode."""
    network.eval()
    differences: list[Difference] = []
    for number, case in enumerate(cases):
        generator = torch.Generator().manual_seed(number)
        with torch.inference_mode():
            image = picture(case, generator)
            levels = network.backbone(image)
            feature, dense = pack(levels), network.heads(levels)
            outputs = graphs["heads"].run({"feature": feature})
            wanted = _chosen(network, dense, case, outputs, top_k=top_k)
            rows = _some_rows(network, dense, case, generator)
            masks = _masks(network, rows, case)
            differences += [
                *compare(
                    "backbone", str(case), {"feature": feature}, graphs["backbone"].run({"image": image})
                ),
                *compare("heads", str(case), wanted, outputs),
                *compare(
                    "heads",
                    str(case),
                    {"scores in order": _best_scores(dense, top_k=top_k)},
                    {"scores in order": outputs["scores"]},
                ),
                *compare("instances", str(case), {"masks": masks}, graphs["instances"].run(rows)),
            ]
    return differences


def _chosen(
    network: HVISNet, dense: HVISOutputs, case: Case, outputs: Mapping[str, Tensor], *, top_k: int
) -> dict[str, Tensor]:
    """Torch's outputs at the locations that the graph selected; padding rows are copied from the graph."""
    locations_L3 = _locations(network, case)
    distance_BKL = torch.cdist(
        outputs["locations"].double(), locations_L3.double().expand(case.batch, -1, -1)
    )
    index_BK = distance_BKL.argmin(dim=2)
    real_BK = torch.arange(top_k).expand_as(index_BK) < len(locations_L3)

    def at(table_BLC: Tensor) -> Tensor:
        return table_BLC.gather(1, index_BK[..., None].expand(-1, -1, table_BLC.shape[2]))

    boxes_BLC = decode_boxes(locations_L3, dense.distances)
    limit = torch.tensor([case.width, case.height] * 2, dtype=boxes_BLC.dtype)
    rows = {
        "boxes": at(torch.minimum(boxes_BLC.clamp(min=0), limit)),
        "locations": at(locations_L3.expand(case.batch, -1, -1)),
        "mask_parameters": at(dense.mask_parameters),
        "embeddings": F.normalize(at(dense.embeddings), dim=-1),
    }
    scores_BK = at(scores_of(dense)[..., None])[..., 0]
    return {
        "scores": torch.where(real_BK, scores_BK, 0.0),
        **{name: torch.where(real_BK[..., None], row, outputs[name]) for name, row in rows.items()},
        "mask_features": dense.mask_features,
    }


def _best_scores(dense: HVISOutputs, *, top_k: int) -> Tensor:
    """The K best scores of each image in order, [B, K]."""
    return F.pad(scores_of(dense), (0, top_k)).sort(dim=1, descending=True).values[:, :top_k]


def _locations(network: HVISNet, case: Case) -> Tensor:
    """x, y and scale of every location, [L, 3]."""
    rows = []
    for level in network.config.levels:
        places_N2 = level_locations(case.height // level.stride, case.width // level.stride, level.stride)
        rows.append(F.pad(places_N2, (0, 1), value=level.scale))
    return torch.cat(rows)


def _some_rows(
    network: HVISNet, dense: HVISOutputs, case: Case, generator: torch.Generator
) -> dict[str, Tensor]:
    """Random inputs of the instances graph: rows of random images at random locations."""
    locations_L3 = _locations(network, case)
    image_R = torch.randint(case.batch, (case.rows,), generator=generator)
    place_R = torch.randint(len(locations_L3), (case.rows,), generator=generator)
    rows = {
        "mask_features": dense.mask_features,
        "mask_parameters": dense.mask_parameters[image_R, place_R],
        "batch_index": image_R,
    }
    if network.config.masks is Masks.CONDINST:
        return rows | {"locations": locations_L3[place_R]}
    return rows | {"boxes": some_boxes(case, generator)}


def _masks(network: HVISNet, rows: Mapping[str, Tensor], case: Case) -> Tensor:
    """Mask probabilities over the whole frame at stride 4, [R, H/4, W/4]."""
    shared, parameters, index_R = rows["mask_features"], rows["mask_parameters"], rows["batch_index"]
    if network.config.masks is Masks.CONDINST:
        return mask_logits(shared, parameters, rows["locations"], index_R, stride=8).sigmoid()
    boxes_R4 = rows["boxes"]
    grids = blended_logits(shared, parameters, boxes_R4, index_R).sigmoid()
    people = People(boxes_R4 / BASES_STRIDE, torch.ones(len(boxes_R4)), grids)
    return paste_masks(people, case.height // BASES_STRIDE, case.width // BASES_STRIDE)
