"""The papers' networks behind the service: bundles of small random ones, run as any other bundle."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from partstream_core.errors import BundleError
from partstream_core.manifest import MANIFEST_NAME, load_manifest, sha256_of
from partstream_core.results import FrameResult
from partstream_core.schedule import ScheduleConfig, ScheduleMode
from partstream_models.networks.aten import ATEN
from partstream_models.networks.clip_features import AdaptiveTemporalEncoding, DeepFeatureFlow
from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.engine import Engine, create_engine
from partstream_server.media import Frame
from partstream_server.pipeline.driver import drive
from partstream_server.pipeline.engine_request import EngineOutputs, EngineRequest, Steps
from partstream_server.pipeline.inference import View
from partstream_server.pipeline.schedule_choice import choose_schedule
from partstream_server.pipeline.session import ParsedFrame, Session, SessionConfig, warm_up
from tests.export.papers_networks import (
    LONGER_SIDE,
    lively_aten,
    lively_hvisnet,
    write_tiny_aten,
    write_tiny_hvisnet,
)
from tests.server.media_fixtures import clip
from tests.server.running_server import Running, serving

WIDTH, HEIGHT = LONGER_SIDE, 96
"""The size of the network's input too, so that nothing is resized."""
pytestmark = pytest.mark.slow  # two exports before the first test
PAPER = ScheduleConfig(mode=ScheduleMode.PAPER, interval=3, encoding_range=2)


@dataclass(frozen=True)
class AtenBundle:
    """A network and its bundle."""

    network: ATEN
    folder: Path


@pytest.fixture(scope="module")
def aten(tmp_path_factory: pytest.TempPathFactory) -> AtenBundle:
    network, folder = lively_aten(), tmp_path_factory.mktemp("aten") / "bundle"
    write_tiny_aten(folder, network)
    return AtenBundle(network, folder)


@pytest.fixture(scope="module")
def hvisnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hvisnet") / "bundle"
    write_tiny_hvisnet(folder, lively_hvisnet())
    return folder


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def aten_engine(aten: AtenBundle, request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = create_engine(aten.folder, provider=request.param, precision="f32", num_threads=1)
    yield engine
    engine.close()


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def hvisnet_engine(hvisnet: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = create_engine(hvisnet, provider=request.param, precision="f32", num_threads=1)
    yield engine
    engine.close()


@pytest.fixture
def aten_server(aten_engine: Engine, tmp_path: Path) -> Iterator[Running]:
    with serving(aten_engine, tmp_path / "work") as running:
        yield running
        running.check_unharmed()


@pytest.fixture
def hvisnet_server(hvisnet_engine: Engine, tmp_path: Path) -> Iterator[Running]:
    with serving(hvisnet_engine, tmp_path / "work") as running:
        yield running
        running.check_unharmed()


@dataclass
class Followed:
    """What a session asked of an engine, and what it said of the frames."""

    engine: Engine
    runs: Counter[str] = field(default_factory=Counter)
    parts: list[npt.NDArray[Any]] = field(default_factory=list)
    """Of each frame in order, [P, H/4, W/4]."""
    results: list[FrameResult] = field(default_factory=list)

    def parse(self, schedule: ScheduleConfig, frames: Sequence[Frame]) -> "Followed":
        session = Session(self.engine.bundle.manifest, SessionConfig(schedule=schedule))
        for frame in frames:
            self._drive(session.push(frame, frame.index * 40.0))
        self._drive(session.finish())
        return self

    def _drive(self, steps: Steps[Sequence[ParsedFrame]]) -> None:
        def keep(request: EngineRequest, outputs: EngineOutputs) -> None:
            self.runs[request.graph] += 1
            if request.graph == "heads":
                self.parts.append(np.asarray(outputs["part_probabilities"])[0])

        self.results += [parsed.result for parsed in drive(steps, self.engine, on_run=keep)]

    @property
    def keys(self) -> str:
        """K for a key frame, - for one that borrows."""
        return "".join("K" if result.key_frame else "-" for result in self.results)


def walk(num_frames: int) -> list[Frame]:
    return [Frame(n, n / 25, scene(WIDTH, HEIGHT, 2 * n), 1 / 25) for n in range(num_frames)]


def images_of(frames: Sequence[Frame], engine: Engine) -> torch.Tensor:
    """What the network sees of the frames, [T, 3, H, W]."""
    views = [View(frame.image, engine.bundle.manifest) for frame in frames]
    return torch.from_numpy(np.concatenate([view.tensor_BCHW for view in views]))


def test_the_service_runs_algorithm_1(aten: AtenBundle, aten_engine: Engine) -> None:
    """Key frames, the number of runs of each graph, and every frame's parts as torch has them."""
    frames = walk(10)
    followed = Followed(aten_engine).parse(PAPER, frames)
    assert followed.keys == "-K--K--K-K"
    assert [result.index for result in followed.results] == list(range(10))
    assert (followed.runs["backbone"], followed.runs["temporal"], followed.runs["heads"]) == (4, 4, 10)
    assert followed.runs["flow"] == followed.runs["propagate"] == 8 + 6
    method = AdaptiveTemporalEncoding(length=3, encoding_range=2)
    with torch.no_grad():
        wanted = {
            frame: aten.network.part_logits(feature).softmax(dim=1)[0].numpy()
            for frame, feature in method.features(aten.network, images_of(frames, aten_engine))
        }
    moved = np.abs(wanted[0] - wanted[9]).max()
    for frame, parts in enumerate(followed.parts):
        assert np.abs(parts - wanted[frame]).max() < 1e-3 * max(1, moved), frame
    assert moved > 0.05


def test_without_encoding_a_causal_schedule_is_deep_feature_flow(
    aten: AtenBundle, aten_engine: Engine
) -> None:
    """What propagation alone computes: the mean and the GRU of a single key frame see just it."""
    frames = walk(7)
    schedule = ScheduleConfig(mode=ScheduleMode.CAUSAL, interval=3)
    followed = Followed(aten_engine).parse(schedule, frames)
    assert followed.keys == "K--K--K"
    assert followed.runs["flow"] == 4

    class Alone:
        """The network with the GRU of one key frame after the backbone."""

        def backbone(self, image: torch.Tensor) -> torch.Tensor:
            return aten.network.encode(image, aten.network.backbone(image), [])

        propagate = staticmethod(aten.network.propagate)

    with torch.no_grad():
        features = DeepFeatureFlow(length=3).features(Alone(), images_of(frames, aten_engine))  # type: ignore[arg-type]
        for frame, feature in features:
            wanted = aten.network.part_logits(feature).softmax(dim=1)[0].numpy()
            assert np.abs(followed.parts[frame] - wanted).max() < 1e-3, frame


def test_files_have_the_papers_schedule_and_live_streams_one_that_never_waits(aten: AtenBundle) -> None:
    manifest = load_manifest(aten.folder)
    assert choose_schedule(manifest, mode=None, interval=None, live=False) == PAPER
    causal = replace(PAPER, mode=ScheduleMode.CAUSAL)
    assert choose_schedule(manifest, mode=None, interval=None, live=True) == causal


@pytest.mark.parametrize("mode", ["causal", "adaptive"])
def test_a_stream_that_cannot_wait_encodes_with_former_key_frames(aten_engine: Engine, mode: str) -> None:
    schedule = ScheduleConfig(mode=ScheduleMode(mode), interval=3, encoding_range=2)
    followed = Followed(aten_engine).parse(schedule, walk(7))
    assert [result.index for result in followed.results] == list(range(7))
    num_keys = followed.keys.count("K")
    assert followed.keys[0] == "K"
    assert followed.runs["backbone"] == followed.runs["temporal"] == num_keys
    assert followed.runs["flow"] >= 7 - num_keys


def test_a_video_is_answered_with_people_and_their_parts(aten_server: Running) -> None:
    body = clip(width=160, height=128, num_frames=7)
    document = aten_server.parse(body, "application/json", score_threshold=0.3).json()
    assert document["model"]["bundle"] == "tiny-aten"
    assert [frame["index"] for frame in document["frames"]] == list(range(7))
    assert "".join("K" if frame["key_frame"] else "-" for frame in document["frames"]) == "-K--K-K"
    people = [person for frame in document["frames"] for person in frame["people"]]
    assert people
    assert any(person["parts"] for person in people)
    assert all(person["mask"]["size"] == [128, 160] for person in people)
    assert {part["part"] for person in people for part in person["parts"]} <= set(document["model"]["parts"])


def test_a_network_without_parts_answers_with_people_alone(hvisnet_server: Running) -> None:
    body = clip(width=160, height=128, num_frames=4)
    document = hvisnet_server.parse(body, "application/json").json()
    assert document["model"]["bundle"] == "tiny-hvisnet"
    assert document["model"]["parts"] == []
    assert all(frame["key_frame"] for frame in document["frames"])
    people = [person for frame in document["frames"] for person in frame["people"]]
    assert people
    assert all(person["parts"] == [] for person in people)
    identities = [{person["identity"] for person in frame["people"]} for frame in document["frames"]]
    assert identities[0] & identities[1], "nobody was known again"


def test_a_network_of_single_frames_follows_no_schedule(hvisnet_server: Running) -> None:
    answer = hvisnet_server.parse(clip(), "application/json", schedule="paper")
    assert answer.status_code in range(400, 500)
    assert "takes every frame by itself" in answer.text


def test_engines_are_warmed_up_for_any_graph(aten_engine: Engine, hvisnet_engine: Engine) -> None:
    warm_up(aten_engine, width=WIDTH, height=HEIGHT)
    warm_up(hvisnet_engine, width=WIDTH, height=HEIGHT)


def changed(bundle: Path, out: Path, change: Any) -> Path:
    """A copy of a bundle with another manifest, whose hashes fit its files."""
    shutil.copytree(bundle, out)
    path = out / MANIFEST_NAME
    document = json.loads(path.read_text())
    change(document, out)
    for graph in document["graphs"].values():
        graph["sha256"] = sha256_of(out / graph["file"])
    path.write_text(json.dumps(document))
    return out


def other_graph(document: dict[str, Any], folder: Path) -> None:
    shutil.copy(folder / "flow.onnx", folder / "temporal.onnx")


def other_width(document: dict[str, Any], folder: Path) -> None:
    document["graphs"]["instances"]["inputs"][0]["shape"][1] = 256


def fixed_frames(document: dict[str, Any], folder: Path) -> None:
    document["graphs"]["temporal"]["inputs"][0]["shape"][1] = 3


def no_flow(document: dict[str, Any], folder: Path) -> None:
    del document["graphs"]["flow"]


def no_graph_over_time(document: dict[str, Any], folder: Path) -> None:
    del document["graphs"]["temporal"]


@pytest.mark.parametrize("provider", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("change", "field_at_fault"),
    [
        (other_graph, "graphs.temporal.inputs"),
        (other_width, "graphs.instances.inputs[0].shape"),
        (fixed_frames, "graphs.temporal.inputs[0].shape"),
        (no_flow, "graphs.propagate.inputs"),
        (no_graph_over_time, "graphs.temporal"),
    ],
)
def test_a_graph_that_is_not_what_the_manifest_says_is_named(
    aten: AtenBundle, tmp_path: Path, change: Any, field_at_fault: str, provider: str
) -> None:
    with pytest.raises(BundleError) as caught:
        create_engine(changed(aten.folder, tmp_path / "changed", change), provider=provider)
    assert caught.value.field == field_at_fault
