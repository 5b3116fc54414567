"""ATEN's graphs against the network itself.

Each graph is fed with what torch feeds its own part. What follows a selection is compared for the regions
that the graph selected, and the selection itself for the logits that the graph made: a difference of rounding
between two nearly equal proposals is none of computation.

Shape suffixes: B batch, C channels, R regions or rows (people), H and W network size.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from partstream_export.aten_graphs import candidates_of
from partstream_export.aten_proposals import Proposals
from partstream_export.live_parity import CASES, Case, picture, some_boxes
from partstream_export.parity import Difference, OnnxGraph, compare
from partstream_models.networks.aten import ATEN
from partstream_models.networks.deeplab_v3_plus import FEATURE_STRIDE
from partstream_models.networks.flow_field import propagate
from partstream_models.networks.parsing_rcnn import BoxOutputs, ParsingRCNN, People, paste_masks
from partstream_models.networks.rpn import RPNOutputs

MOST_FRAMES = 4
"""Key frames that are encoded together in the comparison; one more than the paper's."""


def aten_differences(
    network: ATEN,
    shipped: Mapping[str, OnnxGraph],
    probed_heads: OnnxGraph,
    cases: Sequence[Case] = CASES,
) -> list[Difference]:
    """Every output's difference at every size; the network is put into evaluation mode."""
    network.eval()
    differences: list[Difference] = []
    for number, case in enumerate(cases):
        generator = torch.Generator().manual_seed(number)
        with torch.inference_mode():
            image = picture(case, generator)
            feature = network.backbone(image)
            differences += compare(
                "backbone", str(case), {"feature": feature}, shipped["backbone"].run({"image": image})
            )
            differences += _over_time(network, shipped, image, feature, case)
            differences += _of_a_frame(network, shipped["heads"], probed_heads, feature, case)
            differences += _of_people(network, shipped["instances"], feature, case, generator)
    return differences


def _over_time(
    network: ATEN, graphs: Mapping[str, OnnxGraph], image: Tensor, feature: Tensor, case: Case
) -> list[Difference]:
    reference = torch.roll(image, shifts=(3, -5), dims=(2, 3))
    field = network.flow(image, reference)
    assert field.scale_BCHW is not None
    wanted = {"flow": field.flow_B2HW, "scale": field.scale_BCHW}
    propagated = propagate(feature, field)
    differences = compare(
        "flow", str(case), wanted, graphs["flow"].run({"image": image, "reference": reference})
    )
    differences += compare(
        "propagate",
        str(case),
        {"propagated": propagated},
        graphs["propagate"].run({"feature": feature, **wanted}),
    )
    features = [torch.roll(feature, shifts=step, dims=3) for step in range(MOST_FRAMES - 1)] + [propagated]
    for count in range(1, MOST_FRAMES + 1):
        some = features[-count:]
        differences += compare(
            "temporal",
            f"{case}, {count} frames",
            {"encoded": network.encoder(some)},
            graphs["temporal"].run({"features": torch.stack(some, dim=1)}),
        )
    return differences


def _of_a_frame(
    network: ATEN, shipped: OnnxGraph, probed: OnnxGraph, feature: Tensor, case: Case
) -> list[Difference]:
    heads = network.heads
    assert isinstance(heads, ParsingRCNN)
    said = probed.run({"feature": feature})
    dense = heads.rpn(feature)
    part_logits = heads.parsing(feature)
    proposals = _proposals_reference(heads, feature, said, case)
    regions_R4 = said["proposals"].reshape(-1, 4)
    index_R = torch.arange(case.batch).repeat_interleave(said["proposals"].shape[1])
    judged = heads.boxes(feature, regions_R4, index_R)
    found = candidates_of(
        BoxOutputs(
            said["region_logits"].reshape(-1, 2),
            said["region_deltas"].reshape(-1, 1, 4).expand(-1, 2, 4),
        ),
        Proposals(said["proposals"], said["proposal_is_real"] > 0),
        height=case.height,
        width=case.width,
    )
    wanted = {
        "anchor_logits": dense.logits_BA2,
        "anchor_deltas": dense.deltas_BA4,
        "proposals": proposals.boxes_BR4,
        "proposal_is_real": proposals.real_BR.to(feature.dtype),
        "region_logits": judged.logits_R2.reshape(said["region_logits"].shape),
        "region_deltas": judged.deltas_R24[:, 1].reshape(said["region_deltas"].shape),
        "part_logits": part_logits,
    }
    outputs = {
        "boxes": found.boxes_BR4,
        "scores": found.scores_BR,
        "part_probabilities": part_logits.softmax(dim=1),
    }
    return [
        *compare("heads, probed", str(case), wanted, said),
        *compare("heads", str(case), outputs, shipped.run({"feature": feature})),
    ]


def _proposals_reference(
    heads: ParsingRCNN, feature: Tensor, said: Mapping[str, Tensor], case: Case
) -> Proposals:
    """Torch's proposals from the graph's logits; padding rows are copied from the graph."""
    dense = RPNOutputs(said["anchor_logits"], said["anchor_deltas"])
    proposed = heads.proposals(dense, heads.anchors(feature), (case.height, case.width))
    boxes_BR4, real_BR = said["proposals"].clone(), torch.zeros(said["proposals"].shape[:2], dtype=torch.bool)
    for image, rows_R4 in enumerate(proposed):
        boxes_BR4[image, : len(rows_R4)] = rows_R4
        real_BR[image, : len(rows_R4)] = True
    return Proposals(boxes_BR4, real_BR)


def _of_people(
    network: ATEN, graph: OnnxGraph, feature: Tensor, case: Case, generator: torch.Generator
) -> list[Difference]:
    heads = network.heads
    assert isinstance(heads, ParsingRCNN)
    boxes_R4 = some_boxes(case, generator)
    index_R = torch.randint(case.batch, (case.rows,), generator=generator)
    grids = heads.masks(feature, boxes_R4, index_R).sigmoid()
    height, width = case.height // FEATURE_STRIDE, case.width // FEATURE_STRIDE
    people = People(boxes_R4 / FEATURE_STRIDE, torch.ones(case.rows), grids)
    said = graph.run({"feature": feature, "boxes": boxes_R4, "batch_index": index_R})
    return compare("instances", str(case), {"masks": paste_masks(people, height, width)}, said)
