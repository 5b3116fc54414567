"""The files of a multipart form, found while the form is still arriving: the one to parse, and a backdrop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from partstream_server.service.errors import MalformedUploadError, UploadFieldError

FIELDS: Final = ("video", "image")
"""Names that the file may have; they mean the same."""

BACKDROP: Final = "backdrop"
"""Name of the file that stands behind people in a rendered video."""

_ADVICE: Final = "send one file in the field 'video' or 'image'"


class FormReader:
    """Hands the bytes of a form's files on, and refuses forms that hold anything else."""

    def __init__(
        self,
        boundary: bytes,
        on_data: Callable[[bytes], None],
        on_backdrop: Callable[[bytes], None] | None = None,
    ) -> None:
        """Start before the first byte.

        Args:
            boundary: Of the form.
            on_data: Called with the bytes of the file.
            on_backdrop: Called with those of the backdrop; None refuses one.

        Raises:
            MalformedUploadError: The boundary is not one.
        """
        self._on_data, self._on_backdrop = on_data, on_backdrop
        self._take = on_data
        self._field: str | None = None
        self.has_backdrop = False
        """Whether there was one so far."""
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_part_data": self._on_part_data,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise MalformedUploadError(f"the boundary of the form is not usable: {error}") from error

    def write(self, data: bytes) -> None:
        """Read the next bytes of the body.

        Raises:
            MalformedUploadError: They are not a multipart form.
            UploadFieldError: A field has another name, or there are two files.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise MalformedUploadError(f"the form cannot be read: {error}") from error

    def finish(self) -> None:
        """Check that the form is complete and held a file.

        Raises:
            MalformedUploadError: The closing boundary never came.
            UploadFieldError: There was no file.
        """
        if not self._ended:
            raise MalformedUploadError("the form ends before its closing boundary")
        if self._field is None:
            raise UploadFieldError(f"the form holds no video and no image; {_ADVICE}")

    def _on_part_begin(self) -> None:
        self._header_name = self._header_value = self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        name = parameters.get(b"name", b"").decode("utf-8", "replace")
        if name == BACKDROP and self._on_backdrop is not None:
            if self.has_backdrop:
                raise UploadFieldError("the form has two fields 'backdrop'; send one")
            self.has_backdrop, self._take = True, self._on_backdrop
            return
        if name not in FIELDS:
            raise UploadFieldError(f"the form has a field {name!r}; {_ADVICE} and options in the query")
        if self._field is not None:
            raise UploadFieldError(f"the form has the fields {self._field!r} and {name!r}; {_ADVICE}")
        self._field, self._take = name, self._on_data

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._take(data[start:end])

    def _on_end(self) -> None:
        self._ended = True
