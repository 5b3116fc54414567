"""Contact sheets: frames of a video, everybody in it, and crops with alpha."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from partstream_server.app.cli import app
from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.media import open_video
from partstream_server.media.video_spec import VideoSpec
from partstream_server.media.video_writer import VideoWriter
from tests.server.media_fixtures import image


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["sheet", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_sheet_shows_frames_and_everybody_alone(tmp_path: Path) -> None:
    write_figures(tmp_path / "clip.mp4", width=640, height=360, num_frames=9)
    status, output = run(
        tmp_path / "clip.mp4", "-o", tmp_path / "sheet.png", "--crops", tmp_path / "crops",
        "--frames", 3, "--columns", 3, "--width", 900, "--every", 2,
    )  # fmt: skip
    assert status == 0, output
    with Image.open(tmp_path / "sheet.png") as opened:
        sheet = np.asarray(opened)
    assert sheet.shape[1] == 900
    frame_height = round(360 * ((900 - 8) // 3 - 8) / 640)
    assert sheet.shape[0] > frame_height + 160
    for column in range(3):
        assert sheet[20 : frame_height - 10, 20 + 297 * column : 270 + 297 * column].std() > 10
    crops = sorted((tmp_path / "crops").iterdir())
    assert f"{len(crops)} people" in output
    assert len(crops) >= 2
    for path in crops:
        with Image.open(path) as opened:
            alpha = np.asarray(opened)[..., 3]
        assert 0.05 < (alpha > 128).mean() < 0.95
        assert alpha[0].max() == 0


def test_a_sheet_shows_pixels_that_are_not_square_as_they_are_meant(tmp_path: Path) -> None:
    write_figures(tmp_path / "wide.mp4", width=640, height=360, num_frames=5)
    with (
        open_video(tmp_path / "wide.mp4") as reader,
        VideoWriter(
            tmp_path / "narrow.mp4", VideoSpec(width=320, height=360, frame_rate=25, pixel_aspect=2.0)
        ) as writer,
    ):
        for frame in reader:
            half = np.asarray(cv2.resize(frame.image, (320, 360), interpolation=cv2.INTER_AREA), np.uint8)
            writer.write(half, time_s=frame.time_s)
    shapes = []
    for name in ("wide", "narrow"):
        folder = tmp_path / name
        status, output = run(
            tmp_path / f"{name}.mp4", "-o", tmp_path / f"{name}.png", "--crops", folder, "--frames", 2
        )
        assert status == 0, output
        with Image.open(tmp_path / f"{name}.png") as sheet, Image.open(folder / "person-1.png") as crop:
            shapes.append((sheet.height, crop.width / crop.height))
    (wide_height, wide_crop), (narrow_height, narrow_crop) = shapes
    assert narrow_height == wide_height
    assert narrow_crop == pytest.approx(wide_crop, rel=0.2)


def test_a_picture_of_nobody_has_a_sheet_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image())
    status, output = run(tmp_path / "a.png", "-o", tmp_path / "sheet.jpg")
    assert (status, "0 people" in output) == (0, True)
    with Image.open(tmp_path / "sheet.jpg") as opened:
        assert opened.size[0] == 1600


@pytest.mark.parametrize(
    ("content", "target", "options", "words"),
    [
        (b"a poem\n" * 20, "sheet.png", [], "no frame"),
        (None, "sheet.png", [], "missing"),
        (image(), "sheet.txt", [], ".txt"),
        (image(), "none/sheet.png", [], "none/sheet.png"),
        (image(), "sheet.png", ["--layers", "hats"], "hats"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    tmp_path: Path, content: bytes | None, target: str, options: list[str], words: str
) -> None:
    source = tmp_path / ("missing" if content is None else "source.png")
    if content is not None:
        source.write_bytes(content)
    status, output = run(source, "-o", tmp_path / target, *options)
    assert status != 0
    assert output.startswith("error: ")
    assert words in output
    assert len(output.splitlines()) == 1


def test_the_command_cuts_people_out(tmp_path: Path) -> None:
    write_figures(tmp_path / "clip.mp4", width=640, height=360, num_frames=4)
    for form in ("png", "webm", "mov"):
        done = CliRunner().invoke(
            app,
            [
                "parse", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / form), "--cutout", form,
                "--no-overlay", "--every", "2",
            ],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    pictures = sorted((tmp_path / "png/clip/cutout").iterdir())
    assert [path.name for path in pictures] == [f"{index:06d}.png" for index in range(4)]
    for path in pictures:
        with Image.open(path) as opened:
            alpha = np.asarray(opened)[..., 3]
        assert 0.01 < (alpha > 128).mean() < 0.5
    assert (tmp_path / "webm/clip/cutout.webm").stat().st_size > 1000
    assert (tmp_path / "mov/clip/cutout.mov").stat().st_size > 1000
    wrong = CliRunner().invoke(
        app, ["parse", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "x"), "--cutout", "gif"]
    )
    assert wrong.exit_code == 2
    assert "none, webm, mov or png" in wrong.output
