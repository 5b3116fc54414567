"""Versions of NVIDIA's libraries, and the device's name, as the loaded libraries report them.

Source: the CUDA driver API (cuDeviceGetAttribute), TensorRT's NvInferRuntimeBase.h (getInferLibVersion).
"""

import ctypes
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from partstream_core.errors import EngineError

Load = Callable[[str], Any]
DRIVER: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
TENSORRT_LIBRARIES: Final = ("libnvinfer.so.10", "libnvonnxparser.so.10")
"""Of TensorRT 10, which ONNX Runtime is linked with; in the order in which they need each other."""
_MAJOR, _MINOR = 75, 76


def compute_capability(index: int, *, load: Load = ctypes.CDLL) -> str:
    """Compute capability of a CUDA device, such as 9.0.

    Raises:
        EngineError: There is no driver, or no such device.
    """
    try:
        driver = load(DRIVER)
    except OSError as error:
        raise EngineError(f"there is no NVIDIA driver here: {error}") from error
    device, count = ctypes.c_int(), ctypes.c_int()
    _done("cuInit", driver.cuInit(0))
    _done("cuDeviceGetCount", driver.cuDeviceGetCount(ctypes.byref(count)))
    if index >= count.value:
        raise EngineError(f"there is no CUDA device {index}: the driver knows {count.value}, counted from 0")
    _done("cuDeviceGet", driver.cuDeviceGet(ctypes.byref(device), index))
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        number = ctypes.c_int()
        _done("cuDeviceGetAttribute", driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device))
        numbers.append(str(number.value))
    return ".".join(numbers)


def tensorrt_version(*, load: Load = ctypes.CDLL) -> str:
    """Version of TensorRT, such as 10.16.1; its libraries stay loaded, and so are found by ONNX Runtime.

    Raises:
        EngineError: TensorRT 10 is not installed.
    """
    loaded = []
    for name in TENSORRT_LIBRARIES:
        try:
            loaded.append(_load_anywhere(name, load))
        except OSError as error:
            raise EngineError(
                f"TensorRT 10 is not installed ({error}); install NVIDIA's packages libnvinfer10 and "
                "libnvonnxparsers10, or tensorrt-cu13 10 from its index https://pypi.nvidia.com"
            ) from error
    number = int(loaded[0].getInferLibVersion())
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _load_anywhere(name: str, load: Load) -> Any:
    """A library from where the loader looks, or else from NVIDIA's Python package."""
    try:
        return load(name)
    except OSError:
        spec = find_spec("tensorrt_libs")
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (Path(folder) / name).is_file():
                return load(str(Path(folder) / name))
        raise


def _done(call: str, status: int) -> None:
    if status != 0:
        raise EngineError(f"the NVIDIA driver failed in {call} with error {status}")
