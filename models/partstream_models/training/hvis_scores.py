"""How good HVISNet is on whole clips: its masks through the match module, by the paper's metrics.

Shape suffixes: H height, W width, C colour channels, N people.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from partstream_core.labels import VOID
from partstream_core.rle import encode
from partstream_core.tracker.tracker import Detection, Tracker
from partstream_evaluation.metrics.tracking import TrackedFrame, identity_scores, mots_scores, overlaps
from partstream_models.data.batches import MIN_PIXELS
from partstream_models.data.scenes.scene import Scene
from partstream_models.networks.hvisnet import HVISNet
from partstream_models.networks.hvisnet_parse import HVISPeople, ParseConfig, parse_images

MASK_THRESHOLD = 0.5


def clips_scores(
    network: HVISNet, clips: Sequence[Sequence[Scene]], *, device: str = "cpu"
) -> dict[str, float]:
    """Means over clips of sMOTSA, MOTSA, MOTSP (the mean IoU of the masks that match) and IDF1."""
    was_training = network.training
    rows = [_clip_scores(network, scenes, device) for scenes in clips]
    network.train(was_training)
    return {name: _mean([row[name] for row in rows]) for name in rows[0]}


def _mean(values: list[float]) -> float:
    """Over clips where there is anything to divide by; zero where there is none."""
    real = [value for value in values if not np.isnan(value)]
    return sum(real) / max(len(real), 1)


def _clip_scores(network: HVISNet, scenes: Sequence[Scene], device: str) -> dict[str, float]:
    video = overlaps([truth_of_scene(scene) for scene in scenes], track(network, scenes, device=device))
    mots = mots_scores(video)
    idf1 = identity_scores(video).idf1
    return {"smotsa": mots.smotsa, "motsa": mots.motsa, "motsp": mots.motsp, "idf1": idf1}


def truth_of_scene(scene: Scene) -> TrackedFrame:
    """A frame's people; those of few pixels are not asked for."""
    identities, masks = [], []
    ignored = scene.instances_HW == VOID
    for row, identity in enumerate(scene.identities_N.tolist(), start=1):
        mask = scene.instances_HW == row
        if np.count_nonzero(mask) < MIN_PIXELS:
            ignored |= mask
            continue
        identities.append(identity)
        masks.append(encode(mask))
    return TrackedFrame(tuple(identities), tuple(masks), encode(ignored) if ignored.any() else None)


def track(network: HVISNet, scenes: Sequence[Scene], *, device: str = "cpu") -> list[TrackedFrame]:
    """The people of each frame of a clip with their identities, as the server's tracker gives them."""
    tracker, tracked = Tracker(), []
    for scene in scenes:
        image = torch.from_numpy(np.ascontiguousarray(scene.image_HWC)).permute(2, 0, 1)[None]
        people = parse_images(network, image.to(device).float() / 127.5 - 1, ParseConfig())[0]
        names = tracker.update(
            [
                Detection((box[0], box[1], box[2], box[3]), score, embedding.cpu().numpy())
                for box, score, embedding in zip(
                    people.boxes_N4.tolist(), people.scores_N.tolist(), people.embeddings_ND, strict=True
                )
            ]
        )
        masks = separate_masks(people, scene.instances_HW.shape)
        known = [number for number, name in enumerate(names) if name is not None]
        tracked.append(
            TrackedFrame(
                tuple(name for name in names if name is not None),
                tuple(encode(np.asfortranarray(masks[number])) for number in known),
            )
        )
    return tracked


def separate_masks(people: HVISPeople, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Masks at the image's size, [N, H, W]: each pixel is the likeliest person's, or nobody's."""
    height, width = size
    if len(people.masks_NHW) == 0:
        return np.zeros((0, height, width), bool)
    full = F.interpolate(
        people.masks_NHW[None].float(), size=(height, width), mode="bilinear", align_corners=False
    )[0]
    best, owner = full.max(dim=0)
    mine = owner == torch.arange(len(full), device=full.device)[:, None, None]
    masks: npt.NDArray[np.bool_] = (mine & (best > MASK_THRESHOLD)).cpu().numpy()
    return masks
