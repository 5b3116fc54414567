"""What the documents say is what is there."""

import ast
import re
import subprocess
from pathlib import Path

import grimp
import pytest

from docs.import_diagram import layers, with_diagrams
from partstream_server.config.settings import settings_table

LARGEST_PICTURE_BYTES = 100_000
LARGEST_FILE_BYTES = 20 * 2**20
REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
DOCUMENTS += sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))
MOST_LINES_OF_THE_README = 200
MOST_LINES_OF_A_MODULE = 400
FORBIDDEN_MODULES = {
    "ahead",
    "behind",
    "choice",
    "figures",
    "guess",
    "lessons",
    "look",
    "made",
    "real",
    "team",
}
FORBIDDEN_NAMES = {"conclude", "led_on", "learns", "look", "saw", "takes", "told", "Lesson", "Team"}
"""Private words that were names once; CONTRIBUTING has the terms to use."""
DISTRIBUTIONS = (
    "models/partstream_models",
    "models/core/partstream_core",
    "models/evaluation/partstream_evaluation",
    "export/partstream_export",
    "server/partstream_server",
    "clients/python/partstream_client",
)


@pytest.fixture(scope="module")
def committed(repository: Path) -> list[str]:
    """Paths of all files that git knows."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip("no git checkout")
    return [name for name in listing.stdout.split("\0") if name]


def test_the_documents_show_the_settings_there_are(repository: Path) -> None:
    assert settings_table() in (repository / "docs" / "settings.md").read_text("utf-8")


def test_the_readme_is_short(repository: Path) -> None:
    assert len((repository / "README.md").read_text("utf-8").splitlines()) < MOST_LINES_OF_THE_README


def test_the_architecture_shows_the_imports_there_are(repository: Path) -> None:
    text = (repository / "docs" / "architecture.md").read_text("utf-8")
    assert with_diagrams(text) == text, "run python docs/import_diagram.py"


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_no_module_is_long(repository: Path, folder: str) -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in (repository / folder).rglob("*.py")}
    assert lines
    assert [str(path) for path, count in lines.items() if count > MOST_LINES_OF_A_MODULE] == []


def test_the_top_of_the_server_holds_packages_only(repository: Path) -> None:
    modules = {path.name for path in (repository / "server/partstream_server").glob("*.py")}
    assert modules == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_command_that_is_named_exists(repository: Path, document: str) -> None:
    text = (repository / document).read_text("utf-8")
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code))
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text("utf-8"), re.M))
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_local_link_leads_somewhere(repository: Path, document: str) -> None:
    text = (repository / document).read_text("utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text)
    folder = (repository / document).parent
    assert [link for link in links if not (folder / link.partition("#")[0]).exists()] == []


def test_pictures_are_small(repository: Path) -> None:
    pictures = (repository / "docs").glob("**/*.png")
    assert [str(path) for path in pictures if path.stat().st_size >= LARGEST_PICTURE_BYTES] == []


def test_no_file_is_too_large_for_the_repository(repository: Path, committed: list[str]) -> None:
    sizes = {name: path.stat().st_size for name in committed if (path := repository / name).is_file()}
    assert {name: size for name, size in sizes.items() if size >= LARGEST_FILE_BYTES} == {}


def test_nobodys_footage_is_committed(committed: list[str]) -> None:
    media = re.compile(r"\.(mp4|mov|avi|mkv|webm|gif|jpe?g)$", re.IGNORECASE)
    assert [name for name in committed if media.search(name)] == []


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_no_modules_import_each_other_in_a_circle(folder: str) -> None:
    name = folder.rpartition("/")[2]
    graph = grimp.build_graph(name)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert layers(imports)


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_names_are_the_terms_of_the_glossary(repository: Path, folder: str) -> None:
    for path in (repository / folder).rglob("*.py"):
        assert path.stem not in FORBIDDEN_MODULES, path
        tree = ast.parse(path.read_text("utf-8"))
        named = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert named & FORBIDDEN_NAMES == set(), path
