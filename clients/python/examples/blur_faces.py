"""A copy of a clip without sound on which no face that was found can be recognised.

python blur_faces.py clip.mp4 -o blurred.mp4

A frame that the server could not parse becomes black: what nobody looked at is not shown. Faces that the
network does not find stay as they are; look at the result before you rely on it.

Needs PyAV: pip install 'partstream-client[examples]'.
"""

import argparse
import sys
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from partstream_client import Client, LiveFrame, StreamOptions, TimedFrame

Pixels = npt.NDArray[np.uint8]
HIDDEN = ("face", "sunglasses")


def main() -> None:
    """Write the copy."""
    options = argparse.ArgumentParser(description="Blur the faces of a clip.")
    options.add_argument("media", help="a path or an address that FFmpeg reads")
    options.add_argument("-o", "--out", required=True, help="the MP4 to write")
    options.add_argument("--server", default="http://127.0.0.1:8000")
    options.add_argument("--streams", help="address of the server's streams, if not port 50051 of its host")
    options.add_argument("--api-key")
    arguments = options.parse_args()

    with (
        Client(arguments.server, streams=arguments.streams, api_key=arguments.api_key) as client,
        av.open(arguments.media) as source,
        av.open(arguments.out, "w") as out,
    ):
        video = source.streams.video[0]
        rate = video.average_rate or Fraction(25)
        track = out.add_stream("libx264", rate=rate, options={"crf": "20"})
        track.pix_fmt = "yuv420p"
        black: Pixels | None = None
        num_unseen = 0
        for answer in client.stream(frames(source), StreamOptions(policy="block")):
            if isinstance(answer, LiveFrame):
                picture = blurred(answer)
                if black is None:
                    black = np.zeros_like(picture)
                    track.height, track.width = picture.shape[:2]
            else:
                num_unseen += 1
                if black is None:
                    continue
                picture = black
            out.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if black is not None:
            out.mux(track.encode())
    sys.stdout.write(f"{num_unseen} frames could not be parsed and are black or left out\n")


def frames(source: av.container.InputContainer) -> Iterator[TimedFrame]:
    """The frames of a clip, upright and with even sides."""
    for frame in source.decode(video=0):
        picture = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2  # as the codec takes them
        yield TimedFrame(np.ascontiguousarray(picture[:height, :width]), frame.time or 0.0)


def blurred(answer: LiveFrame) -> Pixels:
    """The frame with faces and a margin around them out of focus."""
    assert isinstance(answer.image, np.ndarray)
    parts = [person.parts[name] for person in answer.people for name in HIDDEN if name in person.parts]
    if not parts:
        return answer.image
    radius = max(answer.image.shape) // 40
    hidden = np.logical_or.reduce([part.mask for part in parts])
    margin = Image.fromarray(hidden.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(radius / 2))
    where = np.asarray(margin) > 0
    soft = np.asarray(Image.fromarray(answer.image).filter(ImageFilter.GaussianBlur(radius)))
    return np.where(where[..., None], soft, answer.image)


if __name__ == "__main__":
    main()
