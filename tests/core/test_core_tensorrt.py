"""Records of TensorRT engines: what fits is found, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partstream_core.errors import EngineError
from partstream_core.manifest import sha256_of
from partstream_core.nvidia import compute_capability, tensorrt_version
from partstream_core.tensorrt import BuiltGraph, EngineKey, EngineSet, Profile, find_engines, read_engines

KEY = EngineKey(bundle="ab" * 32, tensorrt="10.16.1", onnxruntime="1.31.1", compute_capability="9.0")
PROFILE = Profile(
    least={"image": (1, 3, 288, 288)}, best={"image": (1, 3, 288, 512)}, most={"image": (4, 3, 512, 512)}
)


def write(directory: Path, precision: str = "fp16", key: EngineKey = KEY) -> Path:
    folder = directory / key.folder(precision)
    folder.mkdir(parents=True)
    (folder / "backbone_ctx.onnx").write_bytes(b"an engine")
    graph = BuiltGraph(
        file="backbone_ctx.onnx", sha256=sha256_of(folder / "backbone_ctx.onnx"), profile=PROFILE
    )
    EngineSet(key=key, precision=precision, graphs={"backbone": graph}).write(folder)
    return folder


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    engines = read_engines(write(tmp_path))
    assert (engines.key, engines.precision) == (KEY, "fp16")
    assert engines.graphs["backbone"].profile == PROFILE


def test_engines_are_found_by_their_whole_key(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert find_engines(tmp_path, KEY, "fp16", bundle=tmp_path)[0] == folder


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "cd" * 32},
        {"tensorrt": "10.15.0"},
        {"onnxruntime": "1.30.0"},
        {"compute_capability": "8.9"},
    ],
)
def test_engines_of_another_key_are_refused_and_the_command_that_builds_them_is_named(
    tmp_path: Path, change: dict[str, str]
) -> None:
    folder = write(tmp_path)
    with pytest.raises(EngineError) as caught:
        find_engines(tmp_path, replace(KEY, **change), "auto", bundle=Path("some/bundle"))
    words = str(caught.value)
    assert f"partstream-export tensorrt --bundle some/bundle --out {tmp_path}" in words
    assert folder.name in words
    assert next(iter(change.values()))[:12] in words


def test_a_renamed_folder_does_not_make_engines_fit(tmp_path: Path) -> None:
    other = replace(KEY, compute_capability="8.9")
    write(tmp_path).rename(tmp_path / other.folder("fp16"))
    with pytest.raises(EngineError, match=r"holds engines for .*capability 9\.0"):
        find_engines(tmp_path, other, "fp16", bundle=tmp_path)


def test_a_precision_that_was_not_built_is_refused_and_auto_takes_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, "int8")
    with pytest.raises(EngineError, match="--precision fp16"):
        find_engines(tmp_path, KEY, "fp16", bundle=tmp_path)
    assert find_engines(tmp_path, KEY, "auto", bundle=tmp_path)[1].precision == "int8"
    write(tmp_path, "fp16")
    assert find_engines(tmp_path, KEY, "auto", bundle=tmp_path)[1].precision == "fp16"


def test_engines_that_were_changed_or_lost_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "backbone_ctx.onnx").write_bytes(b"another engine")
    with pytest.raises(EngineError, match=r"graphs\.backbone\.file"):
        read_engines(folder)
    (folder / "backbone_ctx.onnx").unlink()
    with pytest.raises(EngineError, match=r"graphs\.backbone\.file"):
        read_engines(folder)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), 2, "format must be 1"),
        (("key", "tensorrt"), "", "key.tensorrt must be a string"),
        (("graphs", "backbone", "file"), "../outside.onnx", "without folders"),
        (("graphs", "backbone", "profile", "most", "image"), [1, 0], "positive numbers"),
        (("graphs", "backbone", "profile", "best"), [], "profile.best must be an object"),
    ],
)
def test_a_damaged_record_is_refused_by_field(
    tmp_path: Path, path: tuple[str, ...], value: Any, words: str
) -> None:
    folder = write(tmp_path)
    document = json.loads((folder / "engines.json").read_text())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (folder / "engines.json").write_text(json.dumps(document))
    with pytest.raises(EngineError, match=words):
        read_engines(folder)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_record_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path)
    (folder / "engines.json").write_text(text)
    with pytest.raises(EngineError, match=r"engines\.json"):
        read_engines(folder)


@pytest.mark.parametrize("shape", [(1, 3, 288, 512), (4, 3, 512, 288)])
def test_a_profile_takes_what_lies_inside_it(shape: tuple[int, ...]) -> None:
    PROFILE.check("backbone", {"image": shape, "not_in_it": (1,)})


@pytest.mark.parametrize("shape", [(5, 3, 288, 512), (1, 3, 256, 512), (1, 3, 288, 544), (3, 288, 512)])
def test_a_profile_refuses_what_lies_outside(shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match=r"image is .*takes 1x3x288x288 to 4x3x512x512"):
        PROFILE.check("backbone", {"image": shape})


class Driver:
    """A driver that knows some devices, as the CUDA driver API answers."""

    def __init__(self, *devices: tuple[int, int], broken: str = "") -> None:
        self._devices, self._broken = devices, broken

    def _status(self, call: str) -> int:
        return 999 if call == self._broken else 0

    def cuInit(self, flags: int) -> int:
        assert flags == 0, "the driver takes no other"
        return self._status("cuInit")

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self._devices)
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        device._obj.value = ordinal
        return 0

    def cuDeviceGetAttribute(self, number: Any, attribute: int, device: Any) -> int:
        number._obj.value = self._devices[device.value][attribute - 75]
        return self._status("cuDeviceGetAttribute")


def test_a_devices_compute_capability_is_the_drivers_word() -> None:
    driver = Driver((8, 9), (12, 0))
    assert [compute_capability(index, load=lambda _: driver) for index in range(2)] == ["8.9", "12.0"]
    with pytest.raises(EngineError, match="no CUDA device 2: the driver knows 2"):
        compute_capability(2, load=lambda _: driver)


@pytest.mark.parametrize("call", ["cuInit", "cuDeviceGetAttribute"])
def test_a_driver_that_fails_is_an_error_with_its_number(call: str) -> None:
    with pytest.raises(EngineError, match=f"{call} with error 999"):
        compute_capability(0, load=lambda _: Driver((9, 0), broken=call))


def test_a_library_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="no NVIDIA driver here"):
        compute_capability(0, load=absent)
    with pytest.raises(EngineError, match=r"TensorRT 10 is not installed .*libnvinfer10"):
        tensorrt_version(load=absent)


def absent(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


class Library:
    def getInferLibVersion(self) -> int:
        return 101601


def test_tensorrts_version_is_read_from_its_number() -> None:
    loaded: list[str] = []

    def load(name: str) -> Any:
        loaded.append(name)
        return Library()

    assert tensorrt_version(load=load) == "10.16.1"
    assert loaded == ["libnvinfer.so.10", "libnvonnxparser.so.10"]
