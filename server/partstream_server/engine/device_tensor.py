"""Tensors that stay in a device's memory between graphs.

What one graph makes for another is not read by the host: it stays on the device and goes into the next run as
it is. To everybody else it is an array: whoever reads it gets a copy, made once, that cannot be written to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from numpy.lib.mixins import NDArrayOperatorsMixin

Array = npt.NDArray[Any]


class _Buffer:
    """One run's output on the device, and its copy on the host once somebody asked for it."""

    __slots__ = ("_host", "value")

    def __init__(self, value: ort.OrtValue) -> None:
        self.value = value
        self._host: Array | None = None

    def host(self) -> Array:
        if self._host is None:  # two threads at once make two equal copies, and one of them stays
            host = np.asarray(self.value.numpy())
            host.setflags(write=False)
            self._host = host
        return self._host


class DeviceTensor(NDArrayOperatorsMixin):
    """Rows of a tensor on a device; keeps the memory for as long as it lives."""

    __slots__ = ("_buffer", "_start", "_stop", "dtype", "shape")

    def __init__(self, buffer: _Buffer, dtype: np.dtype[Any], start: int, stop: int) -> None:
        self._buffer, self._start, self._stop = buffer, start, stop
        self.dtype = dtype
        self.shape = (stop - start, *buffer.value.shape()[1:])

    @classmethod
    def of(cls, value: ort.OrtValue, dtype: str) -> DeviceTensor:
        """All rows of a runtime's value."""
        return cls(_Buffer(value), np.dtype(dtype), 0, value.shape()[0])

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self._stop - self._start

    def __repr__(self) -> str:
        return f"DeviceTensor({list(self.shape)}, {self.dtype}, on {self._buffer.value.device_name()})"

    def bind(self, binding: ort.IOBinding, name: str, *, device: str, index: int) -> None:
        """Make it an input of a run on the device where it is; it must live until the run has ended."""
        row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        address = self._buffer.value.data_ptr() + self._start * row_bytes
        binding.bind_input(name, device, index, self.dtype, list(self.shape), address)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        """The rows on the host."""
        host = self._buffer.host()[self._start : self._stop]
        return np.array(host, dtype=dtype) if copy else np.asarray(host, dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        """Some of its rows, still on the device, for a plain slice; anything else is read on the host."""
        if isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(len(self))
            return DeviceTensor(self._buffer, self.dtype, self._start + start, self._start + max(start, stop))
        return np.asarray(self)[key]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Arithmetic happens on the host."""
        return getattr(ufunc, method)(*_on_host(inputs), **kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Sequence[type], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        """NumPy's functions read on the host, but rows that lie side by side are joined where they are."""
        if function is np.concatenate and len(args) == 1 and not kwargs:
            joined = _side_by_side(args[0])
            if joined is not None:
                return joined
        return function(*_on_host(args), **dict(zip(kwargs, _on_host(list(kwargs.values())), strict=True)))

    def followed_by(self, other: DeviceTensor) -> DeviceTensor | None:
        """Its rows and the other's, where those are the next ones of the same memory."""
        if other._buffer is not self._buffer or other._start != self._stop:
            return None
        return DeviceTensor(self._buffer, self.dtype, self._start, other._stop)


def _side_by_side(tensors: Sequence[Any]) -> DeviceTensor | None:
    """Tensors as one, where each begins in memory at the end of the one before."""
    joined: DeviceTensor | None = None
    for tensor in tensors:
        if not isinstance(tensor, DeviceTensor):
            return None
        joined = tensor if joined is None else joined.followed_by(tensor)
        if joined is None:
            return None
    return joined


def _on_host(values: Any) -> Any:
    if isinstance(values, DeviceTensor):
        return np.asarray(values)
    return type(values)(_on_host(value) for value in values) if isinstance(values, list | tuple) else values
