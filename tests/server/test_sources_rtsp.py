"""What of a camera's bytes may pass: framing as FFmpeg reads it, redirects in every spelling refused."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_server.sources.rtsp import FramingError, RedirectedError, RtspFraming, body_length

OK = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 5\r\n\r\nv=0\r\n"
DATA = b"$\x00\x00\x0a0123456789"
MOVED = b"RTSP/1.0 302 Moved\r\nLocation: rtsp://10.0.0.1/\r\n\r\n"


def passed(stream: bytes, *, step: int | None = None) -> bytes:
    """What passes before an error, in chunks of that many bytes."""
    framing, out = RtspFraming(), b""
    step = step or max(len(stream), 1)
    for start in range(0, len(stream), step):
        out += framing.feed(stream[start : start + step])
    return out


class FFmpegReader:
    """The statuses that FFmpeg reads from a stream (libavformat/rtsp.c, `ff_rtsp_read_reply`)."""

    def __init__(self, stream: bytes) -> None:
        self._stream, self._at = stream, 0

    def _byte(self) -> bytes:
        if self._at >= len(self._stream):
            raise EOFError
        self._at += 1
        return self._stream[self._at - 1 : self._at]

    def _skip(self, count: int) -> None:
        for _ in range(count):
            self._byte()

    def _line(self) -> bytes:
        line = b""
        while (byte := self._byte()) != b"\n":
            if byte == b"$" and not line:
                head = self._byte() + self._byte() + self._byte()
                length = int.from_bytes(head[1:], "big")
                self._skip(length if length >= 8 else 0)  # shorter data is read as text
            elif byte != b"\r":
                line += byte
        return line.partition(b"\0")[0]

    def _reply(self) -> int | str | None:
        status: int | str | None = None
        length, count = 0, 0
        while line := self._line():
            words = [word for word in line.replace(b"\t", b" ").split(b" ") if word]
            if count == 0:
                status = words[0].decode("latin1") if words else ""
                if words and words[0].startswith(b"RTSP/"):
                    digits = bytes(words[1] if len(words) > 1 else b"0")
                    status = int(digits) if digits.isdigit() else -1
            elif line.lower().startswith(b"content-length:"):
                value = line.partition(b":")[2].strip()
                length = int(value) if value.isdigit() else 0
            count += 1
        self._skip(length)
        return status

    def statuses(self) -> Iterator[int | str]:
        """Statuses of answers and methods of requests, until the stream ends."""
        try:
            while True:
                status = self._reply()
                if status is not None:
                    yield status
        except EOFError:
            return


@pytest.mark.parametrize("step", [1, 2, 3, 7, None])
def test_answers_bodies_and_data_pass_unchanged(step: int | None) -> None:
    stream = OK + DATA + b"\r\n" + OK + b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" + DATA * 3
    assert passed(stream, step=step) == stream


@pytest.mark.parametrize("step", [1, 3, None])
@pytest.mark.parametrize(
    "first",
    [b"RTSP/1.0 302 Moved", b"RTSP/1.0  302 Moved", b"RTSP/1.0\t301", b"RTSP/1.0 399", b" RTSP/2.0 300 X",
     b"RT\rSP/1.0 302 Moved", b"REDIRECT rtsp://here/ RTSP/1.0"],
)  # fmt: skip
def test_redirects_are_refused_in_every_spelling(first: bytes, step: int | None) -> None:
    framing = RtspFraming()
    stream = OK + DATA + first + b"\r\nLocation: rtsp://10.0.0.1/\r\n\r\n"
    out = b""
    with pytest.raises(RedirectedError):
        for start in range(0, len(stream), step or len(stream)):
            out += framing.feed(stream[start : start + (step or len(stream))])
    assert b"302" not in out
    assert b"Location" not in out


def test_a_redirect_inside_a_body_or_data_is_no_redirect() -> None:
    body = b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(MOVED) + MOVED
    data = b"$\x00" + len(MOVED).to_bytes(2, "big") + MOVED
    assert passed(body + data) == body + data


@pytest.mark.parametrize(
    "stream",
    [
        b"$\x00\x00\x07RTSP/1." + DATA,  # FFmpeg reads the payload of short data as a message
        b"RTSP/1.0 200 OK\r\n$\x00\x00\x0a0123456789\r\n\r\n",  # ... and data amid headers
        b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\nContent-Length: 900\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length : 5\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 5 0\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 999999999\r\n\r\n",
        b"RTSP/1.0\x0b200 302\r\n\r\n",
        b"RTSP/1.0 200\0 OK\r\n\r\n",
        b"RTSP/1.0 +302 OK\r\n\r\n",
        b"RTSP/1.0 0302 OK\r\n\r\n",
        b"RTSP/1.0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"anything at all\r\n\r\n",
        b"RTSP/1.0 200 " + b"x" * 9000,
        b"RTSP/1.0 200 OK\r\n" + b"A: b\r\n" * 20_000,
    ],
)
def test_what_could_be_split_in_two_ways_is_refused(stream: bytes) -> None:
    with pytest.raises(FramingError):
        passed(stream)


def test_the_model_of_ffmpeg_sees_redirects() -> None:
    assert list(FFmpegReader(OK + DATA + MOVED).statuses()) == [200, 302]
    assert list(FFmpegReader(b"$\0\0\x07RTSP/1.0 302\r\n\r\n").statuses()) == [302]


def test_a_body_length_is_read_in_any_case_of_letters() -> None:
    assert body_length(b"RTSP/1.0 200 OK\r\ncontent-LENGTH:\t17 \r\n\r\n") == 17
    assert body_length(b"RTSP/1.0 200 OK\r\n\r\n") == 0


pieces = st.sampled_from(
    [
        *(b"RTSP/1.0", b"RTSP/", b" ", b"  ", b"\t", b"302", b"200", b"301 Moved", b"abc", b"\0", b"\r"),
        *(b"\n", b"\r\n", b"\r\n\r\n", b"$", b"$\x00\x00\x02", b"$\x00\x00\x09", b"CSeq: 1"),
        *(b"Content-Length: 3", b"Content-Length: 12", b"Location: rtsp://x/", OK, DATA, MOVED),
        *(b"REDIRECT x RTSP/1.0", b"OPTIONS x RTSP/1.0"),
    ]
)
streams = st.lists(pieces | st.binary(max_size=6), max_size=14).map(b"".join)


@given(stream=streams, step=st.integers(1, 9))
def test_no_redirect_ever_reaches_ffmpeg_whatever_a_camera_sends(stream: bytes, step: int) -> None:
    framing, out = RtspFraming(), b""
    try:
        for start in range(0, len(stream), step):
            out += framing.feed(stream[start : start + step])
    except (RedirectedError, FramingError):
        pass
    assert stream.startswith(out)
    for status in FFmpegReader(out).statuses():
        assert not (isinstance(status, int) and 300 <= status < 400)
        assert status != "REDIRECT"


@given(stream=streams, step=st.integers(1, 9))
def test_chunks_make_no_difference(stream: bytes, step: int) -> None:
    results = []
    for size in (step, max(len(stream), 1)):
        framing, out, kind = RtspFraming(), b"", None
        try:
            for start in range(0, len(stream), size):
                out += framing.feed(stream[start : start + size])
        except (RedirectedError, FramingError) as error:
            kind = type(error)
        results.append((out if kind is None else None, kind))
    assert results[0] == results[1]
