"""MoveNet's frozen trunk, computed by OpenVINO during training.

The other modules train in torch. A frozen trunk needs no gradient, and OpenVINO with bf16 computes its
features in half of torch's time.

Shape suffixes: B batch, C channels, H and W network size.
"""

import warnings

import torch
from torch import Tensor, nn

from partstream_core.privacy import keep_runtimes_silent
from partstream_models.networks.mobilenet_v2 import Taps
from partstream_models.networks.movenet import MoveNetTaps, MoveNetTrunk

keep_runtimes_silent()
try:
    import openvino
except ImportError:  # an optional package: torch computes the same
    openvino = None


class FrozenTrunk:
    """Features of a frozen trunk; compiles one OpenVINO model for each input shape.

    Compilation copies the weights, so later changes of the trunk's parameters have no effect.

    Args:
        trunk: The trunk; none of its parameters may require a gradient.
        num_threads: Number of OpenVINO threads.

    Raises:
        ValueError: A parameter of the trunk requires a gradient.
    """

    def __init__(self, trunk: MoveNetTrunk, *, num_threads: int) -> None:
        if any(parameter.requires_grad for parameter in trunk.parameters()):
            raise ValueError("the trunk learns: it cannot be compiled")
        self._trunk, self._num_threads = trunk, num_threads
        self._requests: dict[tuple[int, ...], openvino.InferRequest] = {}

    @staticmethod
    def is_available() -> bool:
        """Whether OpenVINO is installed."""
        return openvino is not None

    def __call__(self, image_BCHW: Tensor) -> MoveNetTaps:
        """Features of RGB images in [-1, 1] on the CPU."""
        shape = tuple(image_BCHW.shape)
        if shape not in self._requests:
            self._requests[shape] = self._compile(image_BCHW)
        outputs = self._requests[shape].infer({0: image_BCHW.contiguous().numpy()})
        stride4, stride8, stride16, stride32, pyramid = (
            torch.from_numpy(array.copy()) for array in outputs.values()
        )
        return MoveNetTaps(Taps(stride4, stride8, stride16, stride32), pyramid)

    def _compile(self, image_BCHW: Tensor) -> "openvino.InferRequest":
        with warnings.catch_warnings():
            # OpenVINO's converter traces with torch.jit, which torch has deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            model = openvino.convert_model(
                _Flat(self._trunk), example_input=image_BCHW, input=list(image_BCHW.shape)
            )
        options = {"INFERENCE_NUM_THREADS": self._num_threads, "NUM_STREAMS": 1}
        return openvino.Core().compile_model(model, "CPU", options).create_infer_request()


class _Flat(nn.Module):
    """The trunk with its outputs as one tuple."""

    def __init__(self, trunk: MoveNetTrunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        taps, pyramid = self.trunk(image_BCHW)
        return (*taps, pyramid)
