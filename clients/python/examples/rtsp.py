"""A network camera around the clock, one line of JSON a frame; a camera that is lost is opened again.

python rtsp.py rtsp://camera.local/stream
python rtsp.py rtsp://camera.local/stream --streams gpu1:50051 --streams gpu2:50051   # the second stands in
python rtsp.py clip.mp4 --once

Needs PyAV: pip install 'partstream-client[examples]'.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import av
import numpy as np

from partstream_client import Answer, Client, Failed, LiveFrame, StreamOptions, TimedFrame

LONGEST_WAIT_S = 30.0


def main() -> None:
    """Print what is seen."""
    options = argparse.ArgumentParser(description="Print what a network camera sees, as JSON lines.")
    options.add_argument("source", help="an address or a path that FFmpeg reads")
    options.add_argument("--once", action="store_true", help="end with the source")
    options.add_argument("--max-age-ms", type=float, default=1000, help="skip what is older than this")
    options.add_argument("--server", default="http://127.0.0.1:8000")
    options.add_argument("--streams", action="append", help="host:port; may be given several times")
    options.add_argument("--api-key")
    arguments = options.parse_args()

    with (
        Client(arguments.server, streams=arguments.streams, api_key=arguments.api_key) as client,
        suppress(KeyboardInterrupt),
    ):
        # Only the last picture counts, and people are followed over an outage of the server of ten minutes.
        options_of_stream = StreamOptions(max_age_ms=arguments.max_age_ms, masks="none", give_up_s=600)
        for answer in client.stream(pictures(arguments.source, once=arguments.once), options_of_stream):
            if (line := described(answer)) is not None:
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()


def described(answer: Answer) -> dict[str, object] | None:
    """The line printed for a frame; empty for skipped frames."""
    if isinstance(answer, Failed):
        return {"time_s": round(answer.time_s, 3), "error": answer.code, "detail": answer.detail}
    if not isinstance(answer, LiveFrame):
        return None
    people = [
        {
            "identity": person.identity,
            "box": [round(edge) for edge in person.box],
            "parts": sorted(person.parts),
        }
        for person in answer.people
    ]
    return {
        "time_s": round(answer.time_s, 3),
        "latency_ms": round(answer.latency.round_trip_ms),
        "epoch": answer.epoch,
        "people": people,
    }


def pictures(source: str, *, once: bool) -> Iterator[TimedFrame]:
    """Pictures of the camera, over all its outages."""
    started_at = time.monotonic()
    wait_s = 1.0
    while True:
        try:
            options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
            with av.open(source, options=options, timeout=10.0) as container:
                for frame in container.decode(video=0):
                    picture = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                    yield TimedFrame(np.ascontiguousarray(picture), time.monotonic() - started_at)
                    wait_s = 1.0
        except av.error.FFmpegError as error:
            if once:
                raise
            sys.stderr.write(f"{source}: {error}; trying again in {wait_s:g} s\n")
        if once:
            return
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, LONGEST_WAIT_S)


if __name__ == "__main__":
    main()
