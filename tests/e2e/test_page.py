"""The page in a real browser: a clip that is dropped in, the API's page, keys, keyboard and width."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from partstream_core.results import frame_from_json
from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.engine import Engine, create_engine
from tests.e2e.browser import DESKTOP, PATIENCE_MS, PHONE, cut, keep_picture, launched, opened_page
from tests.server.joint_bundle import write_joint_bundle
from tests.server.media_fixtures import clip, image
from tests.server.running_server import Running, serving

JUGGLER = "05_default_juggle.mp4"
SOMEBODY = re.compile(r"person 1 with .*(hair|face|upper-clothes)")
KEY = "a-key-for-this-test-only"
sizes = pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    opened = create_engine()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(engine, tmp_path_factory.mktemp("work")) as running:
        yield running


@pytest.fixture(scope="module")
def juggler(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of a man who plays with a ball."""
    return cut(data_dir / "videos" / JUGGLER, tmp_path_factory.mktemp("clip") / "juggler.mp4", num_frames=24)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with launched(tmp_path_factory.mktemp("none") / "no-webcam.y4m") as opened:
        yield opened


def choose(page: Page, path: Path) -> None:
    page.set_input_files("#file", path)
    page.get_by_role("button", name="Parse", exact=True).click()


def done(page: Page) -> None:
    expect(page.locator("#status")).to_contain_text("Done", timeout=PATIENCE_MS)


def assert_nothing_sticks_out(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@sizes
def test_a_real_clip_shows_its_person_parts_and_timeline(
    browser: Browser, server: Running, juggler: Path, tmp_path: Path, viewport: ViewportSize
) -> None:
    with opened_page(browser, server.url, viewport=viewport) as page:
        choose(page, juggler)
        done(page)
        expect(page.locator(".person")).to_have_count(1)
        expect(page.locator(".person .name")).to_have_text("Person 1")
        expect(page.locator("#overlay")).to_have_attribute("aria-label", SOMEBODY)
        assert painted(page, "#overlay") > 1000
        assert painted(page, ".person canvas") > 1000
        assert_nothing_sticks_out(page)
        keep_picture(page, f"clip-{viewport['width']}")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save the results").click()
        saved = tmp_path / "saved.ndjson"
        download.value.save_as(saved)
        frames = [frame_from_json(json.loads(line)) for line in saved.read_text("utf-8").splitlines()]
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert all(frame.people for frame in frames)


def painted(page: Page, selector: str) -> int:
    """Pixels of the first such canvas that are not transparent."""
    script = """canvas => {
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let at = 3; at < data.length; at += 4) count += data[at] > 0;
        return count;
    }"""
    return int(page.locator(selector).first.evaluate(script))


def test_parts_that_are_switched_off_and_opacity_change_the_picture(
    browser: Browser, server: Running, juggler: Path
) -> None:
    with opened_page(browser, server.url, viewport=DESKTOP) as page:
        choose(page, juggler)
        done(page)
        page.locator("#video").evaluate("video => video.pause()")
        page.get_by_label("Boxes and identities").uncheck()
        everything = painted(page, "#overlay")
        page.get_by_label("pants", exact=True).uncheck()
        assert 0 < painted(page, "#overlay") < everything
        page.get_by_role("button", name="None", exact=True).click()
        assert painted(page, "#overlay") == 0
        page.get_by_role("button", name="All", exact=True).click()
        assert painted(page, "#overlay") == everything
        page.get_by_label("Opacity").fill("0")
        assert painted(page, "#overlay") == 0


def test_joints_are_offered_where_there_are_some_and_drawn_when_they_are_asked_for(
    browser: Browser, engine: Engine, server: Running, tmp_path: Path
) -> None:
    street = tmp_path / "street.png"
    street.write_bytes(image(scene(480, 270, 0)))
    with opened_page(browser, server.url, viewport=DESKTOP) as page:
        choose(page, street)
        done(page)
        expect(page.get_by_label("Joints")).to_be_hidden()
    jointed = create_engine(write_joint_bundle(engine.bundle.directory, tmp_path / "bundle"))
    with (
        serving(jointed, tmp_path / "work") as running,
        opened_page(browser, running.url, viewport=DESKTOP) as page,
    ):
        choose(page, street)
        done(page)
        expect(page.get_by_label("Joints")).not_to_be_checked()
        before = pixels(page)
        page.get_by_label("Joints").check()
        drawn = pixels(page)
        assert sum(one != other for one, other in zip(before, drawn, strict=True)) > 100
        keep_picture(page, "joints")
        page.get_by_label("Joints").uncheck()
        assert pixels(page) == before
    jointed.close()


def pixels(page: Page) -> list[int]:
    """The green of every pixel of the picture."""
    script = """canvas => {
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return Array.from(data.filter((_, at) => at % 4 === 1));
    }"""
    found: list[int] = page.locator("#overlay").evaluate(script)
    return found


def test_a_clip_without_people_is_parsed_and_says_so(
    browser: Browser, server: Running, tmp_path: Path
) -> None:
    video = tmp_path / "nobody.mp4"
    video.write_bytes(clip(num_frames=8))
    with opened_page(browser, server.url, viewport=DESKTOP) as page:
        choose(page, video)
        done(page)
        expect(page.locator("#frames")).to_have_text("8")
        expect(page.locator("#nobody")).to_be_visible()
        expect(page.locator("#overlay")).to_have_attribute("aria-label", "Nobody in the picture")


def test_a_picture_is_shown_with_its_result(browser: Browser, server: Running, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(image())
    with opened_page(browser, server.url, viewport=PHONE) as page:
        choose(page, picture)
        done(page)
        expect(page.locator("#frames")).to_have_text("1")
        assert painted(page, "#overlay") == 64 * 48


@sizes
def test_the_start_and_the_page_of_the_api_fit_the_screen(
    browser: Browser, server: Running, viewport: ViewportSize
) -> None:
    with opened_page(browser, server.url, viewport=viewport) as page:
        expect(page.locator("#model")).to_contain_text("openvino")
        assert_nothing_sticks_out(page)
        keep_picture(page, f"start-{viewport['width']}")
        page.get_by_role("link", name="API").click()
        expect(page.get_by_role("heading", name="POST/v1/parse")).to_be_visible()
        assert_nothing_sticks_out(page)
        keep_picture(page, f"docs-{viewport['width']}")


def test_the_page_is_used_with_the_keyboard_alone(browser: Browser, server: Running, tmp_path: Path) -> None:
    video = tmp_path / "nobody.mp4"
    video.write_bytes(clip(num_frames=4))
    with opened_page(browser, server.url, viewport=DESKTOP) as page:
        page.set_input_files("#file", video)
        focused = [press_tab(page) for _ in range(5)]
        assert focused == ["Skip to the controls", "API", "file", "send", "webcam"]
        page.locator("#send").focus()
        page.keyboard.press("Enter")
        done(page)
        page.locator("#boxes").focus()
        page.keyboard.press("Space")
        expect(page.locator("#boxes")).not_to_be_checked()


def press_tab(page: Page) -> str:
    page.keyboard.press("Tab")
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent"))


def test_a_server_with_keys_asks_for_one(browser: Browser, engine: Engine, tmp_path: Path) -> None:
    video = tmp_path / "nobody.mp4"
    video.write_bytes(clip(num_frames=4))
    with (
        serving(engine, tmp_path / "work", api_keys=KEY) as running,
        opened_page(browser, running.url, viewport=DESKTOP, refusals=1) as page,
    ):
        choose(page, video)
        expect(page.get_by_role("alert")).to_contain_text("An API key is needed")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Parse", exact=True).click()
        done(page)


def test_a_file_that_is_no_video_is_told_in_words(browser: Browser, server: Running, tmp_path: Path) -> None:
    poem = tmp_path / "poem.mp4"
    poem.write_text("roses are red")
    with opened_page(browser, server.url, viewport=DESKTOP, refusals=1) as page:
        choose(page, poem)
        expect(page.get_by_role("alert")).to_contain_text("Not a video or image")


def test_a_long_video_is_a_job_that_outlives_a_reload(
    browser: Browser, server: Running, tmp_path: Path
) -> None:
    video = tmp_path / "long.mp4"
    video.write_bytes(clip(width=160, height=96, num_frames=62, rate=1))
    with opened_page(browser, server.url, viewport=DESKTOP) as page:
        jobs = page.get_by_role("region", name="Long videos")
        expect(jobs).to_be_hidden()
        choose(page, video)
        expect(jobs.get_by_role("listitem")).to_have_count(1)
        page.reload()
        expect(jobs.get_by_role("listitem")).to_contain_text("long.mp4: done, 62 frames", timeout=PATIENCE_MS)
        keep_picture(page, "jobs")
        with page.expect_download() as download:
            jobs.get_by_role("button", name="Results (NDJSON) of long.mp4").click()
        assert download.value.suggested_filename == "long.mp4.ndjson"
        download.value.save_as(tmp_path / "saved.ndjson")
        assert len((tmp_path / "saved.ndjson").read_text("utf-8").splitlines()) == 62
        choose(page, video)
        done(page)
        expect(page.locator("#frames")).to_have_text("62")
        expect(jobs.get_by_role("listitem")).to_have_count(2)
        for left in (1, 0):
            jobs.get_by_role("button", name="Delete of long.mp4").first.click()
            expect(jobs.get_by_role("listitem")).to_have_count(left)
        expect(jobs).to_be_hidden()
    assert server.http.get("/v1/jobs").json()["jobs"] == []
