"""The committed wire code is what the .proto files make, and the messages mirror the JSON."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor import Descriptor

from partstream.v1 import results_pb2
from partstream_core.results import (
    FrameResult,
    ModelInfo,
    PartResult,
    PersonResult,
    VideoInfo,
    document_to_json,
)
from partstream_core.rle import Rle

DOCUMENT = document_to_json(
    VideoInfo(8, 6, 1, 25.0, 0.04, 0),
    ModelInfo("b", "1", "openvino", ("hair",)),
    [
        FrameResult(
            0,
            0.0,
            True,
            (
                PersonResult(
                    1,
                    0.5,
                    (0.0, 0.0, 1.0, 1.0),
                    Rle(6, 8, "`1"),
                    (PartResult("hair", 0.5, 0, Rle(6, 8, "`1")),),
                ),
            ),
        )
    ],
)
FRAME = DOCUMENT["frames"][0]
PERSON = FRAME["people"][0]


@pytest.fixture(scope="module")
def generator(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_proto", repository / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_making_the_code_anew_changes_nothing(
    generator: ModuleType, repository: Path, tmp_path: Path
) -> None:
    made = {path.relative_to(tmp_path): path.read_text("utf-8") for path in generator.generate(tmp_path)}
    proto = repository / "proto"
    committed = {
        path.relative_to(proto): path.read_text("utf-8") for path in proto.glob("partstream/**/*_pb2*.py*")
    }
    assert made == committed


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (results_pb2.FrameResult.DESCRIPTOR, FRAME),
        (results_pb2.Person.DESCRIPTOR, PERSON),
        (results_pb2.Part.DESCRIPTOR, PERSON["parts"][0]),
        (results_pb2.VideoInfo.DESCRIPTOR, DOCUMENT["video"]),
        (results_pb2.ModelInfo.DESCRIPTOR, DOCUMENT["model"]),
    ],
    ids=lambda each: each.name if isinstance(each, Descriptor) else "",
)
def test_a_message_has_the_fields_of_the_json(message: Descriptor, value: dict[str, object]) -> None:
    assert [field.name for field in message.fields] == list(value)


def test_a_frame_survives_the_wire() -> None:
    frame = results_pb2.FrameResult(index=2**40, time_s=1.5, key_frame=True)
    person = frame.people.add(identity=7, score=0.5, box=results_pb2.Box(x1=1, y1=2, x2=3, y2=4))
    person.mask.rle.CopyFrom(results_pb2.Rle(height=6, width=8, counts="`1"))
    person.parts.add(part="hair", area=12)

    back = results_pb2.FrameResult.FromString(frame.SerializeToString())

    assert back == frame
    assert back.people[0].mask.WhichOneof("form") == "rle"
    assert not back.people[0].parts[0].HasField("mask")
