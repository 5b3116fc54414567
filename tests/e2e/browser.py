"""Debian's chromium with a webcam that is a file, and what a page asks of it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

DESKTOP = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=360, height=740)
PATIENCE_MS = 120_000.0


def chromium() -> str:
    """The browser's path; the test skips where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium here; on Debian: apt install chromium")
    return found


def write_webcam(source: Path, target: Path) -> None:
    """A clip in the raw form that chromium's fake webcam plays over and over."""
    with av.open(source) as container, target.open("wb") as file:
        stream = container.streams.video[0]
        rate = round(stream.average_rate or 25)
        file.write(f"YUV4MPEG2 W{stream.width} H{stream.height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in container.decode(stream):
            file.write(b"FRAME\n" + frame.reformat(format="yuv420p").to_ndarray().tobytes())


def cut(source: Path, target: Path, *, num_frames: int, width: int = 640, height: int = 360) -> Path:
    """The first frames of a clip, small, so that a busy machine without a GPU is done with them soon."""
    with av.open(source) as container, av.open(target, "w") as out:
        stream = container.streams.video[0]
        rate = round(stream.average_rate or 25)
        made = out.add_stream("libx264", rate=rate)
        made.width, made.height, made.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(container.decode(stream)):
            if number == num_frames:
                break
            small = frame.reformat(width=width, height=height, format="yuv420p")
            small.pts, small.time_base = number, Fraction(1, rate)
            out.mux(made.encode(small))
        out.mux(made.encode(None))
    return target


@contextmanager
def launched(webcam: Path) -> Iterator[Browser]:
    """A browser whose webcam plays a file."""
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    options += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    options += [f"--use-file-for-fake-video-capture={webcam}"]
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@contextmanager
def opened_page(browser: Browser, url: str, *, viewport: ViewportSize, refusals: int = 0) -> Iterator[Page]:
    """The page of a server; by its end it has asked nobody else, and met no errors but these refusals."""
    asked: list[str] = []
    complaints: list[str] = []
    context = browser.new_context(viewport=viewport, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    assert len(complaints) == refusals, complaints
    assert [one for one in asked if not one.startswith((url, f"blob:{url}", "data:"))] == []


def keep_picture(page: Page, name: str) -> None:
    """A screenshot, in the folder that SCREENSHOTS names, for people to look at."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
