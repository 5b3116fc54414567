"""Every entry point has the same options for frames, by the same names."""

from dataclasses import fields
from pathlib import Path

import pytest
from google.protobuf.message import Message
from typer.main import get_command

from partstream.v1 import service_pb2
from partstream_client import StreamOptions
from partstream_client.rest import Options, SourceOptions
from partstream_server.app.cli import app
from partstream_server.pipeline.parse_options import FrameOptions, ParseOptions
from partstream_server.rest.query import OPTIONS
from partstream_server.rest.requests import ConfigMessage
from partstream_server.rest.sources import SourceRequest
from partstream_server.streams import StreamConfig

FRAME_OPTIONS = set(FrameOptions.model_fields)
PARSE_OPTIONS = set(ParseOptions.model_fields)


def command_line() -> set[str]:
    """Options of `partstream parse`, by their names in Python."""
    command = get_command(app).get_command(None, "parse")  # type: ignore[attr-defined]
    renamed = {"encode": "encodes"}
    return {renamed.get(parameter.name, parameter.name) for parameter in command.params}


def message_fields(message: type[Message]) -> set[str]:
    """Names of a message's fields."""
    return set(message.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize(
    "names, wanted",
    [
        pytest.param(set(OPTIONS), PARSE_OPTIONS, id="REST query"),
        pytest.param(set(ConfigMessage.model_fields), FRAME_OPTIONS, id="WebSocket"),
        pytest.param(set(SourceRequest.model_fields), FRAME_OPTIONS, id="pulled source"),
        pytest.param({each.name for each in fields(StreamConfig)}, FRAME_OPTIONS, id="live stream"),
        pytest.param(
            set(service_pb2.StreamConfig.DESCRIPTOR.fields_by_name), FRAME_OPTIONS, id="StreamConfig"
        ),
        pytest.param(
            set(service_pb2.ParseVideoConfig.DESCRIPTOR.fields_by_name), PARSE_OPTIONS, id="ParseVideoConfig"
        ),
        pytest.param(set(Options.__annotations__), PARSE_OPTIONS, id="client, files"),
        pytest.param(set(SourceOptions.__annotations__), FRAME_OPTIONS, id="client, pulled sources"),
        pytest.param({each.name for each in fields(StreamOptions)}, FRAME_OPTIONS, id="client, live streams"),
        pytest.param(command_line(), PARSE_OPTIONS, id="command line"),
    ],
)
def test_every_entry_point_has_all_options(names: set[str], wanted: set[str]) -> None:
    assert wanted - names == set()


def test_the_documents_name_every_option_of_the_query(repository: Path) -> None:
    text = (repository / "docs" / "service.md").read_text("utf-8")
    assert [name for name in OPTIONS if f"| `{name}` |" not in text] == []
