"""Graphs of the networks, with random weights, and inputs of any batch and size for them.

Shape suffixes are those of the graphs' definitions (`partstream_export.graphs`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from partstream_core.manifest import TensorSpec
from partstream_export.graphs import GraphDefinition

HEIGHT, WIDTH = 288, 512
ROWS_PER_IMAGE = 5
"""People of each image."""
FRAMES = 3
"""Key frames that a window encoder takes."""
TOP_K = 64


@dataclass(frozen=True, slots=True)
class Network:
    """One network's graphs."""

    name: str
    graphs: tuple[GraphDefinition, ...]

    def graph(self, name: str) -> GraphDefinition:
        """The graph of that name."""
        return next(graph for graph in self.graphs if graph.name == name)


def _live() -> Network:
    from partstream_export.live_graphs import live_graphs  # noqa: PLC0415 - each network imports its own
    from partstream_models.networks.live import LiveNetwork  # noqa: PLC0415

    return Network("live", live_graphs(LiveNetwork(temporal=True).eval(), top_k=TOP_K))


def _aten() -> Network:
    from partstream_export.aten_graphs import aten_graphs  # noqa: PLC0415
    from partstream_models.networks.aten import ATEN, ATENConfig  # noqa: PLC0415

    return Network("aten-r50", aten_graphs(ATEN(ATENConfig()).eval()))


def _hvisnet() -> Network:
    from partstream_export.hvisnet_definitions import hvisnet_definitions  # noqa: PLC0415
    from partstream_models.networks.hvisnet import HVISNet, HVISNetConfig  # noqa: PLC0415

    return Network("hvisnet", hvisnet_definitions(HVISNet(HVISNetConfig()).eval(), top_k=TOP_K))


NETWORKS: dict[str, Callable[[], Network]] = {"live": _live, "aten-r50": _aten, "hvisnet": _hvisnet}


def side(name: int | str, *, batch: int, height: int, width: int) -> int:
    """The length of a side that a definition names.

    Raises:
        ValueError: The name is not known.
    """
    if isinstance(name, int):
        return name
    base, _, divisor = name.partition("/")
    lengths = {
        "batch": batch,
        "rows": batch * ROWS_PER_IMAGE,
        "frames": FRAMES,
        "height": height,
        "width": width,
    }
    if base not in lengths:
        raise ValueError(f"a side named {name!r} is not known")
    return lengths[base] // int(divisor or 1)


def inputs_for(
    graph: GraphDefinition, *, batch: int, height: int = HEIGHT, width: int = WIDTH, seed: int = 1
) -> tuple[Tensor, ...]:
    """Random inputs of a graph, float32 and int64, on the host.

    Boxes have a positive area, strides are those of the networks, and batch indices are in range.
    """
    generator = torch.Generator().manual_seed(seed)

    def make(spec: TensorSpec) -> Tensor:
        shape = [side(each, batch=batch, height=height, width=width) for each in spec.shape]
        if spec.dtype == "int64":
            return torch.arange(shape[0]) // ROWS_PER_IMAGE
        values = torch.rand(shape, generator=generator)
        if spec.name == "boxes":
            corner = values[:, :2] * torch.tensor([width / 2, height / 2])
            return torch.cat([corner, corner + 8 + values[:, 2:] * torch.tensor([width, height]) / 3], dim=1)
        if spec.name == "locations":
            return torch.cat(
                [values[:, :2] * torch.tensor([width, height]), torch.full_like(values[:, :1], 8)], 1
            )
        return values * 2 - 1

    return tuple(make(spec) for spec in graph.inputs)


def without_probes(graph: GraphDefinition, outputs: object) -> tuple[Tensor, ...]:
    """The outputs that ship, of what a graph's module returns."""
    found = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple(found[: len(graph.outputs)])


def moved(module: nn.Module, device: str, dtype: torch.dtype, layout: torch.memory_format) -> nn.Module:
    """The module on a device, in evaluation mode, its convolutions' weights in that layout."""
    return module.to(device=device, dtype=dtype, memory_format=layout).eval()  # type: ignore[call-overload, no-any-return]
