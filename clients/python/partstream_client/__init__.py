"""The Python client of a partstream server.

from partstream_client import Client

with Client("http://127.0.0.1:8000") as client:
    for frame in client.iter_frames("clip.mp4"):
        for person in frame.people:
            print(frame.index, person.identity, sorted(person.parts))
"""

from partstream_client.async_client import AsyncClient, Settings
from partstream_client.client import Client, Job
from partstream_client.errors import (
    AnswerError,
    AuthError,
    ClientError,
    ConnectionFailedError,
    DeadlineError,
    MissingExtraError,
    ProblemError,
    RejectedError,
    ServerFailedError,
    SourceError,
    UnavailableError,
    UnreachableError,
)
from partstream_client.follow import FollowedFrame, FollowResult, Target
from partstream_client.frames import Frame, ParseResult, UnknownSizeError
from partstream_client.jobs import AsyncJob, JobStatus
from partstream_client.people import Joint, Part, Person
from partstream_client.progress import Progress
from partstream_client.rest import Options, OverlayOptions, SourceOptions
from partstream_client.retry import RetryPolicy
from partstream_client.streaming.answers import (
    Answer,
    Failed,
    Latency,
    LiveFrame,
    ServerLatency,
    Skipped,
    SourceAnswer,
    SourceFrame,
)
from partstream_client.streaming.images import Encoding
from partstream_client.streaming.ledger import Policy
from partstream_client.streaming.options import StreamOptions, TimedFrame
from partstream_client.tls import Tls
from partstream_core.follow import Status
from partstream_core.regions import NoMaskError

__all__ = [
    "Answer",
    "AnswerError",
    "AsyncClient",
    "AsyncJob",
    "AuthError",
    "Client",
    "ClientError",
    "ConnectionFailedError",
    "DeadlineError",
    "Encoding",
    "Failed",
    "FollowResult",
    "FollowedFrame",
    "Frame",
    "Job",
    "JobStatus",
    "Joint",
    "Latency",
    "LiveFrame",
    "MissingExtraError",
    "NoMaskError",
    "Options",
    "OverlayOptions",
    "ParseResult",
    "Part",
    "Person",
    "Policy",
    "ProblemError",
    "Progress",
    "RejectedError",
    "RetryPolicy",
    "ServerFailedError",
    "ServerLatency",
    "Settings",
    "Skipped",
    "SourceAnswer",
    "SourceError",
    "SourceFrame",
    "SourceOptions",
    "Status",
    "StreamOptions",
    "Target",
    "TimedFrame",
    "Tls",
    "UnavailableError",
    "UnknownSizeError",
    "UnreachableError",
]
