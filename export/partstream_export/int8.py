"""A bundle whose convolutions compute in 8-bit whole numbers, calibrated on photos.

Weights are rounded to 256 steps a channel, activations to 256 a tensor, between the least and greatest value
that the photos bring about; the graphs say so by pairs of QuantizeLinear and DequantizeLinear, which ONNX
Runtime, OpenVINO and TensorRT turn into 8-bit arithmetic. All other operators stay as they are.

Shape suffixes: B batch, C colours, H and W network size.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

from partstream_core.manifest import Manifest, load_manifest, sha256_of
from partstream_export.bundle_writer import MODEL_CARD_NAME, draft_of, write_manifest

GRAPHS = ("backbone", "heads")
"""Graphs to quantise: they take nearly all of the time, and both read one image."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far an output of a rounded graph is from that of the graph it was made from, on the last photo."""

    graph: str
    output: str
    relative: float
    """Mean absolute difference over mean absolute value."""


def write_int8(
    bundle: Path,
    photos: Sequence[Path],
    out: Path,
    *,
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Deviation]:
    """Write the bundle anew with rounded graphs, and return how far their outputs are from the old ones.

    Raises:
        BundleError: The bundle is damaged.
        ValueError: There is no photo, one cannot be read, or a graph cannot be calibrated by photos alone.
        OSError: It cannot be written there.
    """
    if not photos:
        raise ValueError("there are no photos to calibrate with")
    manifest = load_manifest(bundle)
    _check_inputs(manifest)
    with draft_of(out, force=force) as draft:
        for path in bundle.iterdir():
            if path.suffix == ".onnx" or path.name == MODEL_CARD_NAME:
                (draft / path.name).write_bytes(path.read_bytes())
        progress("running the graphs on the photos")
        rows = _rows(bundle, manifest, photos)
        specs, deviations = dict(manifest.graphs), []
        for name in GRAPHS:
            progress(f"calibrating {name}")
            target = draft / manifest.graphs[name].file
            _quantise(bundle / manifest.graphs[name].file, target, rows[name])
            specs[name] = replace(specs[name], sha256=sha256_of(target))
            deviations += _deviations(name, bundle / manifest.graphs[name].file, target, rows[name][-1])
        write_manifest(draft, replace(manifest, name=f"{manifest.name}-int8"), specs)
    return deviations


def photos_in(folder: Path, *, most: int) -> list[Path]:
    """Up to so many photos of a folder, evenly spread over their names.

    Raises:
        OSError: The folder cannot be read.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int))
    return [found[index] for index in chosen] if found else []


def _check_inputs(manifest: Manifest) -> None:
    known = {"backbone": {"image"}, "heads": {"feature", "image"}}
    for name, inputs in known.items():
        strange = {spec.name for spec in manifest.graphs[name].inputs} - inputs
        if strange:
            raise ValueError(f"{name} reads {', '.join(sorted(strange))}, which photos do not bring about")


def _rows(bundle: Path, manifest: Manifest, photos: Sequence[Path]) -> dict[str, list[dict[str, FloatArray]]]:
    """Inputs of each graph, a photo a row."""
    images = [image_tensor(path, manifest) for path in photos]
    backbone = _session(bundle / manifest.graphs["backbone"].file)
    features = [backbone.run(["feature"], {"image": image})[0] for image in images]
    takes_image = any(spec.name == "image" for spec in manifest.graphs["heads"].inputs)
    return {
        "backbone": [{"image": image} for image in images],
        "heads": [
            {"feature": feature, "image": image} if takes_image else {"feature": feature}
            for feature, image in zip(features, images, strict=True)
        ],
    }


def image_tensor(path: Path, manifest: Manifest) -> FloatArray:
    """A photo as the network sees it, [1, C, H, W].

    Raises:
        ValueError: It cannot be read.
    """
    try:
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
    except OSError as error:
        raise ValueError(f"cannot read the photo {path}: {error}") from error
    spec = manifest.input
    scale = spec.longer_side / max(photo.size)
    size = [max(spec.multiple, round(side * scale / spec.multiple) * spec.multiple) for side in photo.size]
    pixels_HWC = np.asarray(photo.resize((size[0], size[1]), Image.Resampling.BILINEAR), np.float32)
    if manifest.normalisation.colour != "rgb":
        pixels_HWC = pixels_HWC[..., ::-1]
    mean = np.asarray(manifest.normalisation.mean, np.float32)
    std = np.asarray(manifest.normalisation.std, np.float32)
    return np.ascontiguousarray(((pixels_HWC - mean) / std).transpose(2, 0, 1)[None], np.float32)


class _Rows(CalibrationDataReader):  # type: ignore[misc] # untyped
    """Rows of inputs, one after the other."""

    def __init__(self, rows: Sequence[Mapping[str, FloatArray]]) -> None:
        self._rows: Iterator[Mapping[str, FloatArray]] = iter(rows)

    def get_next(self) -> Any:
        """The next row; None after the last."""
        return next(self._rows, None)


def _quantise(source: Path, target: Path, rows: Sequence[Mapping[str, FloatArray]]) -> None:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser advises to preprocess what was preprocessed
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(target),
                _Rows(rows),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv"],
            )
    finally:
        root.setLevel(level)


def _deviations(name: str, source: Path, target: Path, row: Mapping[str, FloatArray]) -> list[Deviation]:
    before, after = _session(source), _session(target)
    names = [output.name for output in before.get_outputs()]
    pairs = zip(before.run(names, dict(row)), after.run(names, dict(row)), strict=True)
    return [
        Deviation(name, output, float(np.abs(now - then).mean() / max(float(np.abs(then).mean()), 1e-9)))
        for output, (then, now) in zip(names, pairs, strict=True)
    ]


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
