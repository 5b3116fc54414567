"""Training task of DyeNet: a few frames in a row of one clip, with masks and identities of their people.

Both modules learn from the same draw. Re-MP starts from the truth of the first frame and is trained through
all steps; boxes come from the truth of the former frame along the flow, moved a little. Re-ID sees the boxes
of all people in all frames: a mask each, and embeddings that are pulled together for one person and apart for
others.

The paper gives no losses: cross-entropy and dice of masks, and a softmax over cosine similarities with all
other boxes of the draw (temperature .1), are ours.

Shape suffixes: T frames, N people, R boxes, E embedding, H and W image size, m cells a side.

Source: Li and Loy (ECCV 2018), section 2.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_core.labels import VOID
from partstream_models.data.batches import MIN_PIXELS
from partstream_models.data.initial_flow import QUICK, dis_guess
from partstream_models.networks.dyenet import DyeNet
from partstream_models.networks.dyenet_boxes import (
    box_of_mask,
    crop_masks,
    flow_image,
    warp_mask,
    warp_state,
)

UInt8Array = npt.NDArray[np.uint8]
TEMPERATURE = 0.1
MAX_TARGETS = 3
"""People of a draw whose masks are propagated."""
_MOVED = 0.08
"""Standard deviation of a box's place and size in training, against its size."""
_STRIDE_OF_GUESS = 8
"""Image pixels of one unit of `dis_guess`."""


@dataclass(frozen=True, slots=True, eq=False)
class DyeNetDraw:
    """Frames in a row and what they show."""

    images: Tensor
    """[T, 3, H, W] in [-1, 1]."""
    flows: Tensor
    """Way from each frame to the one before it, zeros for the first, in image pixels, [T, 2, H, W]."""
    instances: Tensor
    """Row + 1 of the person at each pixel, the same in all frames; 0 nobody, 255 void; uint8 [T, H, W]."""
    num_people: int

    def to(self, device: str) -> "DyeNetDraw":
        """The draw on a device."""
        return DyeNetDraw(
            self.images.to(device), self.flows.to(device), self.instances.to(device), self.num_people
        )


class DyeNetSource(Protocol):
    """Where draws come from."""

    def draw(self, number: int) -> DyeNetDraw:
        """The draw of that number, which follows from the number alone."""
        ...


def dis_flow(current_HWC: UInt8Array, former_HWC: UInt8Array) -> Tensor:
    """Way from the current frame to the former one by DIS (the paper: FlowNet 2), image pixels, [2, H, W]."""
    height, width = current_HWC.shape[:2]
    coarse = dis_guess(current_HWC, former_HWC, QUICK) * _STRIDE_OF_GUESS
    planes = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in coarse]
    return torch.from_numpy(np.stack(planes).astype(np.float32))


def draw_of_frames(images: list[UInt8Array], instances: list[UInt8Array], num_people: int) -> DyeNetDraw:
    """A draw of frames in a row of one size."""
    flows = [torch.zeros(2, *images[0].shape[:2])]
    flows += [dis_flow(current, former) for former, current in pairwise(images)]
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return DyeNetDraw(stacked, torch.stack(flows), torch.from_numpy(np.stack(instances)), num_people)


def features_of(network: DyeNet, images_T3HW: Tensor, flows_T2HW: Tensor) -> Tensor:
    """Feature maps of frames, with the flow as second stream where the network has two."""
    second = flow_image(flows_T2HW) if network.flow_trunk is not None else None
    found: Tensor = network.features(images_T3HW, second)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class DyeNetTask:
    """DyeNet learning from draws."""

    network: DyeNet
    source: DyeNetSource
    seed: int = 1
    device: str = "cpu"

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of the draw of that number; a draw without people has none that learn."""
        draw = self.source.draw(step).to(self.device)
        rng = np.random.default_rng((self.seed, step))
        features = features_of(self.network, draw.images, draw.flows)
        terms = {"mask": features.sum() * 0.0}
        terms |= propagation_losses(self.network, features, draw, rng)
        terms |= identity_losses(self.network, features, draw, rng)
        return terms


def moved_box(
    box_4: Tensor, rng: np.random.Generator, size: tuple[int, int], scale: float = _MOVED
) -> Tensor:
    """The box at a slightly other place and size, inside the picture."""
    height, width = size
    middle, half = (box_4[:2] + box_4[2:]) / 2, (box_4[2:] - box_4[:2]) / 2
    shift, growth = rng.normal(0, scale, 2), np.exp(rng.normal(0, scale, 2))
    middle = middle + half * middle.new_tensor(shift)
    half = half * half.new_tensor(growth)
    limits = half.new_tensor([width, height])
    low = torch.minimum((middle - half).clamp(min=0), limits - 4)
    return torch.cat([low, torch.maximum(torch.minimum(middle + half, limits), low + 4)])


def propagation_losses(
    network: DyeNet, features_TChw: Tensor, draw: DyeNetDraw, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Loss of masks that are propagated from the first frame through all others, trained through time."""
    height, width = draw.instances.shape[-2:]
    rows = _visible_rows(draw, 0)
    if not rows or len(draw.images) == 1:
        return {}
    chosen = rng.permutation(rows)[:MAX_TARGETS].tolist()
    losses = []
    for row in chosen:
        truth_THW = (draw.instances == row).float()
        known_THW = (draw.instances != VOID).float()
        box = box_of_mask(truth_THW[0])
        assert box is not None
        first = torch.zeros(1, dtype=torch.int64, device=box.device)
        region = network.regions(features_TChw[:1], box[None], first)
        state = network.propagate.start_state(
            region, crop_masks(truth_THW[:1], box[None], network.config.cells)
        )
        for frame in range(1, len(draw.images)):
            found = box_of_mask(warp_mask(truth_THW[frame - 1], draw.flows[frame]))
            if found is None:
                break
            current = moved_box(found, rng, (height, width))
            warped = warp_state(state, box[None], current[None], draw.flows[frame])
            region = network.regions(features_TChw[frame : frame + 1], current[None], first)
            step = network.propagate(warped, region)
            state, box = step.state_RDmm, current
            losses.append(_box_loss(step.mask_logits_Rmm, truth_THW, known_THW, current[None], [frame]))
    return {"propagate": torch.stack(losses).mean()} if losses else {}


def identity_losses(
    network: DyeNet, features_TChw: Tensor, draw: DyeNetDraw, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Losses of the Re-ID module: masks of the boxes of all people, and embeddings that tell them apart."""
    height, width = draw.instances.shape[-2:]
    boxes, frames, people = [], [], []
    for frame in range(len(draw.images)):
        for row in _visible_rows(draw, frame):
            box = box_of_mask((draw.instances[frame] == row).float())
            assert box is not None
            boxes.append(moved_box(box, rng, (height, width)))
            frames.append(frame)
            people.append(row)
    if not boxes:
        return {}
    boxes_R4 = torch.stack(boxes)
    index_R = torch.tensor(frames, device=boxes_R4.device)
    found = network.identify(network.regions(features_TChw, boxes_R4, index_R))
    rows_R = torch.tensor(people, device=boxes_R4.device)
    truth = (draw.instances[index_R] == rows_R[:, None, None]).float()
    known = (draw.instances[index_R] != VOID).float()
    terms = {"mask": _box_loss(found.mask_logits_Rmm, truth, known, boxes_R4, list(range(len(boxes))))}
    terms |= {"identity": embedding_loss(found.embeddings_RE, rows_R)}
    return terms


def embedding_loss(embeddings_RE: Tensor, people_R: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy of finding the same person among all other boxes, over boxes that have one; else zero."""
    similarity = embeddings_RE.float() @ embeddings_RE.float().T / temperature
    itself = torch.eye(len(people_R), dtype=torch.bool, device=people_R.device)
    same = (people_R[:, None] == people_R) & ~itself
    asked = same.any(dim=1)
    if not asked.any():
        return embeddings_RE.sum() * 0.0
    likelihood = similarity.masked_fill(itself, -torch.inf).log_softmax(dim=1)
    right = likelihood.masked_fill(~same, -torch.inf).logsumexp(dim=1)
    return -right[asked].mean()


def _visible_rows(draw: DyeNetDraw, frame: int) -> list[int]:
    counts = torch.bincount(draw.instances[frame].flatten().long(), minlength=draw.num_people + 1)
    return [row for row in range(1, draw.num_people + 1) if int(counts[row]) >= MIN_PIXELS]


def _box_loss(
    logits_Rmm: Tensor, truth_THW: Tensor, known_THW: Tensor, boxes_R4: Tensor, frames: list[int]
) -> Tensor:
    """Cross-entropy and dice of masks against truth at the cells of their boxes; void cells do not count."""
    cells = logits_Rmm.shape[-1]
    truth, known = (crop_masks(maps[frames], boxes_R4, cells) for maps in (truth_THW, known_THW))
    logits = logits_Rmm.float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * known
    share = logits.sigmoid() * known
    truth = truth * known
    overlap, total = (share * truth).sum(dim=(1, 2)), (share.square() + truth.square()).sum(dim=(1, 2))
    dice = 1 - 2 * overlap / total.clamp(min=1e-3)
    return entropy.sum() / known.sum().clamp(min=1) + dice.mean()
