"""Generate the Python code of all .proto files; `make proto` runs it.

The code is committed, so that installing the package needs no compiler; a test compares both.
`--baseline` also writes `baseline.binpb`, the descriptors of the last release: a test runs `buf breaking`
against it, and only a release rewrites it.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
BASELINE = ROOT / "baseline.binpb"


def generate(destination: Path) -> list[Path]:
    """The files written under `destination`, for all .proto files of this folder.

    Raises:
        RuntimeError: The compiler refused a file; it has printed why.
    """
    sources = _sources()
    _compile([f"--python_out={destination}", f"--pyi_out={destination}"], sources)
    _compile([f"--grpc_python_out={destination}"], [source for source in sources if _has_service(source)])
    return sorted(destination.glob("partstream/**/*_pb2*.py*"))


def describe(destination: Path) -> Path:
    """The file with the descriptors of all messages, written at `destination`.

    Raises:
        RuntimeError: The compiler refused a file; it has printed why.
    """
    _compile([f"--descriptor_set_out={destination}"], _sources())
    return destination


def _sources() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("partstream/**/*.proto"))


def _has_service(source: str) -> bool:
    """Whether stubs are wanted; the compiler would make empty ones too."""
    return "\nservice " in (ROOT / source).read_text("utf-8")


def _compile(outputs: list[str], sources: list[str]) -> None:
    common = str(files("grpc_tools") / "_proto")
    status = protoc.main(["protoc", f"-I{ROOT}", f"-I{common}", *outputs, *sources])
    if status != 0:
        raise RuntimeError(f"protoc failed with status {status}")


if __name__ == "__main__":
    written = generate(ROOT)
    if "--baseline" in sys.argv[1:]:
        written.append(describe(BASELINE))
    sys.stdout.writelines(f"{path.relative_to(ROOT)}\n" for path in written)
