"""The page's webcam in a real browser, fed by a real clip, over a real WebSocket."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from partstream_server.engine import create_engine
from tests.e2e.browser import (
    DESKTOP,
    PATIENCE_MS,
    PHONE,
    cut,
    keep_picture,
    launched,
    opened_page,
    write_webcam,
)
from tests.server.media_fixtures import clip
from tests.server.running_server import PATIENCE_S, Running, eventually, serving

JUGGLER = "05_default_juggle.mp4"
sizes = pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    engine = create_engine()
    with serving(engine, tmp_path_factory.mktemp("work")) as running:
        yield running
    engine.close()


@pytest.fixture(scope="module")
def browser(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser before whose webcam a man plays with a ball."""
    folder = tmp_path_factory.mktemp("webcam")
    write_webcam(
        cut(data_dir / "videos" / JUGGLER, folder / "juggler.mp4", num_frames=40), folder / "cam.y4m"
    )
    with launched(folder / "cam.y4m") as opened:
        yield opened


def go_live(page: Page) -> None:
    page.get_by_role("button", name="Use the webcam").click()
    expect(page.locator("#status")).to_contain_text("Live: partstream-live")
    expect(page.locator(".person").first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("#latency")).to_have_text(re.compile(r"\d+ ms"))


@sizes
def test_the_webcam_shows_people_parts_rate_and_latency(
    browser: Browser, server: Running, viewport: ViewportSize
) -> None:
    with opened_page(browser, server.url, viewport=viewport) as page:
        go_live(page)
        assert [one.transport for one in server.service.hub.streams] == ["websocket"]
        expect(page.locator("#rate")).not_to_have_text("0.0")
        expect(page.locator("#overlay")).to_have_attribute("aria-label", re.compile("person 1 with"))
        before = int(page.locator("#frames").inner_text())
        expect(page.locator("#frames")).not_to_have_text(str(before))
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        keep_picture(page, f"webcam-{viewport['width']}")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#status")).to_contain_text("Stopped")
        eventually(lambda: not server.service.hub.streams, "the stream has ended")
        assert page.evaluate("document.getElementById('video').srcObject === null")


def test_a_page_that_is_left_ends_its_stream(browser: Browser, server: Running) -> None:
    with opened_page(browser, server.url, viewport=DESKTOP) as page:
        go_live(page)
    eventually(lambda: not server.service.hub.streams, "the stream has ended")


def test_a_stream_that_was_cut_goes_on_with_the_same_person(browser: Browser, server: Running) -> None:
    with opened_page(browser, server.url, viewport=DESKTOP) as page:
        go_live(page)

        async def cut_all() -> None:
            for stream, _ in list(server.service.hub._streams.values()):
                stream.close()

        asyncio.run_coroutine_threadsafe(cut_all(), server.loop).result(PATIENCE_S)
        expect(page.locator("#status")).to_contain_text("identities go on", timeout=PATIENCE_MS)
        before = int(page.locator("#frames").inner_text())
        expect(page.locator("#frames")).not_to_have_text(str(before))
        expect(page.locator(".person")).to_have_count(1)
        page.get_by_role("button", name="Stop").click()


def test_a_clip_takes_over_from_the_webcam(browser: Browser, server: Running, tmp_path: Path) -> None:
    video = tmp_path / "nobody.mp4"
    video.write_bytes(clip(num_frames=4))
    with opened_page(browser, server.url, viewport=DESKTOP) as page:
        go_live(page)
        page.get_by_role("button", name="Stop").click()
        page.set_input_files("#file", video)
        page.get_by_role("button", name="Parse", exact=True).click()
        expect(page.locator("#status")).to_contain_text("Done", timeout=PATIENCE_MS)
        expect(page.locator(".person")).to_have_count(0)
