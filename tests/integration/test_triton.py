"""The provider triton on the repository that the exporter writes, beside the same graphs in this process."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from partstream_core.errors import BundleError, EngineError
from partstream_core.results import frame_to_json
from partstream_export.triton import RepositoryConfig, write_repository
from partstream_server.app.cli import app
from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.config.settings import Settings
from partstream_server.engine import DeviceOptions, Engine, create_engine
from partstream_server.engine.base import default_bundle_directory
from partstream_server.offline.parser import parse_media
from partstream_server.rest.app import opener_of
from tests.server.running_server import eventually
from tests.server.triton_server import TritonServicer, triton_server

MAX_BATCH = 2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("triton") / "models"
    write_repository(out, default_bundle_directory(), RepositoryConfig(max_batch=MAX_BATCH))
    return out


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[tuple[TritonServicer, str]]:
    with triton_server(models) as running:
        yield running


def connect(address: str, *, timeout_s: float = 10.0, bundle: Path | None = None) -> Engine:
    device = DeviceOptions(triton=address, triton_timeout_s=timeout_s)
    return create_engine(bundle, provider="triton", device=device)


@pytest.fixture
def remote(server: tuple[TritonServicer, str]) -> Iterator[Engine]:
    engine = connect(server[1])
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def local() -> Iterator[Engine]:
    engine = create_engine(provider="onnxruntime", precision="f32", num_threads=1)
    yield engine
    engine.close()


def inputs_of(engine: Engine, graph: str, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Random inputs of two frames of 96x64 pixels and three rows of people."""
    sides = {"batch": 2, "rows": 3}
    for name, pixels in (("height", 64), ("width", 96)):
        sides |= {name: pixels} | {f"{name}/{step}": pixels // step for step in (2, 4, 8)}
    random = np.random.default_rng(seed)
    found: dict[str, npt.NDArray[Any]] = {}
    for spec in engine.bundle.manifest.graphs[graph].inputs:
        shape = [side if isinstance(side, int) else sides[side] for side in spec.shape]
        if spec.name == "batch_index":
            found[spec.name] = np.array([0, 1, 1])
        else:
            found[spec.name] = random.normal(size=shape).astype(spec.dtype)
    return found


@pytest.mark.parametrize("graph", ["backbone", "heads", "instances", "propagate", "temporal"])
def test_every_output_is_that_of_the_local_engine_to_the_byte(
    remote: Engine, local: Engine, graph: str
) -> None:
    given = inputs_of(local, graph, seed=1)
    theirs, ours = remote.run(graph, given), local.run(graph, given)
    assert theirs.keys() == ours.keys()
    for name in ours:
        assert (theirs[name].dtype, theirs[name].shape) == (ours[name].dtype, ours[name].shape)
        assert theirs[name].tobytes() == ours[name].tobytes(), name
        assert theirs[name].flags.writeable


def test_a_clip_has_the_same_people_parts_and_identities(
    server: tuple[TritonServicer, str], remote: Engine, local: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "walkers.mp4"
    write_figures(path, width=320, height=180, num_frames=6)
    before = server[0].num_runs
    theirs = [frame_to_json(each) for each in parse_media(path, remote)]
    assert server[0].num_runs > before
    assert theirs == [frame_to_json(each) for each in parse_media(path, local)]
    assert len(theirs) == 6
    assert any(each["people"] for each in theirs)


def test_pipelines_that_share_the_server_get_their_own_results(
    server: tuple[TritonServicer, str], local: Engine
) -> None:
    given = [inputs_of(local, "backbone", seed) for seed in range(4)]
    wanted = [local.run("backbone", each)["feature"].tobytes() for each in given]
    found: dict[int, list[bytes]] = {}

    def work(number: int) -> None:
        engine = connect(server[1])
        found[number] = [engine.run("backbone", given[number])["feature"].tobytes() for _ in range(3)]
        engine.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [each] * 3 for number, each in enumerate(wanted)}


def test_a_server_that_goes_away_is_named_and_found_again(models: Path, local: Engine) -> None:
    with triton_server(models) as (_, address):
        engine = connect(address)
    with pytest.raises(EngineError, match=f"no Triton server answers at {address}"):
        engine.run("backbone", inputs_of(local, "backbone", seed=0))
    with pytest.raises(EngineError, match=f"no Triton server answers at {address}"):
        connect(address)
    port = int(address.rpartition(":")[2])
    with triton_server(models, port):
        eventually(lambda: answers(engine, inputs_of(local, "backbone", seed=0)), "the engine connects anew")
    engine.close()


def answers(engine: Engine, given: dict[str, npt.NDArray[Any]]) -> bool:
    try:
        return "feature" in engine.run("backbone", given)
    except EngineError:
        return False


def test_a_server_that_is_slow_is_given_up_after_the_timeout(
    server: tuple[TritonServicer, str], local: Engine
) -> None:
    servicer, address = server
    engine = connect(address, timeout_s=0.2)
    given = inputs_of(local, "backbone", seed=0)
    servicer.release.clear()
    try:
        with pytest.raises(EngineError, match=r"partstream-live-backbone at .* did not answer within 0.2 s"):
            engine.run("backbone", given)
    finally:
        servicer.release.set()
        engine.close()


def test_models_of_other_weights_other_tensors_or_none_are_refused(models: Path, local: Engine) -> None:
    with triton_server(models) as (servicer, address):
        heads = servicer.configs["partstream-live-heads"]
        heads.parameters["sha256"].string_value = "0" * 64
        with pytest.raises(EngineError, match=r"live-heads at .* is not this bundle's graph .* 000000000000"):
            connect(address)
        del heads.parameters["sha256"]
        with pytest.raises(EngineError, match="does not name its graph's SHA-256"):
            connect(address)
        servicer.configs["partstream-live-backbone"].output[0].dims[0] = 5
        with pytest.raises(BundleError, match=r"graphs.backbone.outputs\[0\].shape: the manifest has"):
            connect(address)
        del servicer.configs["partstream-live-backbone"]
        with pytest.raises(EngineError, match=r"live-backbone at .* failed: Request for unknown model"):
            connect(address)


def test_wrong_inputs_are_refused_here_and_too_large_batches_there(
    server: tuple[TritonServicer, str], remote: Engine, local: Engine
) -> None:
    before = server[0].num_runs
    image = inputs_of(local, "backbone", seed=0)["image"]
    with pytest.raises(EngineError, match=r"backbone takes image as float32 .* got float64 \[2, 3, 64, 96\]"):
        remote.run("backbone", {"image": image.astype(np.float64)})
    with pytest.raises(EngineError, match=r"backbone takes image as .* got float32 \[2, 2, 64, 96\]"):
        remote.run("backbone", {"image": image[:, :2]})
    with pytest.raises(EngineError, match=r"live-backbone at .* failed: batch-size must be <= 2"):
        remote.run("backbone", {"image": np.concatenate([image, image])})
    assert server[0].num_runs == before


def test_the_command_and_the_services_settings_reach_the_server(
    server: tuple[TritonServicer, str],
) -> None:
    _, address = server
    done = CliRunner().invoke(app, ["info", "--provider", "triton", "--triton", address, "--json"])
    facts = json.loads(done.stdout)
    assert (done.exit_code, facts["provider"], facts["precision"]) == (0, "triton", "f32")
    engine = opener_of(Settings(provider="triton", triton=address, triton_timeout_s=9))()
    assert engine.provider == "triton"
    engine.close()
    with pytest.raises(EngineError, match="HOST:PORT"):
        opener_of(Settings(provider="triton"))()


@pytest.mark.parametrize("address", ["", "gpu-box", "http://gpu-box:8001", "gpu-box:grpc"])
def test_an_address_that_is_none_is_shown(address: str) -> None:
    with pytest.raises(EngineError, match=f"HOST:PORT .* got '{address}'"):
        connect(address)


def test_a_closed_engine_and_another_precision_are_refused(
    server: tuple[TritonServicer, str], local: Engine
) -> None:
    engine = connect(server[1])
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run("backbone", inputs_of(local, "backbone", seed=0))
    with pytest.raises(EngineError, match="exchanges f32, not fp16"):
        create_engine(provider="triton", precision="fp16", device=DeviceOptions(triton=server[1]))
