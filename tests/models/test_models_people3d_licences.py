"""Every asset that rendered people are made from is named with its licence."""

import re
from pathlib import Path

import pytest

DOCUMENT = "docs/people3d-licences.md"


@pytest.fixture(scope="module")
def garments(data_dir: Path) -> Path:
    """The folder of garments whose licences differ; the test skips without it."""
    folder = data_dir / "people3d" / "garments_json"
    if not folder.is_dir():
        pytest.skip(f"no garments at {folder}")
    return folder


def documented(repository: Path) -> dict[str, tuple[str, str]]:
    """Licence and author of each garment, as the document's second table gives them."""
    text = (repository / DOCUMENT).read_text("utf-8").partition("## Garments")[2]
    rows = re.findall(r"^\| (?!garment|---)(.+?) \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)
    return {name: (licence, author) for name, licence, author in rows}


def test_every_garment_has_a_row_and_every_row_a_garment(repository: Path, garments: Path) -> None:
    present = {path.name for path in garments.iterdir() if path.is_dir()}
    assert set(documented(repository)) == present


def test_authors_and_kinds_of_licence_are_those_of_the_files(repository: Path, garments: Path) -> None:
    lines = (garments / "licences.tsv").read_text("utf-8").strip().splitlines()[1:]
    stated = {name: (licence, author) for name, licence, author in (line.split("\t") for line in lines)}
    found = documented(repository)
    assert {name: author for name, (_, author) in found.items()} == {
        name: author for name, (_, author) in stated.items()
    }
    assert {name: short(licence) for name, (licence, _) in found.items()} == {
        name: short(licence) for name, (licence, _) in stated.items()
    }


def short(licence: str) -> str:
    """A licence without remarks in brackets and without spaces, for example `CCBY3.0`."""
    return licence.partition("(")[0].replace(" ", "")
