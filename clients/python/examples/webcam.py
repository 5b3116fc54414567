"""A camera, live: who is in sight, and the picture with what was found on it as a video.

python webcam.py                                    # the first camera, until Ctrl-C
python webcam.py --overlay overlay.mp4 --seconds 20
python webcam.py clip.mp4                           # a clip at its own speed stands in for the camera

Needs PyAV: pip install 'partstream-client[examples]'.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from typing import Self

import av
import numpy as np

from partstream_client import Client, LiveFrame, Skipped, StreamOptions, TimedFrame

CAMERAS = {"linux": ("/dev/video0", "v4l2"), "darwin": ("0", "avfoundation"), "win32": ("video=0", "dshow")}
"""The first camera and its driver, as FFmpeg names them on each system."""
OVERLAY_RATE = 25


def main() -> None:
    """Follow the camera."""
    options = argparse.ArgumentParser(description="Follow the people before a camera.")
    options.add_argument("source", nargs="?", help="a path or an address, instead of the camera")
    options.add_argument("--overlay", help="MP4 to write")
    options.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    options.add_argument("--max-age-ms", type=float, default=500, help="skip what is older than this")
    options.add_argument("--server", default="http://127.0.0.1:8000")
    options.add_argument("--streams", help="address of the server's streams, if not port 50051 of its host")
    options.add_argument("--api-key")
    arguments = options.parse_args()

    num_skipped, seen = 0, frozenset[int]()
    with ExitStack() as stack:
        client = stack.enter_context(
            Client(arguments.server, streams=arguments.streams, api_key=arguments.api_key)
        )
        overlay = stack.enter_context(Overlay(arguments.overlay)) if arguments.overlay else None
        stack.enter_context(suppress(KeyboardInterrupt))
        for answer in client.stream(
            pictures(arguments.source, arguments.seconds), StreamOptions(max_age_ms=arguments.max_age_ms)
        ):
            num_skipped += isinstance(answer, Skipped)
            if not isinstance(answer, LiveFrame):
                continue
            people = frozenset(person.identity for person in answer.people)
            if people != seen:
                seen = people
                sys.stdout.write(f"{answer.time_s:.1f} s: {sorted(people) or 'nobody'}\n")
            if overlay:
                overlay.write(answer)
    sys.stdout.write(f"{num_skipped} frames were skipped, so that no result is late\n")


def pictures(source: str | None, seconds: float) -> Iterator[TimedFrame]:
    """Pictures of the camera as they come, or of a clip at its own speed."""
    device, driver = CAMERAS.get(sys.platform, CAMERAS["linux"])
    started_at = time.monotonic()
    with av.open(source or device, format=None if source else driver) as container:
        for frame in container.decode(video=0):
            now_s = time.monotonic() - started_at
            if now_s > seconds:
                break
            if source and frame.time is not None:
                time.sleep(max(0.0, frame.time - now_s))
            picture = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            yield TimedFrame(np.ascontiguousarray(picture), time.monotonic() - started_at)


class Overlay:
    """A video of what was found, which plays at the speed of the camera."""

    def __init__(self, path: str) -> None:
        self._out = av.open(path, "w")
        self._track = self._out.add_stream("libx264", rate=OVERLAY_RATE, options={"preset": "veryfast"})
        self._track.pix_fmt = "yuv420p"
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._last >= 0:
            self._out.mux(self._track.encode())
        self._out.close()

    def write(self, answer: LiveFrame) -> None:
        """Append a frame, at the moment it was taken."""
        drawn = answer.drawn()
        height, width = drawn.shape[0] // 2 * 2, drawn.shape[1] // 2 * 2
        if self._last < 0:
            self._track.height, self._track.width = height, width
        self._last = max(self._last + 1, round(answer.time_s * OVERLAY_RATE))
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn[:height, :width]), format="rgb24")
        picture.pts, picture.time_base = self._last, Fraction(1, OVERLAY_RATE)
        self._out.mux(self._track.encode(picture))


if __name__ == "__main__":
    main()
