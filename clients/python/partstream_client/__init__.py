"""The Python client of a partstream server.

from partstream_client import Client

with Client("http://127.0.0.1:8000") as client:
    for frame in client.iter_frames("clip.mp4"):
        for person in frame.people:
            print(frame.index, person.identity, sorted(person.parts))
"""

from partstream_client.client import Client, Options
from partstream_client.errors import (
    AnswerError,
    ClientError,
    ConnectionFailedError,
    ProblemError,
    RejectedError,
    ServerFailedError,
    SourceError,
    UnavailableError,
    UnreachableError,
)
from partstream_client.frames import Frame, NoMaskError, ParseResult, Part, Person
from partstream_client.retry import RetryPolicy

__all__ = [
    "AnswerError",
    "Client",
    "ClientError",
    "ConnectionFailedError",
    "Frame",
    "NoMaskError",
    "Options",
    "ParseResult",
    "Part",
    "Person",
    "ProblemError",
    "RejectedError",
    "RetryPolicy",
    "ServerFailedError",
    "SourceError",
    "UnavailableError",
    "UnreachableError",
]
