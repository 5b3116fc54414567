"""Engine that has graphs run by a Triton server, over gRPC (KServe's protocol v2).

Many pipelines on CPUs can share one server with a GPU. The server must serve the models that
`partstream-export triton` writes of the same bundle: each graph's SHA-256 is compared when the engine opens.

Source: KServe's Open Inference Protocol v2, and Triton's extension ModelConfig.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

from partstream_core.errors import EngineError
from partstream_core.manifest import TensorSpec
from partstream_server.engine.base import GraphTensor, LoadedBundle, Tensors, check_graph, check_names

_GONE: Final = "StatusCode.UNAVAILABLE"
_SLOW: Final = "StatusCode.DEADLINE_EXCEEDED"
_ANY_SIZE: Final = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_T = TypeVar("_T")


class TritonEngine:
    """Runs a bundle on a Triton server; runs of several threads go out side by side."""

    provider = "triton"
    precision = "f32"
    device = "cpu"
    """Where features lie between graphs: they come back to this process."""
    num_threads = 0

    def __init__(
        self, bundle: LoadedBundle, address: str, *, precision: str = "auto", timeout_s: float = 10.0
    ) -> None:
        """Connect, and compare the server's models with the bundle.

        Args:
            bundle: What to run.
            address: HOST:PORT of the server's gRPC.
            precision: f32 or auto. Tensors are f32; the server's settings decide its arithmetic.
            timeout_s: Longest time of one request.

        Raises:
            BundleError: A model's tensors are not those of the manifest.
            EngineError: The address is none, or the server does not answer, lacks the bundle's models, or has
                those of other weights.
        """
        host, _, port = address.rpartition(":")
        if not host or "/" in address or not port.isdecimal():
            raise EngineError(
                "provider triton needs a server's address as HOST:PORT (PARTSTREAM_TRITON or --triton), "
                f"got {address!r}"
            )
        if precision not in ("auto", "f32"):
            raise EngineError(
                f"provider triton exchanges f32, not {precision}; the server chooses arithmetic"
            )
        if timeout_s <= 0:
            raise EngineError(f"the timeout must be positive, got {timeout_s}")
        self.bundle = bundle
        self._address, self._timeout_s = address, timeout_s
        self._closed = False
        self._client = InferenceServerClient(address, channel_args=_ANY_SIZE)
        try:
            for graph in bundle.manifest.graphs:
                self._check(graph)
        except Exception:
            self.close()
            raise

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Outputs of a graph, owned by the caller.

        Raises:
            EngineError: The graph is unknown, its inputs are others, or the server is gone, slow or refuses.
        """
        check_names(graph, self.bundle, inputs)
        if self._closed:
            raise EngineError("the engine is closed")
        spec = self.bundle.manifest.graphs[graph]
        given = [_input(each, inputs[each.name], graph) for each in spec.inputs]
        wanted = [InferRequestedOutput(each.name) for each in spec.outputs]
        result = self._ask(
            graph,
            lambda: self._client.infer(
                self._model(graph), given, outputs=wanted, client_timeout=self._timeout_s
            ),
        )
        return {each.name: self._output(graph, each, result) for each in spec.outputs}

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        self._client.close()

    def _model(self, graph: str) -> str:
        return f"{self.bundle.manifest.name}-{graph}"

    def _check(self, graph: str) -> None:
        """Refuse a model that is not the bundle's graph."""
        model, spec = self._model(graph), self.bundle.manifest.graphs[graph]
        timeout = self._timeout_s
        told = self._ask(graph, lambda: self._client.get_model_config(model, client_timeout=timeout))
        found = told.config.parameters["sha256"].string_value if "sha256" in told.config.parameters else ""
        if found != spec.sha256:
            have = f"has SHA-256 {found[:12]}..." if found else "does not name its graph's SHA-256"
            raise EngineError(
                f"model {model} at {self._address} is not this bundle's graph ({spec.sha256[:12]}...): it "
                f"{have}; write the repository again with partstream-export triton"
            )
        sides = self._ask(graph, lambda: self._client.get_model_metadata(model, client_timeout=timeout))
        check_graph(
            graph,
            spec,
            inputs=[_describe(each) for each in sides.inputs],
            outputs=[_describe(each) for each in sides.outputs],
        )

    def _output(self, graph: str, spec: TensorSpec, result: Any) -> npt.NDArray[Any]:
        """A copy of one output, as buffers of the answer cannot be written to."""
        try:
            array = result.as_numpy(spec.name)
        except ValueError as error:  # bytes that do not fit the shape
            raise EngineError(
                f"{graph} at {self._address} answered a damaged {spec.name}: {error}"
            ) from error
        if array is None or array.dtype != np.dtype(spec.dtype) or not _fits(spec, array.shape):
            found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
            raise EngineError(
                f"{graph} at {self._address} answered {found} for {spec.name}, which is {spec.dtype} "
                f"{list(spec.shape)}"
            )
        return np.array(array)

    def _ask(self, graph: str, call: Callable[[], _T]) -> _T:
        """What the server answers.

        Raises:
            EngineError: It does not, or refuses; the message names server, model and reason.
        """
        try:
            return call()
        except InferenceServerException as error:
            status, words = error.status(), " ".join(str(error.message()).split())
        if status == _GONE:
            raise EngineError(f"no Triton server answers at {self._address} ({words})")
        if status == _SLOW:
            raise EngineError(
                f"model {self._model(graph)} at {self._address} did not answer within {self._timeout_s:g} s"
            )
        raise EngineError(f"model {self._model(graph)} at {self._address} failed: {words}")


def _input(spec: TensorSpec, array: npt.NDArray[Any], graph: str) -> InferInput:
    if array.dtype != np.dtype(spec.dtype) or not _fits(spec, array.shape):
        raise EngineError(
            f"{graph} takes {spec.name} as {spec.dtype} {list(spec.shape)}, got {array.dtype} "
            f"{list(array.shape)}"
        )
    tensor = InferInput(spec.name, list(array.shape), np_to_triton_dtype(array.dtype))
    return tensor.set_data_from_numpy(np.ascontiguousarray(array))


def _fits(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    """Whether a shape has the sides that the manifest fixes."""
    return len(shape) == len(spec.shape) and all(
        isinstance(said, str) or said == side for said, side in zip(spec.shape, shape, strict=True)
    )


def _describe(tensor: Any) -> GraphTensor:
    dtype = triton_to_np_dtype(tensor.datatype)
    shape = tuple(None if side < 0 else int(side) for side in tensor.shape)
    return GraphTensor(tensor.name, str(np.dtype(dtype)) if dtype else tensor.datatype, shape)
