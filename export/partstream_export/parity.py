"""Differences between a graph in ONNX Runtime and the network it came from in torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

LIMIT = 1e-3
"""Largest difference that a bundle is written with."""
_ERRORS_ONLY = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far one output is from torch's."""

    graph: str
    output: str
    case: str
    """The sizes it was run at."""
    value: float
    """max|a - b| / max|a|, a being torch's; infinite where shapes differ or a value is not finite."""


class ParityError(Exception):
    """A graph does not compute what its network computes; the message names the outputs at fault."""

    def __init__(self, differences: Sequence[Difference]) -> None:
        wrong = [one for one in worst(differences) if not one.value <= LIMIT]
        places = ", ".join(f"{one.graph}.{one.output} by {one.value:.1e} at {one.case}" for one in wrong)
        super().__init__(f"ONNX Runtime differs from torch by more than {LIMIT:g}: {places}")
        self.differences = tuple(differences)


class OnnxGraph:
    """A graph in ONNX Runtime on the CPU, in f32, with one thread."""

    def __init__(self, content: bytes) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name."""
        outputs = self._session.run(None, {name: np.asarray(tensor) for name, tensor in inputs.items()})
        names = [output.name for output in self._session.get_outputs()]
        return {name: torch.from_numpy(value) for name, value in zip(names, outputs, strict=True)}


def relative_difference(reference: Tensor, other: Tensor) -> float:
    """max|a - b| / max|a|; infinite where shapes differ or a value is not finite."""
    if reference.shape != other.shape:
        return float("inf")
    if reference.numel() == 0:
        return 0.0
    largest = float((reference.double() - other.double()).abs().max())
    scale = float(reference.double().abs().max())
    if not np.isfinite(largest + scale):
        return float("inf")
    if largest == 0:
        return 0.0
    return largest / scale if scale else float("inf")


def compare(
    graph: str, case: str, references: Mapping[str, Tensor], others: Mapping[str, Tensor]
) -> list[Difference]:
    """The difference of each output that the reference names."""
    return [
        Difference(graph=graph, output=name, case=case, value=relative_difference(reference, others[name]))
        for name, reference in references.items()
    ]


def worst(differences: Iterable[Difference]) -> list[Difference]:
    """The largest difference of each output of each graph, in the order of first appearance."""
    largest: dict[tuple[str, str], Difference] = {}
    for difference in differences:
        key = difference.graph, difference.output
        if key not in largest or difference.value > largest[key].value:
            largest[key] = difference
    return list(largest.values())


def require_parity(differences: Sequence[Difference]) -> None:
    """Pass, or refuse.

    Raises:
        ParityError: An output differs by more than the limit.
    """
    if not all(difference.value <= LIMIT for difference in differences):
        raise ParityError(differences)
