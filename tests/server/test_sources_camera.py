"""A camera: RTSP with the video interleaved in its one connection, as cameras send it behind a firewall."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import av

from tests.server.media_fixtures import picture
from tests.server.running_server import Running, eventually

Serve = Callable[..., Running]
SESSION = (
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
    b"a=control:track1\r\n"
)


def packets(num_frames: int) -> list[bytes]:
    """A clip as RTP packets, caught from FFmpeg's own sender."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        receiver.setblocking(False)
        with av.open(f"rtp://127.0.0.1:{receiver.getsockname()[1]}", "w", format="rtp") as out:
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
            for number in range(num_frames):
                frame = av.VideoFrame.from_ndarray(picture(shade=3 * number), "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                out.mux(stream.encode(frame.reformat(format="yuv420p")))
            out.mux(stream.encode(None))
        found: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(receiver.recv(65536))
    return found


def converse(connection: socket.socket, video: list[bytes], methods: list[bytes]) -> None:
    """Answer one client, then play; each method is noted."""
    waiting = b""
    while b"PLAY" not in methods[-1:]:
        while b"\r\n\r\n" not in waiting:
            waiting += connection.recv(4096)
        request, _, waiting = waiting.partition(b"\r\n\r\n")
        methods.append(request.split(b" ")[0])
        number = request.split(b"CSeq: ")[1].split(b"\r\n")[0]
        head = b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\n"
        match methods[-1]:
            case b"OPTIONS":
                connection.sendall(head + b"Public: DESCRIBE, SETUP, PLAY\r\n\r\n")
            case b"DESCRIBE":
                size = str(len(SESSION)).encode()
                kind = b"Content-Type: application/sdp\r\nContent-Length: " + size + b"\r\n\r\n"
                connection.sendall(head + kind + SESSION)
            case b"SETUP":
                transport = b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n"
                connection.sendall(head + transport)
            case _:
                connection.sendall(head + b"Session: 1\r\n\r\n")
    for packet in video:
        connection.sendall(b"$\x00" + len(packet).to_bytes(2, "big") + packet)


@contextmanager
def camera(video: list[bytes], num_connections: int) -> Iterator[tuple[str, list[bytes]]]:
    """A camera that plays a video to one client after the other and then hangs up."""
    methods: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        for _ in range(num_connections):
            connection, _ = listener.accept()
            methods.append(b"")
            with connection, contextlib.suppress(ConnectionError):
                converse(connection, video, methods)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"rtsp://anna:secret@127.0.0.1:{listener.getsockname()[1]}/1", methods
        thread.join()


def test_a_camera_is_watched_and_watched_again_after_it_hung_up(serve: Serve) -> None:
    server = serve(source_hosts="127.0.0.1", source_private=True)
    server.service.sources._backoff_s = (0.05,)  # so that nobody waits
    video = packets(12)
    assert len(video) >= 12
    with camera(video, num_connections=2) as (url, methods):
        answer = server.http.post("/v1/sources", json={"url": url, "policy": "block"})
        assert answer.status_code == 201, answer.text
        assert "secret" not in answer.text
        path = f"/v1/sources/{answer.json()['id']}"
        eventually(
            lambda: server.http.get(path).json()["num_frames"] >= 20, "frames of both connections came"
        )
        assert server.http.get(path).json()["num_connections"] >= 2
        assert server.http.delete(path).status_code == 204
    assert methods.count(b"PLAY") == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("source")]
    assert not server.service.hub.streams
