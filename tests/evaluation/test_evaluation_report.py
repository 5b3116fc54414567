"""The report: what is gathered, what is drawn, and a page that stands alone."""

from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partstream_core.labels import PALETTE, PARTS, VOID
from partstream_evaluation.metrics.semantic import bootstrap_interval, class_intervals, class_ious
from partstream_evaluation.report.collect import Collector
from partstream_evaluation.report.draw import panels
from partstream_evaluation.report.page import write_page

SIZE = (24, 30)
COAT, HAT = PARTS.index("coat"), PARTS.index("hat")


class Page(HTMLParser):
    """What a page shows and what it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A white photo."""
    path = tmp_path / "photo.png"
    Image.new("RGB", (SIZE[1], SIZE[0]), "white").save(path)
    return path


def label_map(columns: int, part: int = COAT) -> NDArray[np.uint8]:
    """The first so many columns are the part."""
    labels = np.zeros(SIZE, np.uint8)
    labels[:, :columns] = part
    return labels


def test_the_worst_of_each_group_are_kept_and_the_worst_stands_first(photo: Path) -> None:
    collector = Collector(per_group=2)
    for group, widths in (("a", (10, 2, 8, 4)), ("b", (6, 10))):
        for width in widths:
            collector.add(group, f"{group}{width}", photo, label_map(10), label_map(width))
    assert [each.name for each in collector.worst()] == ["a2", "a4", "b6", "b10"]
    assert [each.name for each in collector.worst(1)] == ["a2"]
    total = collector.confusions()
    assert total.shape == (2, 20, 20)
    assert total[0, COAT, COAT] == (10 + 2 + 8 + 4) * SIZE[0]
    with pytest.raises(ValueError, match="no picture"):
        Collector().confusions()


def test_truth_and_prediction_lie_beside_the_photo_in_their_colours(photo: Path) -> None:
    collector = Collector()
    truth = label_map(10)
    truth[:4] = VOID
    collector.add("a", "a", photo, truth, label_map(20, HAT))
    (sample,) = collector.worst()
    sheet = np.asarray(panels(sample)).astype(np.int64)
    step = SIZE[1] + 6
    assert (sheet[:, : SIZE[1]] == 255).all()
    for left, part, seen in ((step, COAT, 5), (2 * step, HAT, 15)):
        expected = 255 * 0.35 + PALETTE[part] * 0.65
        assert np.abs(sheet[12, left + seen] - expected).max() <= 1
        assert (sheet[12, left + 25] == 255).all(), "background is the photo itself"
    assert len(set(sheet[1, step + 5].tolist())) == 1, "void is whitened"


def test_the_page_stands_alone_and_shows_classes_pictures_and_commands(photo: Path, tmp_path: Path) -> None:
    collector = Collector()
    for number in range(25):
        collector.add(f"clip {number}", f"<{number}>", photo, label_map(10), label_map(number % 10))
    path = tmp_path / "some/report.html"
    write_page(
        path, title="A & B", figures={"miou": 0.5, "num": 3}, collected=collector, commands=["parse <x> -o y"]
    )
    page = Page()
    page.feed(path.read_text("utf-8"))
    text = " ".join(page.text)
    for word in (*PARTS, "A & B", "0.500", "parse <x> -o y", "<0>, mean IoU"):
        assert word in text
    assert page.tags.count("img") == 20
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources), (
        "nothing from outside"
    )
    assert "script" not in page.tags and "link" not in page.tags
    with Image.open(BytesIO(b64decode(page.sources[0].partition(",")[2]))) as picture:
        assert picture.size == (3 * SIZE[1] + 12, SIZE[0])


def test_bars_are_as_long_as_the_class_is_good(photo: Path, tmp_path: Path) -> None:
    collector = Collector()
    collector.add("a", "a", photo, label_map(10), label_map(5))
    write_page(tmp_path / "r.html", title="t", figures={}, collected=collector, commands=[])
    coat = class_ious(collector.confusions().sum(axis=0))[COAT]
    assert coat == pytest.approx(0.5)
    assert f'width="{0.5 * 560:.1f}"' in (tmp_path / "r.html").read_text("utf-8")


def test_a_picture_that_is_damaged_or_of_another_size_is_named(photo: Path, tmp_path: Path) -> None:
    for spoil, message in ((b"no picture", "cannot read the picture of who"), (None, "who is 9x9")):
        collector = Collector()
        if spoil is None:
            Image.new("RGB", (9, 9)).save(photo)
        else:
            photo.write_bytes(spoil)
        collector.add("a", "who", photo, label_map(10), label_map(5))
        with pytest.raises(ValueError, match=message):
            write_page(tmp_path / "r.html", title="t", figures={}, collected=collector, commands=[])


def test_intervals_of_classes_are_those_of_each_class_alone() -> None:
    rng = np.random.default_rng(3)
    confusions = rng.integers(0, 50, (12, 20, 20))
    confusions[:, HAT] = 0
    confusions[:, :, HAT] = 0
    intervals = class_intervals(confusions, rng=np.random.default_rng(0))
    alone = bootstrap_interval(
        confusions, lambda matrix: float(class_ious(matrix)[COAT]), rng=np.random.default_rng(0)
    )
    assert intervals[COAT] == alone
    assert alone.low < class_ious(confusions.sum(axis=0))[COAT] < alone.high
    assert np.isnan(intervals[HAT].low)
    with pytest.raises(ValueError, match="a photo"):
        class_intervals(confusions[:0], rng=rng)
