"""Bundles in 8-bit whole numbers: they load, they see nearly the same, and mistakes are told."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partstream_core.manifest import load_manifest
from partstream_export.cli import main
from partstream_server.engine import create_engine, default_bundle_directory
from partstream_server.offline.parser import MediaParser
from partstream_server.pipeline.parse_options import ParseOptions
from tests.server.stream_fixtures import walk


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, image in enumerate(walk(4)):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
def test_a_rounded_bundle_is_served_and_sees_the_same_people(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = default_bundle_directory(), tmp_path / "int8"
    arguments = ["int8", "--bundle", str(bundle), "--photos", str(photos), "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "heads.part_probabilities: differs by" in capsys.readouterr().out
    assert load_manifest(out).name == f"{load_manifest(bundle).name}-int8"
    assert (out / "backbone.onnx").stat().st_size < 0.5 * (bundle / "backbone.onnx").stat().st_size
    found = []
    for directory in (bundle, out):
        for provider in ("openvino", "onnxruntime"):
            engine = create_engine(directory, provider=provider, precision="f32", num_threads=1)
            with MediaParser(photos / "0.png", engine, ParseOptions()) as parser:
                (picture,) = parser
            engine.close()
            assert picture.result is not None
            found.append(np.array(sorted(person.box for person in picture.result.people)))
    assert len(found[0])
    for boxes in found[1:]:
        assert boxes.shape == found[0].shape
        assert np.abs(boxes - found[0]).max() < 20


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "no photos"), (b"not a photo", "cannot read the photo")]
)
def test_photos_that_are_none_are_named(
    content: bytes | None, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    if content is not None:
        (folder / "one.jpg").write_bytes(content)
    out = tmp_path / "out"
    arguments = ["--bundle", str(default_bundle_directory()), "--photos", str(folder), "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main(["int8", *arguments])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
    assert not out.exists()
