"""Errors of live streams; their statuses stand in the table of `partstream_server.service.errors`.

    PartstreamError
    ├── BusyError
    │   ├── StreamsFullError        busy
    │   └── GoingAwayError          going_away
    ├── OptionError
    │   ├── UnknownBundleError      unknown_bundle
    │   ├── ConfigMissingError      config_missing
    │   ├── SecondConfigError       second_config
    │   └── ResumeTokenError        bad_resume_token
    │       ├── TokenExpiredError   resume_token_expired
    │       └── ForeignTokenError   resume_token_foreign
    ├── MediaError
    │   ├── FrameSizeChangedError   frame_size_changed
    │   ├── FrameIndexError         bad_index
    │   └── TimeWentBackError       time_went_back
    ├── IdleError                   idle_timeout
    └── SlowReaderError             slow_reader

Those of MediaError are told as the failure of one frame; the stream goes on.
"""

from __future__ import annotations

from typing import ClassVar

from partstream_core.errors import BusyError, MediaError, OptionError, PartstreamError


class StreamClosedError(Exception):
    """The stream was closed; whoever still sends frames to it may stop."""


class StreamsFullError(BusyError):
    """As many streams are open as may be."""


class GoingAwayError(BusyError):
    """The server is about to stop and begins nothing new."""

    code: ClassVar[str] = "going_away"


class UnknownBundleError(OptionError):
    """The server does not run the bundle that was asked for."""

    code: ClassVar[str] = "unknown_bundle"


class ConfigMissingError(OptionError):
    """The first message is not the config."""

    code: ClassVar[str] = "config_missing"


class SecondConfigError(OptionError):
    """A config came after the first one."""

    code: ClassVar[str] = "second_config"


class ResumeTokenError(OptionError):
    """The token was not made by a server that shares this one's secret, or it was changed."""

    code: ClassVar[str] = "bad_resume_token"


class TokenExpiredError(ResumeTokenError):
    """The token is too old."""

    code: ClassVar[str] = "resume_token_expired"


class ForeignTokenError(ResumeTokenError):
    """The token is of another bundle, whose embeddings mean something else."""

    code: ClassVar[str] = "resume_token_foreign"


class FrameSizeChangedError(MediaError):
    """The frame has another size than those before it."""

    code: ClassVar[str] = "frame_size_changed"


class FrameIndexError(MediaError):
    """The frame's number is not greater than the one before it."""

    code: ClassVar[str] = "bad_index"


class TimeWentBackError(MediaError):
    """The frame is earlier than the one before it, or its time is no number."""

    code: ClassVar[str] = "time_went_back"


class IdleError(PartstreamError):
    """Nothing came from the client for too long."""

    code: ClassVar[str] = "idle_timeout"


class SlowReaderError(PartstreamError):
    """The client read nothing for too long."""

    code: ClassVar[str] = "slow_reader"
