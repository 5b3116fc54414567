"""What each module of the self-supervised framework adds, on composed clips with exact masks.

A light Seg Module and a light Pose2Seg Module learn from sharp clips. They are then judged on other clips of
three frames whose middle frame is blurred and dark, each clip adapted to itself.

Shape suffixes: T frames (3), N people, J joints, H height, W width, C colour channels.

Source: "A Self-Supervised Framework for Human Instance Segmentation", Tables 3 and 5.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import Clip
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.selfsupervised.algorithm import PoseModule
from partstream_models.selfsupervised.gbsr import GBSRConfig, PosedFrame, refine_clip
from partstream_models.selfsupervised.segmentation import (
    SKELETON_CHANNELS,
    Labelled,
    PoseSegmenter,
    Segmenter,
    TuneConfig,
    to_tensor,
)
from partstream_models.selfsupervised.tpr import Refined, TPRConfig, labels_of
from partstream_models.selfsupervised.tpr import refine_clip as refine_parsing

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]

_MIDDLE = 1
_CLEAR = 0.4
"""Score of joints whose place is taken for true."""
_LIMBS = tuple(range(5, 17))
"""Joints that are hidden: of body and limbs, not of the face."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectionsConfig:
    """Size of the experiment."""

    size: tuple[int, int] = (192, 256)
    """Height and width of the clips; masks are half as large."""
    num_learned: int = 30
    """Clips that the modules learn from."""
    num_judged: int = 12
    num_steps: int = 200
    """Steps of each module before it is adapted."""
    rate: float = 5e-4
    """Learning rate of these steps."""
    rounds: tuple[int, ...] = (1, 3, 5)
    """N_TPR of the table."""
    tune: TuneConfig = field(default_factory=lambda: TuneConfig(num_steps=4, batch=3, rate=1e-4))
    blur: float = 2.5
    """Standard deviation of the middle frame's blur, in pixels."""
    brightness: float = 0.55
    hidden: float = 0.14
    """Side of the square that hides a joint, against the height of the frame."""
    near: float = 0.1
    """A joint is found within this distance, in diagonals of the person's joints."""
    clip: ClipConfig = field(
        default_factory=lambda: ClipConfig(
            num_frames=3, max_people=3, empty_share=0, smallest_person=0.5, largest_person=0.95,
            upper_body_share=0, lying_share=0, group_share=1, leaving_share=0, cut_share=0, garment_share=0,
        )
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.clip.num_frames != 3 or min(self.num_learned, self.num_judged) < 1 or not self.rounds:
            raise ValueError("clips have three frames, and there is at least one to learn from and to judge")


@dataclass(frozen=True, slots=True)
class Directions:
    """Figures of one seed."""

    person_iou: dict[str, float]
    """IoU of people in the damaged middle frames, by what was used."""
    joints_found: dict[str, float]
    """Share of the hidden joints that are found where they are, by what was used."""
    joints_kept: dict[str, float]
    """Share of the joints that are not hidden and are found where they are."""


@dataclass(frozen=True, slots=True, eq=False)
class _Half:
    """A clip at half its size."""

    images_THWC: UInt8Array
    labels_THW: UInt8Array


def damage(image_HWC: UInt8Array, *, blur: float, brightness: float) -> UInt8Array:
    """The picture blurred and dark."""
    blurred = cv2.GaussianBlur(image_HWC, (0, 0), blur)
    return np.asarray(blurred.astype(np.float32) * brightness, np.float32).round().astype(np.uint8)


def measure(
    photos: PhotoCache,
    *,
    seed: int,
    light: PoseModule,
    published: Callable[[], PoseModule],
    make_network: Callable[[int], nn.Module],
    config: DirectionsConfig | None = None,
) -> Directions:
    """All figures of one seed.

    Args:
        photos: Where composed people come from.
        seed: Of clips, weights and batches.
        light: Finds the joints that skeletons are drawn from, and true places in undamaged frames.
        published: Makes a Pose Module as downloaded; it learns.
        make_network: Makes a segmentation network of two classes with so many channels after RGB.
        config: Size of the experiment.
    """
    config = config or DirectionsConfig()
    draws = ClipDraws(photos=photos, size=config.size, clip=config.clip, seed=seed)
    learned = [draws.of_draw(number) for number in range(config.num_learned)]
    judged = draws.to_judge(config.num_judged)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    halves = [_halved(clip) for clip in learned]
    images = np.concatenate([half.images_THWC for half in halves])
    labels = np.concatenate([half.labels_THW for half in halves])
    people = [_scaled(frame) for clip in learned for frame in light.find(clip.images_THWC)]
    first = TuneConfig(num_steps=config.num_steps, batch=6, rate=config.rate)
    seg = Segmenter(make_network(0), first, rng)
    seg.fine_tune(images, labels)
    pose2seg = PoseSegmenter(make_network(SKELETON_CHANNELS), first, rng)
    pose2seg.fine_tune(images, people, labels)
    replay = Labelled(to_tensor(images), labels)
    ious = _person_ious(judged, seg, pose2seg, replay, light, config, rng)
    found, kept = _joints(judged, light, published, config, rng)
    return Directions(ious, found, kept)


def _person_ious(
    clips: Sequence[Clip],
    seg: Segmenter,
    pose2seg: PoseSegmenter,
    replay: Labelled,
    light: PoseModule,
    config: DirectionsConfig,
    rng: np.random.Generator,
) -> dict[str, float]:
    overlaps: dict[str, list[tuple[int, int]]] = {}
    last = max(config.rounds)
    for clip in clips:
        half = _halved(clip)
        images, whole = half.images_THWC.copy(), clip.images_THWC.copy()
        images[_MIDDLE] = damage(images[_MIDDLE], blur=config.blur / 2, brightness=config.brightness)
        whole[_MIDDLE] = damage(whole[_MIDDLE], blur=config.blur, brightness=config.brightness)
        adapted = Segmenter(copy.deepcopy(seg.network), config.tune, rng, replay)
        answers = {"Seg Module": labels_of(adapted.activations(images))}
        kept: dict[int, Refined] = {}
        refine_parsing(images, adapted, TPRConfig(num_rounds=last), after_round=kept.__setitem__)
        answers |= {f"TPR, {number} rounds": kept[number].labels_THW for number in config.rounds}
        frames = light.find(whole)
        own = [_scaled(frame) for frame in frames]
        refined = [_halved_joints(rows) for rows in refine_clip(frames)]
        for name, people in (("joints as found", own), ("joints after GBSR", refined)):
            both = kept[last].activations_TCHW + pose2seg.activations(images, people)
            answers[f"TPR, {last} rounds, and Pose2Seg, {name}"] = labels_of(both)
        truth = half.labels_THW[_MIDDLE] == 1
        for name, labels in answers.items():
            found = labels[_MIDDLE] == 1
            overlaps.setdefault(name, []).append((int((found & truth).sum()), int((found | truth).sum())))
    return {
        name: sum(each[0] for each in rows) / max(sum(each[1] for each in rows), 1)
        for name, rows in overlaps.items()
    }


def _joints(
    clips: Sequence[Clip],
    light: PoseModule,
    published: Callable[[], PoseModule],
    config: DirectionsConfig,
    rng: np.random.Generator,
) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of hidden joints and of the others that are found in the middle frame."""
    hits: dict[str, list[bool]] = {}
    others: dict[str, list[bool]] = {}
    for clip in clips:
        truth = true_joints(clip, light.find(clip.images_THWC[:1])[0].people_NJ3)
        images, hidden = hide_joints(clip.images_THWC, truth, round(config.hidden * config.size[0]), rng)
        modules: dict[str, PoseModule] = {"MoveNet": light, "PoseNet": published()}
        for name, module in modules.items():
            people = {name: [frame.people_NJ3 for frame in module.find(images)]}
            for number in (1, 2):
                people[f"{name}, N_GBSR = {number}"] = rows = refine_clip(module.find(images), GBSRConfig())
                module.fine_tune(images, rows)
            for key, rows in people.items():
                found = joints_found(rows[_MIDDLE], truth, near=config.near)
                hits.setdefault(key, []).extend(found[hidden].tolist())
                seen = (truth[..., 2] >= _CLEAR) & ~hidden
                others.setdefault(key, []).extend(found[seen].tolist())
    return _shares(hits), _shares(others)


def _shares(hits: dict[str, list[bool]]) -> dict[str, float]:
    return {name: float(np.mean(rows)) if rows else float("nan") for name, rows in hits.items()}


def true_joints(clip: Clip, people_NJ3: Float32Array) -> Float32Array:
    """Joints of the first frame's people, carried to the middle frame along exact flow, [N, J, 3].

    Joints whose place the middle frame does not show, or which lie on nobody, have score 0.

    Args:
        clip: The clip.
        people_NJ3: Joints found in its first frame as it was drawn.
    """
    flow = clip.flow(0, _MIDDLE)
    height, width = flow.visible_HW.shape
    moved = people_NJ3.copy()
    x = np.rint(people_NJ3[..., 0]).astype(np.int64).clip(0, width - 1)
    y = np.rint(people_NJ3[..., 1]).astype(np.int64).clip(0, height - 1)
    moved[..., :2] += flow.flow_HW2[y, x]
    moved[..., 2] *= flow.visible_HW[y, x] & (clip.instances_THW[0][y, x] > 0)
    return moved


def hide_joints(
    images_THWC: UInt8Array, truth_NJ3: Float32Array, side: int, rng: np.random.Generator
) -> tuple[UInt8Array, BoolArray]:
    """The frames with a third of the clear joints covered in the middle one, and which these are, [N, J].

    A joint is covered by a square of one colour. Others that it covers, too, count as hidden.
    """
    images = images_THWC.copy()
    height, width = images.shape[1:3]
    hidden = np.zeros(truth_NJ3.shape[:2], bool)
    for person, joints in enumerate(truth_NJ3):
        clear = [joint for joint in _LIMBS if joints[joint, 2] >= _CLEAR]
        for joint in rng.choice(clear, size=len(clear) // 3, replace=False).tolist() if clear else ():
            left, top = (round(float(each)) - side // 2 for each in joints[joint, :2])
            area = (slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width)))
            images[_MIDDLE][area] = rng.integers(0, 256, 3)
            away = np.abs(truth_NJ3[..., :2] - joints[joint, :2]).max(axis=-1)
            hidden |= (away <= side / 2) & (truth_NJ3[..., 2] >= _CLEAR)
            assert hidden[person, joint]
    return images, hidden


def joints_found(people_NJ3: Float32Array, truth_NJ3: Float32Array, *, near: float) -> BoolArray:
    """Whether anybody has the joint there, [N, J] of the truth.

    Args:
        people_NJ3: Joints that were found; those below .3 are none.
        truth_NJ3: True joints.
        near: Greatest distance, in diagonals of the true person's joints.
    """
    found = np.zeros(truth_NJ3.shape[:2], bool)
    for person, joints in enumerate(truth_NJ3):
        clear = joints[:, 2] >= _CLEAR
        if not clear.any() or not len(people_NJ3):
            continue
        reach = near * float(np.linalg.norm(np.ptp(joints[clear, :2], axis=0)))
        away = np.linalg.norm(people_NJ3[..., :2] - joints[:, :2], axis=-1)
        found[person] = ((away <= reach) & (people_NJ3[..., 2] >= 0.3)).any(axis=0)
    return found


def _halved(clip: Clip) -> _Half:
    height, width = clip.parts_THW.shape[1:]
    size = (width // 2, height // 2)
    images = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in clip.images_THWC]
    labels = (clip.instances_THW[:, ::2, ::2] > 0).astype(np.uint8)
    return _Half(np.stack(images).astype(np.uint8), labels[:, : size[1], : size[0]])


def _scaled(frame: PosedFrame) -> Float32Array:
    return _halved_joints(frame.people_NJ3)


def _halved_joints(people_NJ3: Float32Array) -> Float32Array:
    halved = people_NJ3.copy()
    halved[..., :2] /= 2
    return halved
