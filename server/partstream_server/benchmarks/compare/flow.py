"""The bundle's flow, OpenCV's DIS and none: `python -m partstream_server.benchmarks.compare.flow`.

On made clips of held-out people: endpoint error against the exact flow, where what is seen is seen in both
frames. On real clips: the mean difference of grey values after warping. All flows are compared as a feature
map has them: means over its cells.

Shape suffixes: H, W the network's input; h, w the feature map; the 2 of a flow is (x, y), in input pixels.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import typer

from partstream_evaluation.composite.plan import draw_plan
from partstream_evaluation.composite.recipe import published
from partstream_evaluation.composite.render import render_flow
from partstream_evaluation.composite.source import read_source
from partstream_evaluation.composite.truth import make_benchmark
from partstream_evaluation.metrics.flicker import carried
from partstream_server.engine import Engine, create_engine
from partstream_server.media import open_video
from partstream_server.pipeline.engine_request import Steps
from partstream_server.pipeline.inference import View
from partstream_server.pipeline.initial_flow import dis_flow, dis_guess
from partstream_server.pipeline.propagation import Propagation, Seen
from partstream_server.pipeline.session import drive

Flow: TypeAlias = npt.NDArray[np.float32]
Image: TypeAlias = npt.NDArray[np.uint8]
Errors: TypeAlias = defaultdict[tuple[int, str], list[float]]

GAPS = (1, 2, 3, 5, 10)
_EVERY = 6
"""Frames from one pair to the next."""
_SEEN = 0.5
"""Least share of a cell that is seen in both frames."""


class Estimators:
    """Ways to find flow between two frames, each [2, h, w] in input pixels."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._manifest = engine, engine.bundle.manifest
        self._propagation = Propagation(self._manifest)
        self._medium = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.stride = self._manifest.strides.feature

    def flows(self, current: Image, reference: Image) -> dict[str, Flow]:
        """Every estimate for one pair, by name."""
        now, then = View(current, self._manifest), View(reference, self._manifest)
        guess_2qr = dis_guess(now.half_grey_hw, then.half_grey_hw, stride=self.stride) * self.stride
        guess_2hw = np.stack([pooled(part, 2) for part in guess_2qr])
        greys = [cv2.cvtColor(_input(image, now), cv2.COLOR_RGB2GRAY) for image in (current, reference)]
        start_HW2 = np.zeros((*greys[0].shape, 2), np.float32)
        medium_HW2 = np.asarray(self._medium.calc(greys[0], greys[1], start_HW2), np.float32)
        return {
            "network": drive(self._network(now, then), self._engine),
            "flow `dis`": dis_flow(now.half_grey_hw, then.half_grey_hw, stride=self.stride) * self.stride,
            "the network's guess": guess_2hw,
            "DIS medium": np.stack([pooled(part, self.stride) for part in np.moveaxis(medium_HW2, 2, 0)]),
            "none": np.zeros_like(guess_2hw),
        }

    def _network(self, now: View, then: View) -> Steps[Flow]:
        height, width = (side // self.stride for side in now.tensor_BCHW.shape[-2:])
        feature = np.zeros((1, self._manifest.channels.feature, height, width), np.float32)
        borrowed = yield from self._propagation.borrow(Seen(now), Seen(then), feature)
        return np.asarray(borrowed.flow_B2hw[0] * self.stride, np.float32)


def main(
    videos: Annotated[list[Path] | None, typer.Argument(help="Real clips.")] = None,
    data: Annotated[Path | None, typer.Option(help="The CCP folder: exact flow of made clips.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="By default the one that ships.")] = None,
    clips: Annotated[Path, typer.Option(help="Where made clips are kept.")] = Path("build/composite"),
    precision: Annotated[str, typer.Option(help="Arithmetic of the graphs.")] = "auto",
) -> None:
    """Print endpoint errors on made clips and grey differences on real ones, by gap in frames, as JSON."""
    estimators = Estimators(create_engine(bundle, precision=precision))
    found: dict[str, object] = {}
    if data is not None:
        found["endpoint_error_px"] = _means(made_errors(data, clips, estimators))
    for video in videos or ():
        found[f"grey difference, {video.name}"] = _means(real_errors(video, estimators))
    typer.echo(json.dumps(found, indent=1))


def made_errors(data: Path, clips_dir: Path, estimators: Estimators) -> Errors:
    """Endpoint errors by gap and estimate, one a pair."""
    recipe = published().recipe
    source = read_source(data, recipe)
    benchmark = make_benchmark(clips_dir, recipe, lambda: source)
    errors: Errors = defaultdict(list)
    for clip in benchmark.clips:
        plan = draw_plan(recipe, clip, source.people, recipe.attempts[clip.number])
        people_THW = benchmark.truth(clip).instances_THW
        with open_video(benchmark.frames(clip)) as reader:
            images = [frame.image for frame in reader]
        for now, then in _pairs(len(images)):
            flow_HW2 = render_flow(plan, now, then)
            came_HW, there_HW = carried(people_THW[then], flow_HW2)
            seen_HW = there_HW & (came_HW == people_THW[now])
            for name, error in _endpoint_errors(images, now, then, flow_HW2, seen_HW, estimators).items():
                errors[abs(now - then), name].append(error)
    return errors


def _endpoint_errors(
    images: Sequence[Image],
    now: int,
    then: int,
    flow_HW2: Flow,
    seen_HW: npt.NDArray[np.bool_],
    estimators: Estimators,
) -> dict[str, float]:
    flows = estimators.flows(images[now], images[then])
    height, width = (side * estimators.stride for side in flows["none"].shape[1:])
    scale = np.array([width / flow_HW2.shape[1], height / flow_HW2.shape[0]], np.float32)
    seen_big_HW = np.asarray(cv2.resize(seen_HW.astype(np.float32), (width, height)), np.float32)
    seen_hw = pooled(seen_big_HW, estimators.stride)
    true_HW2 = cv2.resize(flow_HW2 * scale * seen_HW[..., None], (width, height))
    true_2hw = np.stack([pooled(part, estimators.stride) for part in np.moveaxis(true_HW2, 2, 0)])
    good_hw = seen_hw > _SEEN
    true_2hw /= np.maximum(seen_hw, _SEEN)
    return {
        name: float(np.linalg.norm(found_2hw - true_2hw, axis=0)[good_hw].mean())
        for name, found_2hw in flows.items()
    }


def real_errors(video: Path, estimators: Estimators, *, max_frames: int = 150) -> Errors:
    """Mean grey differences after warping by gap and estimate, one a pair."""
    with open_video(video) as reader:
        images = [frame.image for frame in islice(reader, max_frames)]
    errors: Errors = defaultdict(list)
    for now, then in _pairs(len(images)):
        flows = estimators.flows(images[now], images[then])
        height, width = (side * estimators.stride for side in flows["none"].shape[1:])
        greys = [
            np.asarray(cv2.cvtColor(cv2.resize(images[at], (width, height)), cv2.COLOR_RGB2GRAY), np.float32)
            for at in (now, then)
        ]
        for name, flow_2hw in flows.items():
            x_HW, y_HW = (cv2.resize(part, (width, height)) for part in flow_2hw)
            x_HW = x_HW + np.arange(width, dtype=np.float32)
            y_HW = y_HW + np.arange(height, dtype=np.float32)[:, None]
            inside_HW = (x_HW >= 0) & (x_HW <= width - 1) & (y_HW >= 0) & (y_HW <= height - 1)
            warped_HW = cv2.remap(greys[1], x_HW, y_HW, cv2.INTER_LINEAR)
            errors[abs(now - then), name].append(float(np.abs(warped_HW - greys[0])[inside_HW].mean()))
    return errors


def _pairs(num_frames: int) -> Iterator[tuple[int, int]]:
    """Pairs of frames of every gap, the current one before and behind the reference by turns."""
    for gap in GAPS:
        for turn, first in enumerate(range(0, num_frames - gap, _EVERY)):
            yield (first, first + gap) if turn % 2 else (first + gap, first)


def pooled(values_HW: npt.NDArray[np.floating], stride: int) -> Flow:
    """Means over the cells of a map."""
    height, width = (side // stride for side in values_HW.shape)
    cells = values_HW[: height * stride, : width * stride].reshape(height, stride, width, stride)
    return np.asarray(cells.mean(axis=(1, 3)), np.float32)


def _input(image: Image, view: View) -> Image:
    height, width = view.tensor_BCHW.shape[-2:]
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _means(errors: Errors) -> Mapping[str, Mapping[str, float]]:
    """Mean error by gap, and over all, and by estimate."""
    names = list(dict.fromkeys(name for _, name in errors))
    rows = {
        f"gap {gap}": {name: round(float(np.mean(errors[gap, name])), 3) for name in names}
        for gap in GAPS
        if errors[gap, names[0]]
    }
    everything = {name: [each for gap in GAPS for each in errors[gap, name]] for name in names}
    return {**rows, "all": {name: round(float(np.mean(values)), 3) for name, values in everything.items()}}


if __name__ == "__main__":
    typer.run(main)
