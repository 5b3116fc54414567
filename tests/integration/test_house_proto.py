"""The committed wire code is what the .proto files make, and the messages mirror the JSON."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor

from partstream.v1 import results_pb2, service_pb2
from partstream_client import StreamOptions
from partstream_client.streaming.wire import config_message, frame_result, video_config_message
from partstream_core.results import (
    FrameResult,
    JointResult,
    ModelInfo,
    PartResult,
    PersonResult,
    VideoInfo,
    document_to_json,
    frame_from_json,
)
from partstream_core.rle import Rle
from partstream_server.grpc.messages import read_parse_options, read_stream_config, write_result

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
                    (JointResult("nose", 1.5, 2.5, 0.5),),
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
        path.relative_to(proto): path.read_text("utf-8")
        for path in proto.glob("partstream/**/*_pb2*.py*")
        if path.suffix in {".py", ".pyi"}
    }
    assert made == committed


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (results_pb2.FrameResult.DESCRIPTOR, FRAME),
        (results_pb2.Person.DESCRIPTOR, PERSON),
        (results_pb2.Part.DESCRIPTOR, PERSON["parts"][0]),
        (results_pb2.Joint.DESCRIPTOR, PERSON["joints"][0]),
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
    person.joints.add(joint="nose", x=-1.5, y=2.5, score=0.25)

    back = results_pb2.FrameResult.FromString(frame.SerializeToString())

    assert back == frame
    assert back.people[0].mask.WhichOneof("form") == "rle"
    assert not back.people[0].parts[0].HasField("mask")


def test_a_result_reaches_the_client_as_the_server_has_it() -> None:
    frame = frame_from_json(FRAME)
    assert frame.people[0].joints, "the example has a joint"
    message = results_pb2.FrameResult.FromString(write_result(frame).SerializeToString())
    assert frame_result(message) == frame


@pytest.mark.parametrize("wanted", [True, False])
def test_a_client_that_wants_no_joints_is_understood(wanted: bool) -> None:
    stream = config_message(StreamOptions(joints=wanted), b"")
    assert read_stream_config(stream.config).joints is wanted
    video = video_config_message(joints=wanted)
    assert read_parse_options(video.config).joints is wanted


def test_a_client_that_knows_no_joints_gets_them() -> None:
    assert read_stream_config(service_pb2.StreamConfig()).joints
    assert read_parse_options(service_pb2.ParseVideoConfig()).joints


def buf(*arguments: str | Path, cwd: Path) -> tuple[int, list[str]]:
    """Exit status and findings of `buf`."""
    command = [Path(sys.executable).parent / "buf", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_the_messages_keep_the_style_of_buf(repository: Path) -> None:
    assert buf("lint", cwd=repository / "proto") == (0, [])


def test_nothing_that_clients_rely_on_has_changed(repository: Path) -> None:
    assert buf("breaking", "--against", "baseline.binpb", cwd=repository / "proto") == (0, [])


def test_the_check_of_what_clients_rely_on_sees_each_kind_of_break(repository: Path, tmp_path: Path) -> None:
    proto = repository / "proto"
    changed = descriptor_pb2.FileDescriptorSet.FromString((proto / "baseline.binpb").read_bytes())
    (service,) = (file for file in changed.file if file.service)
    messages = {message.name: message for message in service.message_type}
    messages["StreamFrame"].field[0].number = 99
    messages["Latency"].field[0].type = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    del messages["GoingAway"].field[2]
    service.enum_type[0].value[1].number = 42
    service.service[0].method[0].client_streaming = False
    (tmp_path / "changed.binpb").write_bytes(changed.SerializeToString())
    status, findings = buf("breaking", tmp_path / "changed.binpb", "--against", "baseline.binpb", cwd=proto)
    assert status != 0
    broken = {name for finding in findings for name in re.findall(r'"(\w+)"', finding)}
    enum = service.enum_type[0].name
    assert broken >= {
        "StreamFrame",
        "index",
        "Latency",
        "total_ms",
        "GoingAway",
        "grace_ms",
        enum,
        "StreamParse",
    }
    assert len(findings) == 5
