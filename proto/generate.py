"""Make the Python code of every .proto file anew; `make proto` runs it.

The code is committed, so that nobody needs the compiler to install the package; a test holds the two
together.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent


def generate(destination: Path) -> list[Path]:
    """The files written under `destination`, for all .proto files of this folder.

    Raises:
        RuntimeError: The compiler refused a file; it has printed why.
    """
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("partstream/**/*.proto"))
    common = str(files("grpc_tools") / "_proto")
    outputs = [f"--python_out={destination}", f"--pyi_out={destination}"]
    status = protoc.main(["protoc", f"-I{ROOT}", f"-I{common}", *outputs, *sources])
    if status != 0:
        raise RuntimeError(f"protoc failed with status {status}")
    return sorted(destination.glob("partstream/**/*_pb2.py*"))


if __name__ == "__main__":
    sys.stdout.writelines(f"{path.relative_to(ROOT)}\n" for path in generate(ROOT))
