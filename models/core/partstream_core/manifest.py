"""A bundle's manifest: `bundle.json`, which describes the graphs beside it.

The manifest is the contract between export and server. Reading it checks every field; `load_manifest` also
checks that the graph files are there and are the ones that were written. The server refuses everything else.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from partstream_core.assembly_config import AssemblyConfig, assembly_from_json, assembly_to_json
from partstream_core.errors import BundleError
from partstream_core.joints import NUM_JOINTS
from partstream_core.jsonread import Fields
from partstream_core.labels import PARTS
from partstream_core.schedule import ScheduleConfig
from partstream_core.schedule.config import schedule_from_json, schedule_to_json

FORMAT: Final = 1
"""The one manifest format there is."""

MANIFEST_NAME: Final = "bundle.json"
COLOURS: Final = ("rgb", "bgr")
TEMPORAL: Final = ("none", "window", "recurrent")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a graph; a side is a number, or the name of a side that may change."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One ONNX file of the bundle."""

    file: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Normalisation of pixels on the host: (pixel - mean) / std, a channel each, in this colour order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    colour: str


@dataclass(frozen=True, slots=True)
class Strides:
    """Input pixels for each cell of the feature map, the part probabilities and the masks."""

    feature: int
    parts: int
    masks: int


@dataclass(frozen=True, slots=True)
class Channels:
    """Widths of the tensors that pass between graphs."""

    feature: int
    mask_features: int
    mask_parameters: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Optional features that the bundle supports."""

    parts: tuple[str, ...]
    """Names of the parts without background; may be empty."""
    embedding: int | None
    """Width of the identity embedding, or None."""
    temporal: str
    joints: int = 0
    """Joints of a person that the backbone's maps hold: 17 in COCO's order, or none."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The size of the network's input."""

    longer_side: int
    multiple: int


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Defaults that were chosen with the weights."""

    score: float
    nms: float
    mask: float
    candidate: float


ROWS = "rows"
"""Name of the side of `instances` that counts people."""
BATCH_INDEX = "batch_index"
"""Input of `instances` that says which image a person is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Content of `bundle.json`."""

    name: str
    version: str
    licence: str
    training_data: tuple[str, ...]
    opset: int
    graphs: Mapping[str, GraphSpec]
    normalisation: Normalisation
    strides: Strides
    channels: Channels
    capabilities: Capabilities
    input: InputSpec
    top_k: int
    thresholds: Thresholds
    schedule: ScheduleConfig
    evaluation: Mapping[str, Any]
    assembly: AssemblyConfig = field(default_factory=AssemblyConfig)
    format: int = FORMAT

    @property
    def instance_maps(self) -> tuple[str, ...]:
        """Inputs of `instances` that are passed whole: maps of `heads`, or the feature."""
        inputs = self.graphs["instances"].inputs
        return tuple(spec.name for spec in inputs if spec.shape[:1] != (ROWS,))

    @property
    def instance_rows(self) -> tuple[str, ...]:
        """Inputs of `instances` that have a row a person, which `heads` puts out for each candidate."""
        inputs = self.graphs["instances"].inputs
        return tuple(spec.name for spec in inputs if spec.shape[:1] == (ROWS,) and spec.name != BATCH_INDEX)

    @classmethod
    def from_json(cls, value: object) -> "Manifest":
        """The manifest in a parsed `bundle.json`.

        Raises:
            BundleError: A field is missing or wrong; its `field` is the path.
        """
        fields = Fields(value, fail=BundleError)
        if fields.integer("format") != FORMAT:
            raise fields.error("format", f"must be {FORMAT}, got {fields.get('format')}")
        return cls(
            name=fields.string("name"),
            version=fields.string("version"),
            licence=fields.string("licence"),
            training_data=fields.strings("training_data"),
            opset=fields.integer("opset", minimum=1),
            graphs=_graphs(fields.child("graphs")),
            normalisation=_normalisation(fields.child("normalisation")),
            strides=Strides(**_integers(fields.child("strides"), "feature", "parts", "masks")),
            channels=_channels(fields.child("channels")),
            capabilities=_capabilities(fields.child("capabilities")),
            input=InputSpec(**_integers(fields.child("input"), "longer_side", "multiple")),
            top_k=fields.integer("top_k", minimum=1),
            thresholds=_thresholds(fields.child("thresholds")),
            schedule=schedule_from_json(fields.child("schedule")),
            evaluation=dict(fields.child("evaluation").values()),
            assembly=_assembly(fields),
        )

    def to_json(self) -> dict[str, Any]:
        """The manifest as `bundle.json` holds it."""
        document = {"format": self.format, **asdict(self)}
        document["schedule"] = schedule_to_json(self.schedule)
        document["assembly"] = assembly_to_json(self.assembly)
        if self.assembly == AssemblyConfig():
            del document["assembly"]
        document["capabilities"] = {
            name: value for name, value in document["capabilities"].items() if name != "joints" or value
        }
        plain: dict[str, Any] = json.loads(json.dumps(document))
        return plain


def load_manifest(directory: Path) -> Manifest:
    """The manifest of the bundle in a directory, once its graph files are found to be the ones it names.

    Raises:
        BundleError: The manifest is missing, damaged or wrong, or a graph file is missing or another one.
    """
    path = directory / MANIFEST_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(MANIFEST_NAME, f"cannot be read from {directory}: {error}") from error
    manifest = Manifest.from_json(document)
    for name, graph in manifest.graphs.items():
        file = directory / graph.file
        if not file.is_file():
            raise BundleError(f"graphs.{name}.file", f"there is no {file}")
        digest = sha256_of(file)
        if digest != graph.sha256:
            raise BundleError(f"graphs.{name}.sha256", f"is {graph.sha256}, but {graph.file} has {digest}")
    return manifest


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _graphs(fields: Fields) -> dict[str, GraphSpec]:
    if not fields.names():
        raise BundleError(fields.path, "must name at least one graph")
    return {name: _graph(fields.child(name)) for name in fields.names()}


def _graph(fields: Fields) -> GraphSpec:
    file = fields.string("file")
    if Path(file).name != file:
        raise fields.error("file", f"must be a file name without folders, got {file!r}")
    return GraphSpec(
        file=file,
        sha256=fields.string("sha256"),
        inputs=tuple(_tensor(tensor) for tensor in fields.children("inputs")),
        outputs=tuple(_tensor(tensor) for tensor in fields.children("outputs")),
    )


def _tensor(fields: Fields) -> TensorSpec:
    shape = fields.items("shape")
    for side in shape:
        if isinstance(side, bool) or not isinstance(side, int | str) or side in ("", 0):
            raise fields.error("shape", f"must hold positive numbers and names, got {list(shape)}")
    return TensorSpec(fields.string("name"), fields.string("dtype"), shape)


def _channels(fields: Fields) -> Channels:
    return Channels(**_integers(fields, "feature", "mask_features", "mask_parameters"))


def _normalisation(fields: Fields) -> Normalisation:
    mean, std = fields.numbers("mean", length=3), fields.numbers("std", length=3)
    if min(std) <= 0:
        raise fields.error("std", f"must be positive, got {list(std)}")
    colour = _one_of(fields, "colour", COLOURS)
    return Normalisation((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), colour)


def _capabilities(fields: Fields) -> Capabilities:
    parts = fields.strings("parts")
    for at, part in enumerate(parts):
        if part not in PARTS[1:] or part in parts[:at]:
            raise fields.error(f"parts[{at}]", f"must be a part, named once, got {part!r}")
    embedding = None if fields.get("embedding") is None else fields.integer("embedding", minimum=1)
    joints = fields.integer("joints") if "joints" in fields.names() else 0
    if joints not in (0, NUM_JOINTS):
        raise fields.error("joints", f"must be {NUM_JOINTS} or 0, got {joints}")
    return Capabilities(parts, embedding, _one_of(fields, "temporal", TEMPORAL), joints)


def _assembly(fields: Fields) -> AssemblyConfig:
    return assembly_from_json(fields.child("assembly")) if "assembly" in fields.names() else AssemblyConfig()


def _thresholds(fields: Fields) -> Thresholds:
    names = ("score", "nms", "mask", "candidate")
    return Thresholds(**{name: fields.number(name, minimum=0, maximum=1) for name in names})


def _integers(fields: Fields, *names: str) -> dict[str, int]:
    return {name: fields.integer(name, minimum=1) for name in names}


def _one_of(fields: Fields, name: str, choices: tuple[str, ...]) -> str:
    value = fields.string(name)
    if value not in choices:
        raise fields.error(name, f"must be one of {', '.join(choices)}, got {value!r}")
    return value
