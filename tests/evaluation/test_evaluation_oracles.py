"""Metrics against TrackEval and pycocotools on random input.

J and F are not here: TrackEval's want scikit-image. They have their own oracles beside their tests.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from partstream_core.rle import Rle, area, encode, encode_label_map, iou_matrix
from partstream_evaluation.metrics.average_precision import PictureOverlaps, average_precision
from partstream_evaluation.metrics.hota import hota_scores
from partstream_evaluation.metrics.tracking import (
    TrackedFrame,
    VideoOverlaps,
    identity_scores,
    mots_scores,
    overlaps,
)

trackeval = pytest.importorskip("trackeval", reason="TrackEval is the oracle")
SIZE = (40, 60)


def random_track(rng: np.random.Generator, num_frames: int) -> list[dict[int, tuple[int, int, int, int]]]:
    """Rectangles that drift, and are now and then away."""
    frames: list[dict[int, tuple[int, int, int, int]]] = [{} for _ in range(num_frames)]
    for identity in range(1, 5):
        y, x = rng.integers(0, 26), rng.integers(0, 46)
        height, width = rng.integers(6, 14), rng.integers(6, 14)
        for frame in frames:
            y, x = np.clip(y + rng.integers(-2, 3), 0, 30), np.clip(x + rng.integers(-2, 3), 0, 50)
            if rng.random() < 0.8:
                frame[identity] = (int(y), int(x), int(height), int(width))
    return frames


def drawn(objects: dict[int, tuple[int, int, int, int]], ignored: Rle | None = None) -> TrackedFrame:
    """The objects as masks without overlap: the first has the pixel."""
    owner = np.zeros(SIZE, np.int64)
    for identity, (y, x, height, width) in objects.items():
        here = owner[y : y + height, x : x + width]
        here[here == 0] = identity
    masks = encode_label_map(owner, objects)
    return TrackedFrame(tuple(masks), tuple(masks.values()), ignored)


def random_video(seed: int, *, with_ignored: bool = False) -> tuple[list[TrackedFrame], list[TrackedFrame]]:
    """A truth, and a tracker that sees it shakily, swaps names and makes people up."""
    rng = np.random.default_rng(seed)
    num_frames = int(rng.integers(3, 9))
    truth, found = [], []
    rename = {1: 1, 2: 2, 3: 3, 4: 4}
    ghosts = random_track(rng, num_frames)
    for frame, ghost in zip(random_track(rng, num_frames), ghosts, strict=True):
        if rng.random() < 0.2:
            rename[1], rename[2] = rename[2], rename[1]
        region = np.zeros(SIZE, bool)
        region[:, int(rng.integers(20, 50)) :] = True
        truth.append(drawn(frame, encode(region) if with_ignored else None))
        seen = {rename[each]: box for each, box in frame.items() if rng.random() < 0.85}
        seen = {
            each: (max(y + int(rng.integers(-2, 3)), 0), max(x + int(rng.integers(-2, 3)), 0), h, w)
            for each, (y, x, h, w) in seen.items()
        }
        seen |= {each + 10: box for each, box in ghost.items() if rng.random() < 0.2}
        found.append(drawn(seen))
    return truth, found


def trackeval_data(video: VideoOverlaps) -> dict[str, Any]:
    """A video as TrackEval's metrics take it."""
    return {
        "num_timesteps": len(video.frames),
        "num_gt_ids": video.num_truth,
        "num_tracker_ids": video.num_predicted,
        "num_gt_dets": sum(len(frame.truth_T) for frame in video.frames),
        "num_tracker_dets": sum(len(frame.predicted_P) for frame in video.frames),
        "gt_ids": [frame.truth_T for frame in video.frames],
        "tracker_ids": [frame.predicted_P for frame in video.frames],
        "similarity_scores": [frame.iou_TP for frame in video.frames],
    }


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_mots_idf1_and_hota_agree_with_trackeval(seed: int) -> None:
    video = overlaps(*random_video(seed))
    assume(
        all((frame.iou_TP != 0.5).all() for frame in video.frames)
    )  # there TrackEval matches, MOTS does not
    data = trackeval_data(video)
    quiet = {"PRINT_CONFIG": False}
    clear = trackeval.metrics.CLEAR(quiet).eval_sequence(data)
    scores = mots_scores(video)
    counts = (clear["CLR_TP"], clear["CLR_FP"], clear["CLR_FN"], clear["IDSW"])
    assert counts == (
        scores.num_true_positives,
        scores.num_false_positives,
        scores.num_false_negatives,
        scores.num_switches,
    )
    if data["num_gt_dets"] and data["num_tracker_dets"]:
        assert (scores.smotsa, scores.motsa) == pytest.approx((clear["sMOTA"], clear["MOTA"]), abs=1e-9)
        if scores.num_true_positives:
            assert scores.motsp == pytest.approx(clear["MOTP"], abs=1e-9)
        identity = trackeval.metrics.Identity(quiet).eval_sequence(data)
        ours = identity_scores(video)
        assert (ours.idf1, ours.precision, ours.recall) == pytest.approx(
            (identity["IDF1"], identity["IDP"], identity["IDR"]), abs=1e-9
        )
        hota = trackeval.metrics.HOTA().eval_sequence(data)
        theirs = [float(np.mean(hota[name])) for name in ("HOTA", "DetA", "AssA")]
        mine = hota_scores(video)
        assert [mine.hota, mine.detection, mine.association] == pytest.approx(theirs, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_regions_to_ignore_agree_with_trackeval(seed: int) -> None:
    """TrackEval's own preprocessing of KITTI MOTS, then its metrics."""
    truth, found = random_video(seed, with_ignored=True)
    pairs = list(zip(truth, found, strict=True))
    assume(all((iou_matrix(true.masks, each.masks) != 0.5).all() for true, each in pairs))
    raw = {
        "num_timesteps": len(truth),
        "seq": "0000",
        "gt_ids": [np.array(each.identities, np.int64) for each in truth],
        "gt_classes": [np.full(len(each.masks), 2) for each in truth],
        "gt_dets": [coco_masks(each.masks) for each in truth],
        "gt_ignore_region": [coco_masks([each.ignored])[0] for each in truth if each.ignored is not None],
        "tracker_ids": [np.array(each.identities, np.int64) for each in found],
        "tracker_classes": [np.full(len(each.masks), 2) for each in found],
        "tracker_dets": [coco_masks(each.masks) for each in found],
        "similarity_scores": [iou_matrix(true.masks, each.masks) for true, each in pairs],
    }
    kind = trackeval.datasets.KittiMOTS
    dataset = kind.__new__(kind)  # its constructor looks for the whole data set on disk
    dataset.class_name_to_class_id = {"pedestrian": "2"}
    data = dataset.get_preprocessed_seq_data(raw, "pedestrian")
    clear = trackeval.metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)
    scores = mots_scores(overlaps(truth, found))
    assert scores.num_false_positives == clear["CLR_FP"]
    if data["num_gt_dets"] and data["num_tracker_dets"]:
        assert scores.smotsa == pytest.approx(clear["sMOTA"], abs=1e-9)


def test_some_random_videos_have_somebody_in_a_region_to_ignore() -> None:
    """Else the oracle would agree with a region that is never looked at."""
    num_extra = [0, 0]
    for seed in range(12):
        truth, found = random_video(seed, with_ignored=True)
        unheeding = [TrackedFrame(frame.identities, frame.masks) for frame in truth]
        for at, frames in enumerate((truth, unheeding)):
            num_extra[at] += mots_scores(overlaps(frames, found)).num_false_positives
    assert num_extra[0] < num_extra[1]


def coco_masks(masks: Iterable[Rle]) -> list[dict[str, Any]]:
    """Masks as pycocotools takes them."""
    return [{"size": [mask.height, mask.width], "counts": mask.counts} for mask in masks]


def coco_of(tmp_path: Path, pictures: list[list[NDArray[np.bool_]]]) -> COCO:
    """A COCO data set of people."""
    annotations: list[dict[str, Any]] = []
    for image, masks in enumerate(pictures, start=1):
        for mask in masks:
            rle = encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": area(rle),
                    "bbox": [0, 0, 1, 1],
                    "segmentation": {"size": [*SIZE], "counts": rle.counts},
                }
            )
    images = [{"id": at + 1, "height": SIZE[0], "width": SIZE[1]} for at in range(len(pictures))]
    path = tmp_path / "truth.json"
    categories = [{"id": 1, "name": "person"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return COCO(str(path))


@pytest.mark.parametrize("seed", range(12))
def test_strict_ap_agrees_with_pycocotools_to_its_grid(seed: int, tmp_path: Path) -> None:
    """Masks lie apart, so that both speak for the same true mask; COCO reads precision at 101 recalls."""
    rng = np.random.default_rng(seed)
    truths, answers, pictures = [], [], []
    for image in range(1, 5):
        truth, scores, masks = [], [], []
        for cell in range(4):
            y, x = (cell // 2) * 20 + 2, (cell % 2) * 30 + 2
            mask = np.zeros(SIZE, bool)
            mask[y : y + 14, x : x + 20] = True
            if rng.random() < 0.8:
                truth.append(mask)
            if rng.random() < 0.8:
                masks.append(np.roll(mask, int(rng.integers(0, 9)), axis=1))
                scores.append(float(rng.random()))
        truths.append(truth)
        pictures.append(
            PictureOverlaps(
                np.array(scores), iou_matrix([encode(m) for m in masks], [encode(m) for m in truth])
            )
        )
        answers += [
            {
                "image_id": image,
                "category_id": 1,
                "score": score,
                "segmentation": {"size": [*SIZE], "counts": encode(mask).counts},
            }
            for score, mask in zip(scores, masks, strict=True)
        ]
    coco = coco_of(tmp_path, truths)
    run = COCOeval(coco, coco.loadRes(answers), "segm")
    run.evaluate()
    run.accumulate()
    for at, threshold in ((0, 0.5), (5, 0.75), (8, 0.9)):
        theirs = float(run.eval["precision"][at, :, 0, 0, 2].mean())
        ours = average_precision(pictures, threshold=threshold - 1e-9)
        assert ours == pytest.approx(theirs, abs=1 / 101 + 1e-9)
