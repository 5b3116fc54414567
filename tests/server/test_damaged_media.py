"""Damaged files of every kind, made from a seed: the service answers each, and nothing of them is left."""

import io
import random
from collections.abc import Callable, Iterator

import psutil
import pytest
from PIL import Image as PillowImage
from PIL import features

from partstream_server.engine.base import CompilesShapes
from tests.server.faulty_media import motion_jpeg, saved, turned_jpeg
from tests.server.media_fixtures import clip, picture
from tests.server.running_server import Running, eventually

CONTAINERS = {
    "mp4": ("mp4", "libx264"),
    "mov": ("mov", "libx264"),
    "matroska": ("matroska", "libx264"),
    "webm": ("webm", "libvpx-vp9"),
    "avi": ("avi", "mpeg4"),
    "mpegts": ("mpegts", "libx264"),
    "flv": ("flv", "libx264"),
    "h264": ("h264", "libx264"),
    "mpeg": ("mpeg", "mpeg2video"),
}
MOST_MEMORY_MB = 250


def sources() -> dict[str, bytes]:
    """A whole file of each kind."""
    found = {f"jpeg {orientation}": turned_jpeg(orientation=orientation) for orientation in range(1, 9)}
    for form in ("PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        found[form] = saved(form)
    if features.check("avif"):
        found["AVIF"] = saved("AVIF")
    for name, (form, codec) in CONTAINERS.items():
        found[name] = clip(num_frames=6, form=form, codec=codec)
    found["mjpeg in avi"] = motion_jpeg([turned_jpeg(shade=shade) for shade in range(4)])
    found["raw mjpeg"] = b"".join(turned_jpeg(shade=shade) for shade in range(4))
    return found | {f"animated {form}": animation(form) for form in ("GIF", "WEBP", "PNG")}


def animation(form: str) -> bytes:
    """Four pictures that follow each other."""
    first, *others = (PillowImage.fromarray(picture(shade=shade)) for shade in range(0, 12, 3))
    file = io.BytesIO()
    first.save(file, form, save_all=True, append_images=others, duration=100)
    return file.getvalue()


def flipped(data: bytes, random_: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random_.choice((1, 3, 10, 100))):
        changed[random_.randrange(len(changed))] ^= 1 << random_.randrange(8)
    return bytes(changed)


def cut(data: bytes, random_: random.Random) -> bytes:
    return data[: random_.randrange(1, len(data))]


def doubled(data: bytes, random_: random.Random) -> bytes:
    at = random_.randrange(len(data))
    return data[:at] + data[random_.randrange(len(data)) :] + data


def zeroed(data: bytes, random_: random.Random) -> bytes:
    begin = random_.randrange(len(data))
    end = min(len(data), begin + random_.choice((1, 16, 256, 4096)))
    return data[:begin] + bytes(end - begin) + data[end:]


def beginning_damaged(data: bytes, random_: random.Random) -> bytes:
    head = bytearray(data[:64])
    head[random_.randrange(len(head))] = random_.randrange(256)
    return bytes(head) + data[64:]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flipped, cut, doubled, zeroed, beginning_damaged,
)  # fmt: skip


def damaged_files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    random_ = random.Random(seed)
    whole = sources()
    names = sorted(whole)
    for number in range(count):
        name = names[number % len(names)]
        damage = DAMAGES[random_.randrange(len(DAMAGES))]
        yield f"{number}: {name}, {damage.__name__}", damage(whole[name], random_)


def send_all(server: Running, count: int, seed: int) -> dict[int, int]:
    """Send damaged files; how many were answered with each status."""
    statuses: dict[int, int] = {}
    for number, (what, data) in enumerate(damaged_files(count, seed)):
        accept = "video/mp4" if number % 10 == 0 else "application/json"
        answer = server.parse(data, accept, masks="none", max_frames=4)
        assert answer.status_code < 500, f"{what}: {answer.text[:500]}"
        if answer.status_code != 200:
            assert answer.json()["detail"], what
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    return statuses


@pytest.mark.filterwarnings(
    "ignore::UserWarning:PIL"
)  # what Pillow says of damaged tags, in the server's thread
@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.long)])
def test_damaged_files_are_answered_and_leave_nothing(server: Running, count: int) -> None:
    process = psutil.Process()

    def memory() -> int:
        """Bytes of the process without compiled shapes: damaged headers tell of many sizes."""
        engine = server.service.engine
        assert isinstance(engine, CompilesShapes)
        return process.memory_info().rss - engine.compiled_shapes().num_bytes

    send_all(server, 10, seed=1)  # what libraries keep after their first use
    files, before = process.num_fds(), memory()
    statuses = send_all(server, count, seed=2)
    assert set(statuses) <= {200, 413, 415, 422}
    assert len(statuses) > 1
    eventually(lambda: process.num_fds() <= files + 2, "every descriptor is closed")
    eventually(lambda: not server.files(), "no temporary file is left")
    assert memory() - before < MOST_MEMORY_MB * 2**20
