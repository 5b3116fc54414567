"""Draw who imports whom into `docs/architecture.md`: `python docs/import_diagram.py`.

The distributions, and the packages of the server, stand in layers: what stands in one imports only from
layers below it. Both are read from the code; an import circle is an error.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import grimp

DOCUMENT = Path(__file__).with_name("architecture.md")
DISTRIBUTIONS = (
    "partstream.v1",
    "partstream_core",
    "partstream_evaluation",
    "partstream_models",
    "partstream_export",
    "partstream_server",
    "partstream_client",
)
SERVER = "partstream_server"


def distributions() -> dict[str, set[str]]:
    """What each distribution imports of the others."""
    graph = grimp.build_graph(*DISTRIBUTIONS)
    found: dict[str, set[str]] = {name: set() for name in DISTRIBUTIONS}
    for name in DISTRIBUTIONS:
        for module in {name, *graph.find_descendants(name)}:
            for imported in graph.find_modules_directly_imported_by(module):
                other = next(each for each in DISTRIBUTIONS if f"{imported}.".startswith(f"{each}."))
                found[name] |= {other} - {name}
    return found


def server_packages() -> dict[str, set[str]]:
    """What each package of the server imports of the others."""
    graph = grimp.build_graph(SERVER)
    packages = sorted(name for name in graph.find_children(SERVER) if not name.endswith("__main__"))
    found: dict[str, set[str]] = {name.rpartition(".")[2]: set() for name in packages}
    for package in packages:
        own = package.rpartition(".")[2]
        for module in {package, *graph.find_descendants(package)}:
            for imported in graph.find_modules_directly_imported_by(module):
                if imported.startswith(f"{SERVER}."):
                    found[own] |= {imported.split(".")[1]} - {own}
    return found


def layers(imports: dict[str, set[str]]) -> list[list[str]]:
    """Names by layer, the lowest first: each imports only from the layers before its own.

    Raises:
        ValueError: There is a circle.
    """
    found: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(imports):
        layer = sorted(name for name, others in imports.items() if name not in placed and others <= placed)
        if not layer:
            raise ValueError(f"an import circle among {', '.join(sorted(imports.keys() - placed))}")
        found.append(layer)
        placed |= set(layer)
    return found


def diagram(imports: dict[str, set[str]]) -> str:
    """A Mermaid flowchart, top to bottom, without arrows that follow from others."""
    ordered = [name for layer in reversed(layers(imports)) for name in layer]
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"    {_node(name)}[{name}]" for name in ordered]
    for name in ordered:
        indirect = reachable(imports, imports[name])
        lines += [f"    {_node(name)} --> {_node(other)}" for other in sorted(imports[name] - indirect)]
    return "\n".join([*lines, "```"])


def reachable(imports: dict[str, set[str]], names: Iterable[str]) -> set[str]:
    """What can be reached from any of the names, without them."""
    found: set[str] = set()
    waiting = [other for name in names for other in imports[name]]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += imports[name]
    return found


def _node(name: str) -> str:
    return name.replace(".", "_")


def with_diagrams(text: str) -> str:
    """The document with both diagrams as the code has them."""
    for mark, imports in (("distributions", distributions()), ("server", server_packages())):
        begin, end = f"<!-- {mark}: made by python docs/import_diagram.py -->", f"<!-- end of {mark} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{diagram(imports)}\n{end}{after}"
    return text


def main() -> int:
    """Write the document anew."""
    DOCUMENT.write_text(with_diagrams(DOCUMENT.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
