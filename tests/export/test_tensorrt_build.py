"""What TensorRT is told of the bundle that ships, and what is refused before it is asked."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import typer
from onnx import TensorProto, helper
from typer.testing import CliRunner

from partstream_core.errors import EngineError
from partstream_core.manifest import InputSpec, Manifest, TensorSpec, load_manifest, sha256_of
from partstream_export.tensorrt import (
    Ranges,
    build_options,
    parse_sizes,
    profile_of,
    shapes_text,
    usual_sizes,
)
from partstream_export.tensorrt_build import TENSORRT, blank_inputs, check_context_model, check_quantised
from partstream_export.tensorrt_cli import EXIT_BAD_INPUT, tensorrt_command

SPEC = InputSpec(longer_side=512, multiple=32)


@pytest.fixture(scope="module")
def bundle() -> Path:
    return Path(str(resources.files("partstream_server") / "bundles" / "live"))


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> Manifest:
    return load_manifest(bundle)


def test_the_usual_sizes_hold_every_source_from_lying_to_upright() -> None:
    assert usual_sizes(SPEC) == ((512, 288), (288, 512), (512, 512))
    assert usual_sizes(InputSpec(longer_side=96, multiple=64)) == ((96, 64), (64, 96), (96, 96))


def test_sizes_are_read_as_they_are_written() -> None:
    assert parse_sizes("512x288, 288x512", SPEC) == ((512, 288), (288, 512))


@pytest.mark.parametrize("text", ["512", "512x", "0x32", "512x288x3", "512*288", "", "512x288,"])
def test_what_is_no_size_is_shown(text: str) -> None:
    with pytest.raises(ValueError, match="WIDTHxHEIGHT"):
        parse_sizes(text, SPEC)


def test_a_size_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32, got 512x280"):
        parse_sizes("512x280", SPEC)


def test_profiles_follow_the_sides_that_the_manifest_names(manifest: Manifest) -> None:
    ranges = Ranges(sizes=((512, 288), (288, 512)), max_batch=4)
    image = profile_of(manifest.graphs["backbone"], ranges, manifest)
    assert image.least["image"] == (1, 3, 288, 288)
    assert image.best["image"] == (1, 3, 288, 512)
    assert image.most["image"] == (4, 3, 512, 512)
    instances = profile_of(manifest.graphs["instances"], ranges, manifest)
    assert (instances.least["batch_index"], instances.best["batch_index"]) == ((1,), (8,))
    assert instances.most["batch_index"] == (manifest.top_k,)
    assert instances.most["mask_features"] == (4, 8, 64, 64)


def test_every_size_that_was_asked_for_lies_inside_the_profiles_of_every_graph(manifest: Manifest) -> None:
    sizes = usual_sizes(manifest.input)
    profiles = {
        name: profile_of(graph, Ranges(sizes=sizes, max_batch=2), manifest)
        for name, graph in manifest.graphs.items()
    }
    for size in sizes:
        for name, graph in manifest.graphs.items():
            alone = profile_of(graph, Ranges(sizes=(size,)), manifest)
            profiles[name].check(name, alone.best)


def test_a_side_whose_range_nobody_knows_is_named_and_can_be_said(manifest: Manifest) -> None:
    window = TensorSpec("features", "float32", ("batch", "frames", 96, "height/8", "width/8"))
    graph = replace(manifest.graphs["temporal"], inputs=(window,))
    with pytest.raises(ValueError, match="--most frames=N"):
        profile_of(graph, Ranges(sizes=((512, 288),)), manifest)
    told = profile_of(graph, Ranges(sizes=((512, 288),), most={"frames": 3}), manifest)
    assert (told.least["features"], told.most["features"]) == ((1, 1, 96, 36, 64), (1, 3, 96, 36, 64))


def test_shapes_are_written_as_onnx_runtime_reads_them() -> None:
    assert shapes_text({"a": (1, 3, 8), "b": (2,)}) == "a:1x3x8,b:2"


@pytest.mark.parametrize(
    ("precision", "fp16", "int8"), [("f32", "0", "0"), ("fp16", "1", "0"), ("int8", "1", "1")]
)
def test_options_say_precision_shapes_and_where_the_context_model_goes(
    manifest: Manifest, precision: str, fp16: str, int8: str
) -> None:
    profile = profile_of(manifest.graphs["backbone"], Ranges(sizes=((512, 288),), max_batch=8), manifest)
    options = build_options(
        precision=precision, profile=profile, context_model=Path("out/b_ctx.onnx"), timing=Path("t"), device=2
    )
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == (fp16, int8)
    assert options["trt_profile_min_shapes"] == "image:1x3x288x512"
    assert options["trt_profile_max_shapes"] == "image:8x3x288x512"
    assert (options["trt_dump_ep_context_model"], options["trt_ep_context_embed_mode"]) == ("1", "1")
    assert options["trt_ep_context_file_path"] == "out/b_ctx.onnx"
    assert (options["trt_timing_cache_enable"], options["trt_timing_cache_path"]) == ("1", "t")
    assert options["device_id"] == "2"
    assert all(isinstance(value, str) for value in options.values())


def test_the_blank_run_is_one_that_every_graph_takes(bundle: Path, manifest: Manifest) -> None:
    ranges = Ranges(sizes=((96, 64),))
    for name, graph in manifest.graphs.items():
        session = onnxruntime.InferenceSession(str(bundle / graph.file), providers=["CPUExecutionProvider"])
        outputs = session.run(None, blank_inputs(graph, profile_of(graph, ranges, manifest)))
        assert [np.ndim(one) for one in outputs] == [len(spec.shape) for spec in graph.outputs], name


def context_model(path: Path, *node_types: str) -> Path:
    names = ["x", *(f"y{number}" for number in range(len(node_types)))]
    nodes = [
        helper.make_node(
            kind, [names[at]], [names[at + 1]], domain="com.microsoft" if kind == "EPContext" else ""
        )
        for at, kind in enumerate(node_types)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in (names[0], names[-1])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "graph", ends[:1], ends[1:])), path)
    return path


def test_a_context_model_of_a_whole_graph_passes(tmp_path: Path) -> None:
    check_context_model(context_model(tmp_path / "a.onnx", "EPContext"))


def test_a_graph_that_tensorrt_takes_in_part_is_refused_with_what_is_left(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"whole of a\.onnx: Relu is left"):
        check_context_model(context_model(tmp_path / "a.onnx", "EPContext", "Relu"))
    with pytest.raises(EngineError, match="wrote no context model"):
        check_context_model(tmp_path / "none.onnx")


def test_int8_of_float_graphs_is_refused_and_of_quantised_ones_is_not(
    bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no quantised graph"):
        check_quantised(bundle, manifest)
    file = context_model(tmp_path / "q.onnx", "Relu", "QuantizeLinear")
    graph = replace(manifest.graphs["backbone"], file=file.name, sha256=sha256_of(file))
    check_quantised(tmp_path, replace(manifest, graphs={"backbone": graph}))


@contextmanager
def command() -> Iterator[typer.Typer]:
    app = typer.Typer()
    app.command()(tensorrt_command)
    yield app


def refused(*arguments: str) -> str:
    with command() as app:
        done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code != 0
    return done.output + str(done.exception or "")


def test_without_tensorrt_the_command_says_so_and_writes_nothing(bundle: Path, tmp_path: Path) -> None:
    if TENSORRT in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has TensorRT")
    out = tmp_path / "engines"
    words = refused("--bundle", str(bundle), "--out", str(out))
    assert f"has no {TENSORRT}" in words
    assert "onnxruntime-gpu" in words
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--precision", "bf16"), "fp16, fp32, int8; got 'bf16'"),
        (("--precision", "int8"), "no quantised graph"),
        (("--sizes", "100x100"), "multiples of 32"),
        (("--most", "frames"), "SIDE=N"),
        (("--max-batch", "0"), "max-batch"),
    ],
)
def test_a_mistake_is_told_before_anything_is_built(
    bundle: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused("--bundle", str(bundle), *arguments)


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    assert "bundle.json" in refused("--bundle", str(tmp_path))


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails
from partstream_export import tensorrt_build, tensorrt_cli
tensorrt_cli.main()
"""


def test_the_command_by_itself_needs_no_torch(bundle: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    mistake = run("--bundle", str(bundle), "--sizes", "1x1")
    assert mistake.returncode == EXIT_BAD_INPUT
    (line,) = mistake.stderr.splitlines()
    assert "multiples of 32" in line
    assert run("--help").returncode == 0
