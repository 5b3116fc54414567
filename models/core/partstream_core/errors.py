"""Errors that the service reports to the people who use it.

    PartstreamError                 internal_error
    ├── MediaError                  bad_media
    │   ├── NotAVideoError          not_a_video
    │   ├── EmptyUploadError        empty_upload
    │   ├── NoVideoStreamError      no_video_stream
    │   ├── NoFramesError           no_frames
    │   ├── StreamNumberError       no_such_stream
    │   ├── TruncatedError          truncated
    │   ├── FrameTooLargeError      frame_too_large
    │   ├── TooLongError            too_long
    │   └── UploadTooLargeError     upload_too_large
    ├── BundleError                 bad_bundle
    ├── EngineError                 engine_failed
    ├── OptionError                 bad_option
    ├── UnsupportedMediaTypeError   unsupported_media_type
    ├── NotAcceptableError          not_acceptable
    └── BusyError                   busy

Every class has a stable machine code; the server maps codes to HTTP and gRPC statuses in one table.
"""

from typing import ClassVar


class PartstreamError(Exception):
    """Something went wrong that a user should read about; the message is for them."""

    code: ClassVar[str] = "internal_error"


class MediaError(PartstreamError):
    """The input cannot be parsed with the given options."""

    code: ClassVar[str] = "bad_media"


class NotAVideoError(MediaError):
    """No container or picture format fits the bytes."""

    code: ClassVar[str] = "not_a_video"


class EmptyUploadError(MediaError):
    """Nothing was sent."""

    code: ClassVar[str] = "empty_upload"


class NoVideoStreamError(MediaError):
    """The file is media, but holds no video, such as a song."""

    code: ClassVar[str] = "no_video_stream"


class StreamNumberError(MediaError):
    """The file has no video stream of that number."""

    code: ClassVar[str] = "no_such_stream"


class NoFramesError(MediaError):
    """The video stream holds no frame that decodes."""

    code: ClassVar[str] = "no_frames"


class TruncatedError(MediaError):
    """The file ends before its data does, and too early to show anything."""

    code: ClassVar[str] = "truncated"


class FrameTooLargeError(MediaError):
    """A frame has more pixels than the limit allows."""

    code: ClassVar[str] = "frame_too_large"


class TooLongError(MediaError):
    """The video lasts longer than the limit allows."""

    code: ClassVar[str] = "too_long"


class UploadTooLargeError(MediaError):
    """The upload holds more bytes than the limit allows."""

    code: ClassVar[str] = "upload_too_large"


class BundleError(PartstreamError):
    """A bundle's manifest is wrong, or its graphs disagree with it.

    Args:
        field: Path of the manifest's field at fault, such as ``graphs.heads.sha256``.
        message: What is wrong with it.
    """

    code: ClassVar[str] = "bad_bundle"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type["BundleError"], tuple[str, str]]:
        """Keep both arguments when the error travels between processes."""
        return type(self), (self.field, self.message)


class EngineError(PartstreamError):
    """The engine cannot start, or a graph failed to run."""

    code: ClassVar[str] = "engine_failed"


class OptionError(PartstreamError):
    """An option is unknown, or has a value it cannot have."""

    code: ClassVar[str] = "bad_option"


class UnsupportedMediaTypeError(PartstreamError):
    """The request's content type is not one that is read here."""

    code: ClassVar[str] = "unsupported_media_type"


class NotAcceptableError(PartstreamError):
    """The answer was asked for in a form that is not written here."""

    code: ClassVar[str] = "not_acceptable"


class BusyError(PartstreamError):
    """As much is running as may run at once; try again later."""

    code: ClassVar[str] = "busy"
