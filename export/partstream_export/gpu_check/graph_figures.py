"""Parity, milliseconds by batch and roofline share of every graph of a network, in torch on the device."""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from partstream_export.gpu_check.device import Device, Limits, Precision
from partstream_export.gpu_check.networks import inputs_for, moved, without_probes
from partstream_export.graphs import GraphDefinition
from partstream_models.networks.complexity import multiply_adds

PLACES = ("boxes", "locations", "guess", "flow")
"""Inputs that half precision would move by a pixel."""


@dataclass(frozen=True, slots=True)
class GraphFigures:
    """What was measured of one graph in one precision."""

    graph: str
    precision: Precision
    casting: str
    """`cast`: weights and inputs have the precision's type; `autocast`: torch casts layer by layer."""
    relative_error: float
    """Greatest difference from float32 on the CPU against the largest value, over outputs that are maps or
    rows of given people; the best detections of random weights are in another order in each precision."""
    milliseconds: dict[int, float] = field(default_factory=dict)
    """By batch."""
    captured_milliseconds: dict[int, float] = field(default_factory=dict)
    """By batch, replayed from a CUDA graph."""
    roofline_share: dict[int, float] = field(default_factory=dict)
    """By batch: least time by the device's limits against the shorter of the two times. Empty where the
    graph's operations cannot be counted (the scan of ATEN's encoder)."""


@contextmanager
def made_on(device: str) -> Iterator[None]:
    """Tensors that a graph makes itself are made on the device."""
    with torch.device(device), torch.inference_mode():
        yield


class RunnableGraph:
    """A graph's module on the device in one precision.

    Args:
        graph: Definition; its module is copied.
        device: Where it runs.
        precision: Of its arithmetic.

    Raises:
        RuntimeError: It runs neither with casted weights nor with autocast.
    """

    def __init__(self, graph: GraphDefinition, device: Device, precision: Precision) -> None:
        self._device, self._precision, self._graph = device, precision, graph
        castings = ["cast"] if precision.dtype is torch.float32 else ["cast", "autocast"]
        ways = list(itertools.product(castings, (torch.channels_last, torch.contiguous_format)))
        for number, (casting, layout) in enumerate(ways, 1):
            self.casting, self._layout = casting, layout
            self._module = self._moved()
            try:
                self(inputs_for(graph, batch=1, height=96, width=96))
                break
            except RuntimeError:
                if number == len(ways):
                    raise

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float32 if self.casting == "autocast" else self._precision.dtype

    def _moved(self) -> nn.Module:
        module = copy.deepcopy(self._graph.module)
        return moved(module, self._device.torch_name, self._dtype, self._layout)

    def place(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Inputs on the device, in the type that the module takes; places in a picture stay float32."""
        placed = []
        for spec, tensor in zip(self._graph.inputs, inputs, strict=True):
            there = tensor.to(self._device.torch_name)
            if there.is_floating_point() and spec.name not in PLACES:
                there = there.to(self._dtype)
            placed.append(there.to(memory_format=self._layout) if there.ndim == 4 else there)
        return tuple(placed)

    def run(self, placed: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Outputs for inputs that `place` returned."""
        autocast = torch.autocast(
            self._device.torch_name.split(":")[0],
            dtype=self._precision.dtype,
            enabled=self.casting == "autocast",
        )
        with made_on(self._device.torch_name), autocast:
            return without_probes(self._graph, self._module(*placed))

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Outputs for inputs on the host."""
        return self.run(self.place(inputs))

    def capture(self, placed: tuple[Tensor, ...]) -> Callable[[], object]:
        """A call that replays this run from a CUDA graph.

        Raises:
            RuntimeError: The run cannot be captured.
        """
        side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for _ in range(3):
                self.run(placed)
        torch.cuda.current_stream().wait_stream(side_stream)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            self.run(placed)
        return captured.replay


def largest_error(graph: GraphDefinition, found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Greatest difference against the largest value, over outputs that are not a choice of the best."""
    worst = 0.0
    for spec, one, other in zip(graph.outputs, found, expected, strict=True):
        chosen = (
            spec.shape[0] == "batch" and not any("/" in str(side) for side in spec.shape) and one.ndim > 1
        )
        if other.is_floating_point() and other.numel() and not chosen:
            scale = float(other.abs().max().clamp(min=1e-6))
            worst = max(worst, float((one.float().cpu() - other).abs().max()) / scale)
    return worst


def operations_of(graph: GraphDefinition, inputs: Sequence[Tensor]) -> float | None:
    """Operations of a run, two a multiply-add; None where torch cannot count them."""
    try:
        return 2.0 * multiply_adds(lambda: graph.module(*inputs))
    except (TypeError, NotImplementedError):
        return None


def num_bytes_of(graph: GraphDefinition, inputs: Sequence[Tensor], width: int) -> float:
    """Bytes that a graph has to read and write at least: inputs, weights and outputs, each once."""
    with torch.inference_mode():
        outputs = without_probes(graph, graph.module(*inputs))
    tensors = [*inputs, *outputs, *graph.module.parameters()]
    return float(sum(tensor.numel() for tensor in tensors) * width)


def measure_graph(
    graph: GraphDefinition,
    device: Device,
    precision: Precision,
    limits: Limits,
    *,
    batches: Sequence[int],
    size: tuple[int, int],
    repeats: int,
) -> GraphFigures:
    """Run a graph against itself on the CPU in float32, then time it batch by batch.

    A batch that does not fit into the device's memory ends the list.

    Raises:
        RuntimeError: The graph does not run on the device.
    """
    device.set_precision(precision)
    height, width = size
    runnable = RunnableGraph(graph, device, precision)
    inputs = inputs_for(graph, batch=1, height=height, width=width)
    with torch.inference_mode():
        expected = without_probes(graph, graph.module(*inputs))
    figures = GraphFigures(
        graph.name, precision, runnable.casting, largest_error(graph, runnable(inputs), expected)
    )
    flops = operations_of(graph, inputs)
    num_bytes = num_bytes_of(graph, inputs, precision.dtype.itemsize)
    for batch in batches:
        placed = runnable.place(inputs_for(graph, batch=batch, height=height, width=width))
        try:
            seconds = device.seconds(lambda placed=placed: runnable.run(placed), repeats=repeats)  # type: ignore[misc]
        except torch.OutOfMemoryError:
            break
        figures.milliseconds[batch] = seconds * 1e3
        if device.is_gpu:
            seconds = _captured(runnable, placed, device, figures, batch, repeats, seconds)
        if flops is not None:
            figures.roofline_share[batch] = limits.share(
                flops=flops * batch, num_bytes=num_bytes * batch, seconds=seconds, precision=precision
            )
    return figures


def _captured(
    runnable: RunnableGraph,
    placed: tuple[Tensor, ...],
    device: Device,
    figures: GraphFigures,
    batch: int,
    repeats: int,
    seconds: float,
) -> float:
    """Time the run from a CUDA graph, if it can be captured; return the shorter time."""
    try:
        replay = runnable.capture(placed)
    except RuntimeError:
        return seconds
    captured = device.seconds(replay, repeats=repeats)
    figures.captured_milliseconds[batch] = captured * 1e3
    return min(seconds, captured)
