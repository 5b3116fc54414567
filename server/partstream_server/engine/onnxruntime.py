"""ONNX Runtime on the CPU, in f32: the portable engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from partstream_core.errors import BundleError, EngineError
from partstream_server.engine.base import GraphTensor, LoadedBundle, Tensors, check_graph, check_names

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
}
_QUIET = 3


class OnnxRuntimeEngine:
    """Runs a bundle on ONNX Runtime's CPU provider; sessions are safe to run from several threads."""

    provider = "onnxruntime"
    precision = "f32"

    def __init__(self, bundle: LoadedBundle, *, precision: str = "auto", num_threads: int = 0) -> None:
        """Load the graphs.

        Raises:
            BundleError: A graph cannot be read or is not what the manifest says.
            EngineError: A precision other than f32 is asked for.
        """
        if precision not in ("auto", "f32"):
            raise EngineError(f"ONNX Runtime on the CPU computes in f32, not {precision}")
        self.bundle = bundle
        self.num_threads = num_threads
        self._sessions = {name: self._load(name) for name in bundle.manifest.graphs}

    def _load(self, graph: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = _QUIET
        options.intra_op_num_threads = self.num_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(
                str(self.bundle.path(graph)), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no other base
            raise BundleError(f"graphs.{graph}.file", f"cannot be read: {error}") from error
        check_graph(
            graph,
            self.bundle.manifest.graphs[graph],
            inputs=[_describe(tensor) for tensor in session.get_inputs()],
            outputs=[_describe(tensor) for tensor in session.get_outputs()],
        )
        return session

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Outputs of a graph, owned by the caller.

        Raises:
            EngineError: The graph is unknown, its inputs are others, or ONNX Runtime failed.
        """
        check_names(graph, self.bundle, inputs)
        session = self._sessions[graph]
        try:
            outputs = session.run(None, dict(inputs))
        except Exception as error:  # its exceptions share no other base
            raise EngineError(f"{graph} failed: {error}") from error
        return {
            tensor.name: np.asarray(value)
            for tensor, value in zip(session.get_outputs(), outputs, strict=True)
        }

    def close(self) -> None:
        """Drop the sessions."""
        self._sessions.clear()


def _describe(tensor: Any) -> GraphTensor:
    shape = tuple(size if isinstance(size, int) else None for size in tensor.shape)
    return GraphTensor(tensor.name, _DTYPES.get(tensor.type, tensor.type), shape)
