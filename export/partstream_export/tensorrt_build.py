"""Builds a bundle's TensorRT engines on the device at hand, a graph after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from partstream_core.errors import EngineError
from partstream_core.manifest import GraphSpec, Manifest, load_manifest, sha256_of
from partstream_core.nvidia import compute_capability, tensorrt_version
from partstream_core.tensorrt import RECORD_NAME, BuiltGraph, EngineKey, EngineSet, Profile, bundle_hash
from partstream_export.folders import draft_of
from partstream_export.tensorrt import Ranges, build_options, profile_of

CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"
_QUANTISED: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_QUIET = 3
Tell = Callable[[str, int, int], None]
"""Told the graph that is next, its number and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """Engines to build, and their output folder."""

    bundle: Path
    out: Path
    """Holds a folder for every key."""
    precision: str
    """fp16, f32 or int8."""
    ranges: Ranges
    device: int = 0
    force: bool = False


def build_engines(config: BuildConfig, tell: Tell) -> Path:
    """Build all engines, and return the folder that holds them; it appears whole or not at all.

    Raises:
        BundleError: The bundle is damaged.
        ValueError: The graphs do not go with the precision or the ranges.
        EngineError: TensorRT or the device is not there, or an engine cannot be built.
        FileExistsError: There are engines with this key already.
    """
    manifest = load_manifest(config.bundle)
    profiles = {name: profile_of(graph, config.ranges, manifest) for name, graph in manifest.graphs.items()}
    if config.precision == "int8":
        check_quantised(config.bundle, manifest)
    key = key_at_hand(manifest, config.device)
    timing = config.out / f"timing-trt{key.tensorrt}-sm{key.compute_capability}"
    folder = config.out / key.folder(config.precision)
    with draft_of(folder, force=config.force, marker=RECORD_NAME) as draft:
        timing.mkdir(parents=True, exist_ok=True)
        built: dict[str, BuiltGraph] = {}
        for number, (name, graph) in enumerate(manifest.graphs.items(), start=1):
            tell(name, number, len(manifest.graphs))
            file = draft / f"{name}_ctx.onnx"
            options = build_options(
                precision=config.precision,
                profile=profiles[name],
                context_model=file,
                timing=timing.resolve(),
                device=config.device,
            )
            _build(config.bundle / graph.file, graph, profiles[name], options)
            check_context_model(file)
            built[name] = BuiltGraph(file=file.name, sha256=sha256_of(file), profile=profiles[name])
        for pattern in ("*.engine", "*.profile"):  # the engines are in the context models
            for left_over in draft.glob(pattern):
                left_over.unlink()
        EngineSet(key=key, precision=config.precision, graphs=built).write(draft)
    return folder


def check_quantised(bundle: Path, manifest: Manifest) -> None:
    """Refuse a bundle of float graphs for int8: TensorRT 10 takes scales from the graphs.

    Raises:
        ValueError: No graph quantises anything.
    """
    for graph in manifest.graphs.values():
        nodes = onnx.load(bundle / graph.file, load_external_data=False).graph.node
        if any(node.op_type in _QUANTISED for node in nodes):
            return
    raise ValueError(
        f"{bundle} holds no quantised graph (QuantizeLinear), and int8 needs its scales; take fp16, or "
        "quantise the graphs first"
    )


def key_at_hand(manifest: Manifest, device: int) -> EngineKey:
    """The key of engines for a bundle on this machine.

    Raises:
        EngineError: ONNX Runtime has no TensorRT provider, or TensorRT, driver or device is not there.
    """
    if TENSORRT not in ort.get_available_providers():
        raise EngineError(
            f"this ONNX Runtime {ort.__version__} has no {TENSORRT}; "
            "install onnxruntime-gpu in place of onnxruntime"
        )
    if hasattr(ort, "preload_dlls"):  # from 1.21 on
        ort.preload_dlls()
    return EngineKey(
        bundle=bundle_hash(manifest),
        tensorrt=tensorrt_version(),
        onnxruntime=ort.__version__,
        compute_capability=compute_capability(device),
    )


def _build(model: Path, graph: GraphSpec, profile: Profile, options: dict[str, str]) -> None:
    """Build one engine: a session does that, and a run of its best shapes proves that it computes.

    Raises:
        EngineError: TensorRT was not loaded, or it cannot build or run the graph.
    """
    session_options = ort.SessionOptions()
    session_options.log_severity_level = _QUIET
    providers = [(TENSORRT, options), (CUDA, {"device_id": options["device_id"]})]
    try:
        session = ort.InferenceSession(
            str(model), sess_options=session_options, providers=providers, enable_fallback=0
        )
    except Exception as error:  # its exceptions share no other base
        raise EngineError(f"{model.name} cannot be built: {error}") from error
    if TENSORRT not in session.get_providers():
        raise EngineError(f"{TENSORRT} could not be loaded: ONNX Runtime offers {session.get_providers()}")
    try:
        session.run(None, blank_inputs(graph, profile))
    except Exception as error:  # its exceptions share no other base
        raise EngineError(f"{model.name} was built and does not run: {error}") from error


def blank_inputs(graph: GraphSpec, profile: Profile) -> dict[str, npt.NDArray[Any]]:
    """Zeros of the shapes that an engine is fastest with; as indices, they name the first image."""
    return {spec.name: np.zeros(profile.best[spec.name], np.dtype(spec.dtype)) for spec in graph.inputs}


def check_context_model(file: Path) -> None:
    """Refuse what is no context model of one whole graph.

    Raises:
        EngineError: It was not written, or nodes are left that TensorRT does not take.
    """
    if not file.is_file():
        raise EngineError(f"ONNX Runtime wrote no context model {file.name}")
    nodes = [node.op_type for node in onnx.load(file, load_external_data=False).graph.node]
    if nodes != ["EPContext"]:
        others = sorted({node for node in nodes if node != "EPContext"})
        raise EngineError(
            f"TensorRT does not take the whole of {file.name}: {', '.join(others) or 'nothing'} is left"
        )
