"""OpenVINO on the CPU.

Graphs are compiled for static shapes on demand, within a number of bytes: a compiled static shape is faster
than a dynamic one, and a source keeps its shape for as long as it lasts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import openvino as ov

from partstream_core.errors import BundleError, EngineError
from partstream_server.engine.base import (
    CompiledShapes,
    GraphTensor,
    LoadedBundle,
    Tensors,
    check_graph,
    check_names,
)
from partstream_server.engine.memory import resident_bytes, return_free_memory

MAX_COMPILED_BYTES = 1536 << 20
"""Of all compiled shapes of all graphs together."""
_LEAST_BYTES = 4 << 20
"""Least memory counted for a compiled shape: memory that was free in the process is not measured."""

_Shapes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
_Key: TypeAlias = tuple[str, _Shapes]


class _Compiled:
    """A graph for one set of shapes, compiled at its first run, with the one request it serves at a time."""

    def __init__(self, compile_model: Callable[[], ov.CompiledModel]) -> None:
        self._compile_model = compile_model
        self._request: ov.InferRequest | None = None
        self._lock = threading.Lock()
        self.num_bytes = 0
        """Growth of the process in bytes at the first run; 0 before it."""

    def run(self, inputs: Mapping[str, npt.NDArray[Any]], measuring: threading.Lock) -> Tensors:
        """Outputs for these inputs.

        Args:
            inputs: Of the graph.
            measuring: Held while the graph is compiled and first run, so that one is measured at a time.
        """
        with self._lock:
            if self._request is None:
                with measuring:
                    before = resident_bytes()
                    self._request = self._compile_model().create_infer_request()
                    outputs = self._infer(self._request, inputs)
                    self.num_bytes = max(resident_bytes() - before, _LEAST_BYTES)
                return outputs
            return self._infer(self._request, inputs)

    @staticmethod
    def _infer(request: ov.InferRequest, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        names = [output.get_any_name() for output in request.model_outputs]
        return {name: np.array(request.get_tensor(name).data) for name in names}


class _ShapeCache:
    """The compiled shapes of all graphs, least recently used first, within a number of bytes.

    Its lock is held only to look things up: while one shape is compiled, the others run on.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._compiled: OrderedDict[_Key, _Compiled] = OrderedDict()
        self._lock, self._measuring = threading.Lock(), threading.Lock()
        self._num_compilations = 0

    def usage(self) -> CompiledShapes:
        """Shapes that are compiled now."""
        with self._lock:
            num_bytes = sum(each.num_bytes for each in self._compiled.values())
            return CompiledShapes(len(self._compiled), num_bytes, self._num_compilations)

    def count(self, graph: str) -> int:
        """Compiled shapes of one graph."""
        with self._lock:
            return sum(name == graph for name, _ in self._compiled)

    def run(
        self, key: _Key, inputs: Mapping[str, npt.NDArray[Any]], compile_model: Callable[[], ov.CompiledModel]
    ) -> Tensors:
        """Outputs of a graph for inputs of one shape, compiled now if need be."""
        with self._lock:
            compiled = self._compiled.get(key)
            if compiled is None:
                compiled = self._compiled[key] = _Compiled(compile_model)
                self._num_compilations += 1
            self._compiled.move_to_end(key)
        is_new = compiled.num_bytes == 0
        try:
            outputs = compiled.run(inputs, self._measuring)
        except RuntimeError:
            with self._lock:
                if compiled.num_bytes == 0 and self._compiled.get(key) is compiled:
                    del self._compiled[key]
            raise
        if is_new:
            self._drop_least_used()
        return outputs

    def _drop_least_used(self) -> None:
        """Keep within the bytes; the shape used last always stays."""
        with self._lock:
            before = len(self._compiled)
            total = sum(each.num_bytes for each in self._compiled.values())
            while self._max_bytes and total > self._max_bytes and len(self._compiled) > 1:
                _, dropped = self._compiled.popitem(last=False)
                total -= dropped.num_bytes
            is_smaller = len(self._compiled) < before
        if is_smaller:
            return_free_memory()

    def clear(self) -> None:
        """Drop every shape."""
        with self._lock:
            self._compiled.clear()


class OpenVinoEngine:
    """Runs a bundle on OpenVINO's CPU plugin; runs of one graph and shape take turns."""

    provider = "openvino"
    device = "cpu"

    def __init__(
        self,
        bundle: LoadedBundle,
        *,
        precision: str = "auto",
        num_threads: int = 0,
        max_compiled_bytes: int = MAX_COMPILED_BYTES,
    ) -> None:
        """Read the graphs; nothing is compiled before the first run.

        Args:
            bundle: What to run.
            precision: f32, bf16, or auto: bf16 where the CPU computes in it.
            num_threads: Threads of a run; 0 leaves the number to OpenVINO.
            max_compiled_bytes: Of all compiled shapes; those used least recently are dropped. 0: no limit.

        Raises:
            BundleError: A graph cannot be read or is not what the manifest says.
            EngineError: The CPU does not compute in that precision.
        """
        self.bundle = bundle
        self.num_threads = num_threads
        self._core = ov.Core()
        self.precision = self._choose(precision)
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        if num_threads:
            self._options["INFERENCE_NUM_THREADS"] = num_threads
        self._models = {name: self._read(name) for name in bundle.manifest.graphs}
        self._cloning = threading.Lock()
        self._shapes = _ShapeCache(max_bytes=max_compiled_bytes)

    def _choose(self, precision: str) -> str:
        computes_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "auto":
            return "bf16" if computes_bf16 else "f32"
        if precision not in ("f32", "bf16"):
            raise EngineError(f"OpenVINO computes in f32 or bf16, not {precision}")
        if precision == "bf16" and not computes_bf16:
            raise EngineError("this CPU does not compute in bf16; choose precision f32 or auto")
        return precision

    def _read(self, graph: str) -> ov.Model:
        try:
            model = self._core.read_model(self.bundle.path(graph))
        except RuntimeError as error:
            raise BundleError(f"graphs.{graph}.file", f"cannot be read: {_first_line(error)}") from error
        check_graph(
            graph,
            self.bundle.manifest.graphs[graph],
            inputs=[_describe(port) for port in model.inputs],
            outputs=[_describe(port) for port in model.outputs],
        )
        return model

    def num_compiled(self, graph: str) -> int:
        """Static shapes that a graph has compiled now."""
        return self._shapes.count(graph)

    def compiled_shapes(self) -> CompiledShapes:
        """Shapes of all graphs that are compiled now."""
        return self._shapes.usage()

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Outputs of a graph, owned by the caller.

        Raises:
            EngineError: The graph is unknown, its inputs are others, or OpenVINO failed.
        """
        check_names(graph, self.bundle, inputs)
        if graph not in self._models:
            raise EngineError("the engine is closed")
        shapes = tuple(sorted((name, tensor.shape) for name, tensor in inputs.items()))
        try:
            return self._shapes.run((graph, shapes), inputs, partial(self._compile, graph, shapes))
        except RuntimeError as error:
            raise EngineError(f"{graph} failed on {shapes}: {_first_line(error)}") from error

    def close(self) -> None:
        """Drop every compiled shape."""
        self._models.clear()
        self._shapes.clear()

    def _compile(self, graph: str, shapes: _Shapes) -> ov.CompiledModel:
        with self._cloning:
            model = self._models[graph].clone()
        model.reshape({name: list(shape) for name, shape in shapes})
        return self._core.compile_model(model, "CPU", self._options)


def _describe(port: Any) -> GraphTensor:
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
    return GraphTensor(port.get_any_name(), str(np.dtype(port.get_element_type().to_dtype())), shape)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
