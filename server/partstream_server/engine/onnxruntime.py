"""Engine that runs graphs with ONNX Runtime on the device of its target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from partstream_core.errors import BundleError, EngineError
from partstream_core.manifest import Manifest
from partstream_server.engine.base import GraphTensor, LoadedBundle, Tensors, check_graph, check_names
from partstream_server.engine.device_tensor import DeviceTensor
from partstream_server.engine.target import Target

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
}
_QUIET = 3

ort.set_default_logger_severity(_QUIET)  # what matters of a provider that does not load is told as an error


class OnnxRuntimeEngine:
    """Runs a bundle on ONNX Runtime; sessions are safe to run from several threads."""

    def __init__(self, bundle: LoadedBundle, target: Target, *, num_threads: int = 0) -> None:
        """Load the graphs.

        Raises:
            BundleError: A graph cannot be read or is not what the manifest says.
            EngineError: ONNX Runtime does not compute on the target.
        """
        self.bundle = bundle
        self.num_threads = num_threads
        self.provider, self.precision = target.provider, target.precision
        self.device = target.device_name
        self._target = target
        self._staying = staying(bundle.manifest) if target.stays else {}
        self._sessions = {name: self._load(name) for name in bundle.manifest.graphs}

    def _load(self, graph: str) -> ort.InferenceSession:
        path = self._target.files.get(graph, self.bundle.path(graph))
        options = self._options()
        if graph in self._target.files:  # what was built is not optimised again
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = ort.InferenceSession(
                str(path),
                sess_options=options,
                providers=[(name, dict(options)) for name, options in self._target.providers],
                enable_fallback=0,
            )
        except Exception as error:  # its exceptions share no other base
            raise self._refusal(graph, error) from error
        self._target.check(session)
        if graph not in self._target.files:
            check_graph(
                graph,
                self.bundle.manifest.graphs[graph],
                inputs=[_describe(tensor) for tensor in session.get_inputs()],
                outputs=[_describe(tensor) for tensor in session.get_outputs()],
            )
        return session

    def _options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.log_severity_level = _QUIET
        options.intra_op_num_threads = self.num_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        for key, value in self._target.entries.items():
            options.add_session_config_entry(key, value)
        return options

    def _refusal(self, graph: str, error: Exception) -> BundleError | EngineError:
        """On the CPU the graph is at fault; on a device it may be that device."""
        if self._target.device == "cpu":
            return BundleError(f"graphs.{graph}.file", f"cannot be read: {error}")
        return EngineError(f"{graph} cannot be loaded on {self.device}: {_explain(error)}")

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Outputs of a graph, owned by the caller; those that only graphs read may stay on the device.

        Raises:
            EngineError: The graph is unknown, its inputs are others, or ONNX Runtime failed.
        """
        check_names(graph, self.bundle, inputs)
        session = self._sessions.get(graph)
        if session is None:
            raise EngineError("the engine is closed")
        if graph in self._target.profiles:
            self._target.profiles[graph].check(graph, {name: one.shape for name, one in inputs.items()})
        try:
            return self._run(session, inputs, self._staying.get(graph, frozenset()))
        except Exception as error:  # its exceptions share no other base
            raise EngineError(f"{graph} failed: {_explain(error)}") from error

    def _run(
        self, session: ort.InferenceSession, inputs: Mapping[str, npt.NDArray[Any]], staying: frozenset[str]
    ) -> Tensors:
        device, index = self._target.device, self._target.index
        binding = session.io_binding()
        given: dict[str, Any] = dict(inputs)  # also what stayed on the device, which poses as an array
        for name, tensor in given.items():
            if isinstance(tensor, DeviceTensor):
                tensor.bind(binding, name, device=device, index=index)
            else:
                binding.bind_cpu_input(name, np.ascontiguousarray(tensor))
        described = session.get_outputs()
        for output in described:
            if output.name in staying:
                binding.bind_output(output.name, device, index)
            else:
                binding.bind_output(output.name)
        session.run_with_iobinding(binding)
        outputs: dict[str, Any] = {}
        for output, value in zip(described, binding.get_outputs(), strict=True):
            if output.name in staying:
                outputs[output.name] = DeviceTensor.of(value, _DTYPES[output.type])
            else:
                outputs[output.name] = value.numpy()
        return cast("Tensors", outputs)

    def close(self) -> None:
        """Drop the sessions."""
        self._sessions.clear()


def staying(manifest: Manifest) -> dict[str, frozenset[str]]:
    """Outputs of each graph that other graphs read and the host need not.

    They are the inputs by name, those of a key frame (`reference_...`), and what is handed on under another
    name: the first output of `propagate` and of `temporal`. Rows of people are chosen on the host.
    """
    graphs = manifest.graphs
    read = {spec.name.removeprefix("reference_") for graph in graphs.values() for spec in graph.inputs}
    found = {}
    for name, graph in graphs.items():
        names = [spec.name for spec in graph.outputs]
        handed_on = names[:1] if name in ("propagate", "temporal") else []
        chosen = [one for one in names if one in read and one not in manifest.instance_rows]
        found[name] = frozenset([*handed_on, *chosen])
    return found


def _describe(tensor: Any) -> GraphTensor:
    shape = tuple(size if isinstance(size, int) else None for size in tensor.shape)
    return GraphTensor(tensor.name, _DTYPES.get(tensor.type, tensor.type), shape)


def _explain(error: Exception) -> str:
    """The runtime's words, with what can be done where they tell of memory."""
    words = str(error)
    short = any(sign in words for sign in ("allocate memory", "Available memory of", "out of memory"))
    hint = "; memory is short: allow it more, or run fewer or smaller frames at a time" if short else ""
    return words.strip() + hint
