"""Rendered videos: what is drawn, who is covered and for how long, and what stands behind people."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydantic import ValidationError

from partstream_client import Client
from partstream_core.labels import PARTS
from partstream_core.results import FrameResult, PersonResult
from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.offline.privacy import COVERED_S
from partstream_server.offline.rendering import Renderer, RenderOptions
from partstream_server.pipeline.likely_parts import Likely, likely_parts
from partstream_server.pipeline.values import LabelMaps
from tests.server.answers import problem
from tests.server.media_fixtures import image
from tests.server.running_server import Running, eventually

HEIGHT, WIDTH = 120, 160
HEAD = (slice(20, 40), slice(60, 80))
BODY = (slice(40, 100), slice(50, 90))


def picture() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def standing(time_s: float, *, part: str = "face", identity: int = 1) -> tuple[FrameResult, LabelMaps]:
    """A person with a head and a coat."""
    person_HW, part_HW = (np.zeros((WIDTH, HEIGHT), np.uint8).T for _ in range(2))
    person_HW[HEAD] = person_HW[BODY] = 1
    part_HW[HEAD], part_HW[BODY] = PARTS.index(part), PARTS.index("coat")
    person = PersonResult(identity, 0.9, (50.0, 20.0, 90.0, 100.0), None, ())
    return FrameResult(0, time_s, True, (person,)), LabelMaps(person_HW, part_HW)


def nobody(time_s: float) -> tuple[FrameResult, LabelMaps]:
    return FrameResult(0, time_s, True, ()), LabelMaps(
        *(np.zeros((WIDTH, HEIGHT), np.uint8).T for _ in range(2))
    )


def rendered(renderer: Renderer, seen: tuple[FrameResult, LabelMaps], *, time_s: float) -> Any:
    return renderer.render(picture(), *seen, time_s=time_s)


def changed(shown: Any) -> npt.NDArray[np.bool_]:
    return np.asarray((shown != picture()).any(axis=2))


@pytest.mark.parametrize("effect", ["blur", "pixelate", "fill"])
@pytest.mark.parametrize(
    ("hide", "part", "covered"),
    [
        ("faces", "face", [HEAD]),
        ("faces", "hair", []),
        ("heads", "hair", [HEAD]),
        ("people", "hair", [HEAD, BODY]),
    ],
)
def test_what_is_to_be_hidden_is_covered_and_little_else(
    effect: str, hide: str, part: str, covered: list[tuple[slice, slice]]
) -> None:
    renderer = Renderer(RenderOptions(render="privacy", hide=hide, effect=effect))  # type: ignore[arg-type]
    was = changed(rendered(renderer, standing(0.0, part=part), time_s=0.0))
    for place in covered:
        assert was[place].mean() > 0.97
    if covered == [HEAD]:
        assert not was[60:100, 50:90].any()
    elif not covered:
        assert not was.any()
    assert not was[:, :30].any()


@pytest.mark.parametrize("hide", ["faces", "heads"])
def test_the_top_of_a_person_without_a_head_is_covered(hide: str) -> None:
    renderer = Renderer(RenderOptions(render="privacy", hide=hide))  # type: ignore[arg-type]
    was = changed(rendered(renderer, standing(0.0, part="coat"), time_s=0.0))
    assert was[HEAD].mean() > 0.97
    assert not was[70:100, 50:90].any()


def test_a_pixelated_head_has_few_colours() -> None:
    renderer = Renderer(RenderOptions(render="privacy", hide="faces", effect="pixelate"))  # type: ignore[arg-type]
    shown = rendered(renderer, standing(0.0), time_s=0.0)
    assert len(np.unique(shown[HEAD].reshape(-1, 3), axis=0)) <= 64
    assert len(np.unique(picture()[HEAD].reshape(-1, 3), axis=0)) > 300


def test_somebody_who_is_missed_for_a_moment_stays_covered_and_more_widely() -> None:
    renderer = Renderer(RenderOptions(render="privacy"))  # type: ignore[arg-type]
    found = changed(rendered(renderer, standing(0.0), time_s=0.0))
    missed = changed(rendered(renderer, nobody(0.5), time_s=0.5))
    assert missed[HEAD].mean() > 0.97
    assert missed.sum() > found.sum()
    assert not changed(rendered(renderer, nobody(2.0), time_s=COVERED_S + 0.1)).any()
    assert not changed(rendered(renderer, nobody(3.0), time_s=0.2)).any(), "it is forgotten"


@pytest.mark.parametrize(
    ("hide", "value", "is_covered"),
    [
        ("faces", Likely.FACE, True),
        ("faces", Likely.HEAD, False),
        ("heads", Likely.HEAD, True),
        ("heads", Likely.PERSON, False),
        ("people", Likely.PERSON, True),
        ("people", Likely.NOTHING, False),
    ],
)
def test_what_is_likely_is_covered_without_a_detection(hide: str, value: Likely, is_covered: bool) -> None:
    cells = np.zeros((HEIGHT // 8, WIDTH // 8), np.uint8)
    cells[5:8, 2:4] = value
    place = (slice(40, 64), slice(16, 32))
    renderer = Renderer(RenderOptions(render="privacy", hide=hide))  # type: ignore[arg-type]
    result, maps = nobody(0.0)
    seen = result, replace(maps, likely_hw=cells)
    was = changed(rendered(renderer, seen, time_s=0.0))
    if not is_covered:
        assert not was.any()
        return
    assert was[place].mean() > 0.97
    assert was.mean() < 0.06
    passed_over = changed(rendered(renderer, seen, time_s=0.5))
    assert passed_over[place].mean() > 0.97
    assert passed_over.sum() > was.sum(), "it may have moved"
    assert not changed(rendered(renderer, nobody(0.6), time_s=0.6)).any(), "the next frame has nothing"


def test_heads_are_likely_where_their_parts_together_are() -> None:
    names = ("background", "hair", "face", "coat")
    probabilities = np.zeros((4, 2, 3), np.float32)
    probabilities[:, 0, 0] = (0.86, 0.08, 0.04, 0.02)
    probabilities[:, 0, 1] = (0.70, 0.05, 0.20, 0.05)
    probabilities[:, 0, 2] = (0.40, 0.02, 0.02, 0.56)
    probabilities[:, 1, 0] = (0.92, 0.03, 0.03, 0.02)
    probabilities[0, 1, 1:] = 1
    likely_hw = likely_parts(probabilities, [PARTS.index(name) for name in names])
    np.testing.assert_array_equal(likely_hw, [[Likely.HEAD, Likely.FACE, Likely.PERSON], [0, 0, 0]])


def test_frames_that_are_passed_over_are_covered_more_widely() -> None:
    renderer = Renderer(RenderOptions(render="privacy"))  # type: ignore[arg-type]
    seen = standing(0.0)
    areas = [changed(rendered(renderer, seen, time_s=time_s)).sum() for time_s in (0.0, 0.2, 0.4)]
    assert areas == sorted(areas)
    assert areas[0] < areas[2]


def test_another_colour_stands_behind_people() -> None:
    renderer = Renderer(RenderOptions(render="background", background="#00ff00"))  # type: ignore[arg-type]
    shown = rendered(renderer, standing(0.0), time_s=0.0)
    np.testing.assert_array_equal(shown[45:95, 55:85], picture()[45:95, 55:85])
    assert (shown[:, :40] == (0, 255, 0)).all()
    before = renderer.render(picture(), None, None, time_s=0.0)
    assert (before == (0, 255, 0)).all(), "nobody is shown before anybody is found"
    blurred = Renderer(RenderOptions(render="background"))  # type: ignore[arg-type]
    assert rendered(blurred, standing(0.0), time_s=0.0)[:, :40].std() < 20


def test_a_picture_stands_behind_people_and_fills_the_frame() -> None:
    backdrop = np.zeros((60, 200, 3), np.uint8)
    backdrop[:, 80:120] = (0, 0, 255)
    renderer = Renderer(RenderOptions(render="background"), backdrop)  # type: ignore[arg-type]
    shown = rendered(renderer, standing(0.0), time_s=0.0)
    np.testing.assert_array_equal(shown[45:95, 55:85], picture()[45:95, 55:85])
    assert (shown[2:10, 75:85] == (0, 0, 255)).all()
    assert not shown[:, :30].any()


def test_layers_are_drawn_one_by_one() -> None:
    seen = standing(0.0)
    for layers, place in (("boxes", (20, 70)), ("parts", (60, 70)), ("labels", (18, 52))):
        was = changed(rendered(Renderer(RenderOptions(layers=layers)), seen, time_s=0.0))
        assert was[place], layers
        assert was.mean() < 0.3
    assert not changed(rendered(Renderer(RenderOptions(layers="")), seen, time_s=0.0)).any()


@pytest.mark.parametrize(
    "options",
    [{"layers": "parts,hats"}, {"background": "green"}, {"background": "#12345"}, {"hide": "feet"}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        RenderOptions(**options)  # type: ignore[arg-type]


def frames(video: bytes) -> npt.NDArray[np.uint8]:
    with av.open(io.BytesIO(video), "r") as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_service_renders_what_is_asked_for(server: Running, tmp_path: Path) -> None:
    write_figures(tmp_path / "clip.mp4", width=640, height=360, num_frames=3)
    source = (tmp_path / "clip.mp4").read_bytes()
    shown = {
        kind: frames(server.parse(source, "video/mp4", render=kind, background="#0000ff").content)
        for kind in ("overlay", "privacy", "background")
    }
    original = frames(source).astype(int)
    different = {kind: (np.abs(video - original).max(axis=-1) > 40).mean() for kind, video in shown.items()}
    assert 0 < different["privacy"] < different["overlay"] < different["background"]
    assert np.abs(shown["background"][0, 5, 5].astype(int) - (0, 0, 255)).max() < 30
    problem(server.parse(image(), "video/mp4", render="cartoon"), "bad_option")
    problem(server.parse(image(), "video/mp4", background="green"), "bad_option")


def two_colours() -> bytes:
    """A picture that is red on the left and blue on the right."""
    pixels = np.zeros((90, 160, 3), np.uint8)
    pixels[:, :80, 0] = pixels[:, 80:, 2] = 220
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def is_behind(video: bytes, num_frames: int) -> bool:
    """Whether the picture stands behind people in every frame."""
    shown = frames(video).astype(int)
    corners = shown[:, 4:20, [10, 630]].mean(axis=1)
    expected = np.array([[220, 0, 0], [0, 0, 220]])
    return len(shown) == num_frames and bool((np.abs(corners - expected) < 30).all())


def test_a_picture_of_the_form_stands_behind_people(server: Running, tmp_path: Path) -> None:
    write_figures(tmp_path / "clip.mp4", width=640, height=360, num_frames=3)
    clip, picture_ = (tmp_path / "clip.mp4").read_bytes(), two_colours()
    form = {"video": clip, "backdrop": picture_}
    mp4 = {"Accept": "video/mp4"}

    def post(path: str, files: dict[str, bytes], **query: Any) -> httpx.Response:
        return server.http.post(path, files=files, headers=mp4, params=query)

    assert is_behind(post("/parse", form, render="background").content, 3)
    job = post("/v1/jobs", form, render="background", outputs="mp4").json()
    path = f"/v1/jobs/{job['id']}"
    eventually(lambda: server.http.get(path).json()["state"] in ("done", "failed"), "the job is over")
    assert is_behind(server.http.get(f"{path}/results/mp4").content, 3)
    with Client(str(server.http.base_url)) as client:
        client.overlay(clip, tmp_path / "client.mp4", render="background", backdrop=picture_)
        assert is_behind((tmp_path / "client.mp4").read_bytes(), 3)
        submitted = client.submit(clip, outputs=("mp4",), render="background", backdrop=picture_)
        submitted.wait(poll_s=0.1)
        assert is_behind(submitted.save("mp4", tmp_path / "job.mp4").read_bytes(), 3)
        with pytest.raises(ValueError, match="not with a url"):
            client.submit(url="http://localhost/clip.mp4", backdrop=picture_)
    for where in ("/parse", "/v1/jobs"):
        problem(post(where, form), "bad_option")
        problem(post(where, form | {"backdrop": b"no picture"}, render="background"), "bad_option")
        problem(post(where, form | {"backdrop": b""}, render="background"), "empty_upload")
        problem(post(where, {"backdrop": picture_}, render="background"), "bad_upload_field")
    server.check_unharmed()
