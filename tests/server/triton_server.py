"""A server of KServe's protocol v2 in this process: a model repository's graphs on ONNX Runtime.

It answers as Triton documents: shapes with the batch first where a model is batched, raw contents only, and
gRPC statuses NOT_FOUND and INVALID_ARGUMENT. Ensembles are left out.
"""

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime as ort
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype


class TritonServicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The models of a repository; `release` unset holds every inference back."""

    def __init__(self, repository: Path) -> None:
        self.configs = {
            path.parent.name: text_format.Parse(path.read_text("utf-8"), model_config_pb2.ModelConfig())
            for path in sorted(repository.glob("*/config.pbtxt"))
        }
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.sessions = {
            path.parent.parent.name: ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for path in sorted(repository.glob("*/1/model.onnx"))
        }
        self.release = threading.Event()
        self.release.set()
        self.num_runs = 0

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        return service_pb2.ModelConfigResponse(config=self._config(request.name, context))

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        config = self._config(request.name, context)
        batch = [-1] if config.max_batch_size else []
        answer = service_pb2.ModelMetadataResponse(name=config.name, versions=["1"], platform=config.platform)
        for mine, theirs in ((config.input, answer.inputs), (config.output, answer.outputs)):
            for each in mine:
                dtype = model_config_pb2.DataType.Name(each.data_type).removeprefix("TYPE_")
                theirs.add(name=each.name, datatype=dtype, shape=batch + list(each.dims))
        return answer

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.release.wait(10)
        config = self._config(request.model_name, context)
        given = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            array = np.frombuffer(raw, triton_to_np_dtype(tensor.datatype)).reshape(list(tensor.shape))
            if config.max_batch_size and len(array) > config.max_batch_size:
                words = f"batch-size must be <= {config.max_batch_size} for '{config.name}'"
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, words)
            given[tensor.name] = array
        names = [output.name for output in request.outputs]
        found = self.sessions[config.name].run(names, given)
        self.num_runs += 1
        answer = service_pb2.ModelInferResponse(model_name=config.name, model_version="1")
        for name, array in zip(names, found, strict=True):
            answer.outputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
            answer.raw_output_contents.append(array.tobytes())
        return answer

    def _config(self, name: str, context: grpc.ServicerContext) -> Any:
        if name not in self.configs:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found")
        return self.configs[name]


@contextmanager
def triton_server(repository: Path, port: int = 0) -> Iterator[tuple[TritonServicer, str]]:
    """A server on a loopback port, a free one by default, and its address."""
    servicer = TritonServicer(repository)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        servicer.release.set()
        server.stop(None).wait()
