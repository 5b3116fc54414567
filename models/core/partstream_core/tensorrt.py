"""TensorRT engines on disk: what they were built from and for, and how they are found again.

An engine is a program for one version of TensorRT on one kind of device. A set of engines, one a graph, lies
in a folder whose name and record hold the key of all that: the exporter builds and writes it, and the server
loads exactly what fits. ONNX Runtime's version is part of the key, for its documentation asks for new engines
when it changes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from partstream_core.errors import EngineError
from partstream_core.jsonread import Fields
from partstream_core.manifest import Manifest, sha256_of

FORMAT: Final = 1
RECORD_NAME: Final = "engines.json"
ENGINES_FOLDER: Final = "tensorrt"
"""Default folder of engines inside a bundle."""
PRECISIONS: Final = ("fp16", "f32", "int8")
"""Precisions of engines; `auto` takes the first that was built."""
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """Properties of bundle, runtimes and device that an engine is built for."""

    bundle: str
    """SHA-256 over the bundle's graphs."""
    tensorrt: str
    onnxruntime: str
    compute_capability: str

    def folder(self, precision: str) -> str:
        """Name of the folder of a set of engines."""
        runtimes = f"trt{self.tensorrt}-ort{self.onnxruntime}"
        return f"{self.bundle[:12]}-{runtimes}-sm{self.compute_capability}-{precision}"

    def __str__(self) -> str:
        return (
            f"bundle {self.bundle[:12]}, TensorRT {self.tensorrt}, ONNX Runtime {self.onnxruntime}, "
            f"compute capability {self.compute_capability}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Shapes of a graph's inputs that an engine takes, and those it is fastest with."""

    least: Shapes
    best: Shapes
    most: Shapes

    def check(self, graph: str, shapes: Shapes) -> None:
        """Refuse shapes that the engine was not built for.

        Raises:
            EngineError: One of them lies outside; it is named with the limits.
        """
        for name, shape in shapes.items():
            least, most = self.least.get(name), self.most.get(name)
            if least is None or most is None:
                continue
            same = len(shape) == len(least)
            if not same or any(not a <= b <= c for a, b, c in zip(least, shape, most, strict=True)):
                raise EngineError(
                    f"{graph}: {name} is {_sides(shape)}, but its TensorRT engine takes {_sides(least)} to "
                    f"{_sides(most)}; build engines with --sizes and --max-batch that cover it"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltGraph:
    """One graph's engine, in a context model of ONNX Runtime."""

    file: str
    sha256: str
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSet:
    """The record of a folder of engines."""

    key: EngineKey
    precision: str
    graphs: Mapping[str, BuiltGraph]
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Put the record beside its engines."""
        text = json.dumps(asdict(self), indent=2)
        (folder / RECORD_NAME).write_text(text + "\n", encoding="utf-8")


def bundle_hash(manifest: Manifest) -> str:
    """SHA-256 over the names and hashes of a bundle's graphs; texts and thresholds do not change it."""
    listed = sorted((name, graph.sha256) for name, graph in manifest.graphs.items())
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def read_engines(folder: Path) -> EngineSet:
    """The record of a folder, once its files are found to be the ones it names.

    Raises:
        EngineError: The record is damaged, or a file is missing or another one.
    """
    path = folder / RECORD_NAME

    def fail(field: str, message: str) -> EngineError:
        return EngineError(f"{path}: {field} {message}")

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read: {error}") from error
    fields = Fields(document, fail=fail)
    if fields.integer("format") != FORMAT:
        raise fields.error("format", f"must be {FORMAT}, got {fields.get('format')}")
    key = fields.child("key")
    graphs = fields.child("graphs")
    found = EngineSet(
        key=EngineKey(
            bundle=key.string("bundle"),
            tensorrt=key.string("tensorrt"),
            onnxruntime=key.string("onnxruntime"),
            compute_capability=key.string("compute_capability"),
        ),
        precision=fields.string("precision"),
        graphs={name: _graph(graphs.child(name)) for name in graphs.names()},
    )
    for name, graph in found.graphs.items():
        file = folder / graph.file
        if not file.is_file() or sha256_of(file) != graph.sha256:
            raise fields.error(
                f"graphs.{name}.file", f"{graph.file} is missing or another one; build it again"
            )
    return found


def find_engines(directory: Path, key: EngineKey, precision: str, *, bundle: Path) -> tuple[Path, EngineSet]:
    """The folder of engines with exactly this key, and its record.

    Args:
        directory: Holds the folders.
        key: Of the bundle, the runtimes and the device at hand.
        precision: One of PRECISIONS, or auto.
        bundle: Named in the command that builds what is missing.

    Raises:
        EngineError: There are none; what there is and the command that builds them are named.
    """
    for one in PRECISIONS if precision == "auto" else (precision,):
        folder = directory / key.folder(one)
        if not (folder / RECORD_NAME).is_file():
            continue
        engines = read_engines(folder)
        if (engines.key, engines.precision) != (key, one):
            raise EngineError(
                f"{folder} holds engines for {engines.key} in {engines.precision}; build them again"
            )
        return folder, engines
    others = sorted(path.parent.name for path in directory.glob(f"*/{RECORD_NAME}"))
    there = f"it holds {', '.join(others)}" if others else "it holds none"
    wanted = "" if precision == "auto" else f" --precision {precision}"
    raise EngineError(
        f"no TensorRT engines for {key} in {directory} ({there}); build them on this machine: "
        f"partstream-export tensorrt --bundle {bundle} --out {directory}{wanted}"
    )


def _graph(fields: Fields) -> BuiltGraph:
    file = fields.string("file")
    if Path(file).name != file:
        raise fields.error("file", f"must be a file name without folders, got {file!r}")
    profile = fields.child("profile")
    least, best, most = (_shapes(profile.child(name)) for name in ("least", "best", "most"))
    return BuiltGraph(
        file=file, sha256=fields.string("sha256"), profile=Profile(least=least, best=best, most=most)
    )


def _shapes(fields: Fields) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name in fields.names():
        sides: tuple[Any, ...] = fields.items(name)
        if not all(isinstance(side, int) and side > 0 for side in sides):
            raise fields.error(name, f"must hold positive numbers, got {list(sides)}")
        found[name] = sides
    return found


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
