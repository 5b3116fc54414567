"""How many live streams of 30 frames a second share the device with a 95th percentile below 50 ms.

Frames arrive on a clock, each stream at its own phase; what waits is run together, key frames and frames
between apart, in the live network's graphs on the device. Pictures go up as uint8; boxes, scores, masks and
the label map come down. Decoding, assembly and tracking are work of the CPU and are not part of this figure.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partstream_export.gpu_check.device import Device, Precision
from partstream_export.gpu_check.graph_figures import RunnableGraph
from partstream_export.gpu_check.networks import Network, inputs_for

FRAMES_PER_S = 30.0
INTERVAL = 3
"""One frame in so many is a key frame."""
LATENCY_S = 0.05
MAX_BATCH = 64


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """Latency of one number of streams."""

    num_streams: int
    p50_ms: float
    p95_ms: float
    num_frames: int
    num_late: int
    """Frames that were still waiting at the end."""
    mean_batch: float

    @property
    def keeps_up(self) -> bool:
        """Whether the 95th percentile is in time and no queue grows."""
        return self.p95_ms <= LATENCY_S * 1e3 and self.num_late <= 2 * self.num_streams


class LivePath:
    """A key frame's and another frame's way through the live network's graphs.

    Args:
        network: The live network's graphs.
        device: Where they run.
        precision: Of their arithmetic.
        size: Height and width of the network.
    """

    def __init__(self, network: Network, device: Device, precision: Precision, size: tuple[int, int]) -> None:
        device.set_precision(precision)
        names = ("backbone", "propagate", "temporal", "heads", "instances")
        self._graphs = {name: RunnableGraph(network.graph(name), device, precision) for name in names}
        self._network, self._device, self._size = network, device, size
        self._inputs: dict[tuple[str, int], tuple[Tensor, ...]] = {}

    def run(self, images_BHWC: Tensor, *, is_key: bool) -> Sequence[Tensor]:
        """Outputs on the host for pictures on the host, uint8."""
        batch = len(images_BHWC)
        images = images_BHWC.to(self._device.torch_name, non_blocking=True).permute(0, 3, 1, 2)
        images = images.to(memory_format=torch.channels_last) / 127.5 - 1
        image = self._like("heads", batch, 1, images)
        if is_key:
            self._run("backbone", batch, {0: image})
            self._run("propagate", batch, {})
            feature = self._run("temporal", batch, {})[0]
        else:
            feature = self._run("propagate", batch, {})[0]
        boxes, scores, *_, parts = self._run("heads", batch, {0: feature, 1: image})
        masks = self._run("instances", batch, {})[0]
        labels = parts.argmax(dim=1).to(torch.uint8)
        found = [boxes, scores, masks > 0.5, labels]
        return [tensor.to("cpu") for tensor in found]

    def _like(self, graph: str, batch: int, row: int, tensor: Tensor) -> Tensor:
        return tensor.to(self._placed(graph, batch)[row].dtype)

    def _placed(self, graph: str, batch: int) -> tuple[Tensor, ...]:
        if (graph, batch) not in self._inputs:
            height, width = self._size
            inputs = inputs_for(self._network.graph(graph), batch=batch, height=height, width=width)
            self._inputs[graph, batch] = self._graphs[graph].place(inputs)
        return self._inputs[graph, batch]

    def _run(self, graph: str, batch: int, given: dict[int, Tensor]) -> tuple[Tensor, ...]:
        placed = list(self._placed(graph, batch))
        for row, tensor in given.items():
            placed[row] = tensor.to(placed[row].dtype)
        return self._graphs[graph].run(placed)


def padded(count: int, max_batch: int) -> int:
    """The next power of two: batches of few sizes keep the libraries' choices of kernels."""
    return min(1 << (count - 1).bit_length(), max_batch)


def run_streams(
    path: LivePath, num_streams: int, *, seconds: float, size: tuple[int, int], max_batch: int = MAX_BATCH
) -> StreamFigures:
    """Latencies, from arrival to answer, of so many streams that are fed in real time for so many seconds."""
    height, width = size
    images = torch.zeros(max_batch, height, width, 3, dtype=torch.uint8)
    images = images.pin_memory() if torch.cuda.is_available() else images
    for is_key in (True, False):
        count = 1
        while count <= padded(num_streams, max_batch):
            path.run(images[:count], is_key=is_key)
            count *= 2
    arrivals = _arrivals(num_streams, seconds)
    waiting: dict[bool, deque[float]] = {True: deque(), False: deque()}
    latencies: list[float] = []
    batches: list[int] = []
    start, position = time.perf_counter(), 0
    while (now := time.perf_counter() - start) < seconds:
        while position < len(arrivals) and arrivals[position][0] <= now:
            waiting[arrivals[position][1]].append(arrivals[position][0])
            position += 1
        kind = min((k for k in waiting if waiting[k]), key=lambda k: waiting[k][0], default=None)
        if kind is None:
            time.sleep(0.0002)
            continue
        count = min(len(waiting[kind]), max_batch)
        path.run(images[: padded(count, max_batch)], is_key=kind)
        done = time.perf_counter() - start
        latencies += [done - waiting[kind].popleft() for _ in range(count)]
        batches.append(count)
    late = sum(map(len, waiting.values()))
    p50, p95 = (
        (float(np.percentile(latencies, share)) * 1e3 for share in (50, 95)) if latencies else (0.0, 0.0)
    )
    return StreamFigures(num_streams, p50, p95, len(latencies), late, float(np.mean(batches or [0])))


def _arrivals(num_streams: int, seconds: float) -> list[tuple[float, bool]]:
    """Time of arrival of each frame and whether it is a key frame, in order of time."""
    found = []
    for stream in range(num_streams):
        phase = stream / num_streams / FRAMES_PER_S
        found += [
            (phase + index / FRAMES_PER_S, (index + stream) % INTERVAL == 0)
            for index in range(int(seconds * FRAMES_PER_S))
        ]
    return sorted(found)


def most_streams(
    path: LivePath, *, seconds: float, size: tuple[int, int], most: int = 1024
) -> list[StreamFigures]:
    """Double the streams until they do not keep up, then halve the gap three times; all that was tried."""
    tried: list[StreamFigures] = []
    good, bad = 0, 0
    count = 1
    while count <= most:
        tried.append(run_streams(path, count, seconds=seconds, size=size))
        if not tried[-1].keeps_up:
            bad = count
            break
        good, count = count, count * 2
    for _ in range(3):
        middle = (good + bad) // 2
        if not good < middle < bad:
            break
        tried.append(run_streams(path, middle, seconds=seconds, size=size))
        good, bad = (middle, bad) if tried[-1].keeps_up else (good, middle)
    return tried
