"""Each distribution imports what it declares, and nothing else; import-linter checks who may meet whom."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Distribution:
    """A folder that is installed by itself."""

    folder: str
    name: str
    package: str


DISTRIBUTIONS = [
    Distribution("models/core", "partstream-core", "partstream_core"),
    Distribution("models/evaluation", "partstream-evaluation", "partstream_evaluation"),
    Distribution("proto", "partstream-proto", "partstream"),
    Distribution("models", "partstream-models", "partstream_models"),
    Distribution("export", "partstream-export", "partstream_export"),
    Distribution("server", "partstream-server", "partstream_server"),
    Distribution("clients/python", "partstream-client", "partstream_client"),
]
each_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.name)

PROVIDED = {each.package: {each.name} for each in DISTRIBUTIONS}


def project(root: Path, distribution: Distribution) -> dict[str, object]:
    document = tomllib.loads((root / distribution.folder / "pyproject.toml").read_text("utf-8"))
    table = document["project"]
    assert isinstance(table, dict)
    return table


def declared(root: Path, distribution: Distribution) -> set[str]:
    table = project(root, distribution)
    requirements = table.get("dependencies", [])
    assert isinstance(requirements, list)
    extras = table.get("optional-dependencies", {})
    assert isinstance(extras, dict)
    for extra in extras.values():
        requirements = requirements + extra
    return {normal(re.split(r"[\s\[<>=!~;]", each, maxsplit=1)[0]) for each in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(package: Path) -> Iterator[tuple[str, str]]:
    """Top-level names that a package's files import, each with the place."""
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                yield name.partition(".")[0], f"{path}:{getattr(node, 'lineno', 0)}"


@each_distribution
def test_a_distribution_imports_only_what_it_declares(repository: Path, distribution: Distribution) -> None:
    known = packages_distributions()
    allowed = declared(repository, distribution) | {distribution.name}
    strangers = [
        f"{name} at {place}"
        for name, place in imported(repository / distribution.folder / distribution.package)
        if name not in sys.stdlib_module_names
        and not allowed & (PROVIDED.get(name) or {normal(each) for each in known.get(name, [])})
    ]
    assert strangers == []


@each_distribution
def test_a_distribution_is_typed_licensed_and_of_the_common_version(
    repository: Path, distribution: Distribution
) -> None:
    table = project(repository, distribution)
    folder = repository / distribution.folder / distribution.package
    assert table["name"] == distribution.name
    assert table["version"] == "0.1.0"
    assert table["license"] == "Apache-2.0"
    assert table["requires-python"] == ">=3.11"
    assert any(folder.rglob("py.typed"))


def test_partstream_itself_stays_a_namespace(repository: Path) -> None:
    assert not (repository / "proto" / "partstream" / "__init__.py").exists()
