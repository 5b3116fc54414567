"""OpenVINO on the CPU.

Graphs are compiled for static shapes on demand, at most a few of them at a time: a compiled static shape is
faster than a dynamic one, and a source keeps its shape for as long as it lasts.
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
from partstream_server.engine.base import GraphTensor, LoadedBundle, Tensors, check_graph, check_names

MAX_SHAPES = 8
"""Static shapes that a graph keeps compiled: the usual shapes of video and photos, upright and lying."""

_Shapes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]


class _Compiled:
    """A graph for one set of shapes, compiled at its first run, with the one request it serves at a time."""

    def __init__(self, compile_model: Callable[[], ov.CompiledModel]) -> None:
        self._compile_model = compile_model
        self._request: ov.InferRequest | None = None
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        with self._lock:
            if self._request is None:
                self._request = self._compile_model().create_infer_request()
            request = self._request
            request.infer(dict(inputs), share_inputs=True, share_outputs=True)
            names = [output.get_any_name() for output in request.model_outputs]
            return {name: np.array(request.get_tensor(name).data) for name in names}


class _ShapeCache:
    """The compiled shapes of one graph, least recently used first.

    Its lock is held only to look things up: while one shape is compiled, the others run on.
    """

    def __init__(self, core: ov.Core, model: ov.Model, config: Mapping[str, Any], *, max_shapes: int) -> None:
        self._core, self._model, self._config, self._max_shapes = core, model, dict(config), max_shapes
        self._compiled: OrderedDict[_Shapes, _Compiled] = OrderedDict()
        self._lock, self._compiling = threading.Lock(), threading.Lock()

    def __len__(self) -> int:
        return len(self._compiled)

    def get(self, shapes: _Shapes) -> _Compiled:
        """The graph for these shapes."""
        with self._lock:
            if shapes not in self._compiled:
                self._compiled[shapes] = _Compiled(partial(self._compile, shapes))
            self._compiled.move_to_end(shapes)
            while len(self._compiled) > self._max_shapes:
                self._compiled.popitem(last=False)
            return self._compiled[shapes]

    def _compile(self, shapes: _Shapes) -> ov.CompiledModel:
        with self._compiling:
            model = self._model.clone()
        model.reshape({name: list(shape) for name, shape in shapes})
        return self._core.compile_model(model, "CPU", self._config)


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
        max_shapes: int = MAX_SHAPES,
    ) -> None:
        """Read the graphs; nothing is compiled before the first run.

        Args:
            bundle: What to run.
            precision: f32, bf16, or auto: bf16 where the CPU computes in it.
            num_threads: Threads of a run; 0 leaves the number to OpenVINO.
            max_shapes: Static shapes a graph keeps compiled.

        Raises:
            BundleError: A graph cannot be read or is not what the manifest says.
            EngineError: The CPU does not compute in that precision.
        """
        self.bundle = bundle
        self.num_threads = num_threads
        self._core = ov.Core()
        self.precision = self._choose(precision)
        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        if num_threads:
            config["INFERENCE_NUM_THREADS"] = num_threads
        self._graphs = {
            name: _ShapeCache(self._core, self._read(name), config, max_shapes=max_shapes)
            for name in bundle.manifest.graphs
        }

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
        return len(self._graphs[graph])

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Outputs of a graph, owned by the caller.

        Raises:
            EngineError: The graph is unknown, its inputs are others, or OpenVINO failed.
        """
        check_names(graph, self.bundle, inputs)
        compiled = self._graphs.get(graph)
        if compiled is None:
            raise EngineError("the engine is closed")
        shapes = tuple(sorted((name, tensor.shape) for name, tensor in inputs.items()))
        try:
            return compiled.get(shapes).run(inputs)
        except RuntimeError as error:
            raise EngineError(f"{graph} failed on {shapes}: {_first_line(error)}") from error

    def close(self) -> None:
        """Drop every compiled shape."""
        self._graphs.clear()


def _describe(port: Any) -> GraphTensor:
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
    return GraphTensor(port.get_any_name(), str(np.dtype(port.get_element_type().to_dtype())), shape)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
