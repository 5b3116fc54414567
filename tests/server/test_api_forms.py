"""The one file of a multipart form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_server.service.errors import MalformedUploadError, UploadFieldError
from partstream_server.service.forms import FormReader

BOUNDARY = b"a1b2c3"


def form(*parts: tuple[str, bytes], boundary: bytes = BOUNDARY, closed: bool = True) -> bytes:
    """A multipart body with a file for each name."""
    body = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="clip"\r\n'
        b"Content-Type: video/mp4\r\n\r\n%s\r\n" % (boundary, name.encode(), data)
        for name, data in parts
    )
    return body + (b"--%s--\r\n" % boundary if closed else b"")


def read(*pieces: bytes) -> bytes:
    """The file in a form that arrives in pieces."""
    received = bytearray()
    reader = FormReader(BOUNDARY, received.extend)
    for piece in pieces:
        reader.write(piece)
    reader.finish()
    return bytes(received)


@given(data=st.binary(max_size=200), size=st.integers(1, 50), name=st.sampled_from(["video", "image"]))
def test_the_file_is_the_same_however_the_form_is_cut(data: bytes, size: int, name: str) -> None:
    body = form((name, data))
    assert read(*(body[at : at + size] for at in range(0, len(body), size))) == data


@given(data=st.lists(st.sampled_from([b"\r\n", b"--", BOUNDARY, b"-", b"x"]), max_size=12).map(b"".join))
def test_a_file_that_looks_like_the_end_of_a_form_is_kept(data: bytes) -> None:
    if b"\r\n--" + BOUNDARY not in b"\r\n" + data:
        assert read(form(("video", data))) == data


def test_a_field_without_a_file_name_is_a_file_too() -> None:
    body = b"--a1b2c3\r\nContent-Disposition: form-data; name=video\r\n\r\nbytes\r\n--a1b2c3--\r\n"
    assert read(body) == b"bytes"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (form(("file", b"x")), "'file'"),
        (form(("video", b"x"), ("image", b"y")), "'video' and 'image'"),
        (form(("video", b"x"), ("video", b"y")), "'video' and 'video'"),
        (form(("video", b"x"), ("every", b"2")), "'every'"),
        (b"--a1b2c3\r\nContent-Type: video/mp4\r\n\r\nx\r\n--a1b2c3--\r\n", "''"),
        (b"--a1b2c3--\r\n", "no video and no image"),
        (form(("video", b"x"), ("backdrop", b"y")), "'backdrop'"),
    ],
)
def test_a_form_that_does_not_hold_exactly_one_file_is_refused(body: bytes, named: str) -> None:
    with pytest.raises(UploadFieldError, match=named):
        read(body)


def both(*pieces: bytes) -> tuple[bytes, bytes, bool]:
    """The file and the backdrop of a form that arrives in pieces, and whether there was one."""
    file, backdrop = bytearray(), bytearray()
    reader = FormReader(BOUNDARY, file.extend, backdrop.extend)
    for piece in pieces:
        reader.write(piece)
    reader.finish()
    return bytes(file), bytes(backdrop), reader.has_backdrop


@given(video=st.binary(max_size=80), backdrop=st.binary(max_size=80), size=st.integers(1, 50))
@pytest.mark.parametrize("first", ["video", "backdrop"])
def test_a_form_may_hold_a_backdrop_before_or_after_the_file(
    first: str, video: bytes, backdrop: bytes, size: int
) -> None:
    parts = sorted([("video", video), ("backdrop", backdrop)], key=lambda part: part[0] != first)
    body = form(*parts)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert both(*pieces) == (video, backdrop, True)
    assert both(form(("image", video))) == (video, b"", False)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (form(("backdrop", b"x")), "no video and no image"),
        (form(("backdrop", b"x"), ("video", b"y"), ("backdrop", b"z")), "two fields 'backdrop'"),
    ],
)
def test_a_backdrop_comes_once_and_with_a_file(body: bytes, named: str) -> None:
    with pytest.raises(UploadFieldError, match=named):
        both(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not a form at all",
        form(("video", b"x"), closed=False),
        form(("video", b"x"), boundary=b"another"),
        form(("video", b"x"))[:-9],
        b"--a1b2c3\r\n" + b"X" * 100_000,
    ],
)
def test_a_body_that_is_no_complete_form_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedUploadError):
        read(body)
