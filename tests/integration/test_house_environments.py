"""What is installed where: the server and the client never meet torch, nor each other's weight.

The environments are made by the same commands as a person's: `make install-serve`, the README's `pip install`
of the client, and the lines of docker/Dockerfile.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Each pair writes the same module, so the two must never meet in one environment.
RIVALS = [("onnxruntime", "onnxruntime-gpu"), ("opencv-python-headless", "opencv-python")]
HEAVY = re.compile(r"torch.*|nvidia-.*|triton|tensorflow.*|jax.*|timm|ultralytics|partstream-(models|export)")
SERVER_ONLY = {"av", "fastapi", "onnxruntime", "opencv-python-headless", "openvino", "partstream-server"}


def builds_an_environment(test: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """Mark a test that installs: half a minute each, and many times that on a busy machine."""
    return pytest.mark.slow(pytest.mark.timeout(1500)(test))


IMPORT_ALL = """
import importlib.util, pkgutil, sys
optional = (  # need an extra, and say so
    "partstream_server.benchmarks.compare", "partstream_server.engine.triton", "partstream_client.commands"
)
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + ".", onerror=lambda name: None):
        if not module.name.endswith("__main__") and not module.name.startswith(optional):
            importlib.import_module(module.name)
assert "torch" not in sys.modules
assert importlib.util.find_spec("torch") is None
"""

LIST = """
import json
from importlib.metadata import distributions
print(json.dumps(sorted({each.metadata["Name"].lower().replace("_", "-") for each in distributions()})))
"""


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What a command prints; the test fails with all it printed where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def installed(python: Path) -> set[str]:
    return set(json.loads(run(python, "-c", LIST)))


def assert_free_of_torch(python: Path, *packages: str) -> set[str]:
    """The names of what is installed, none of them heavy; every module of the packages has been imported."""
    names = installed(python)
    assert {name for name in names if HEAVY.fullmatch(name)} == set()
    for pair in RIVALS:
        assert not names.issuperset(pair)
    run(python, "-c", IMPORT_ALL, *packages)
    return names


def closure(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Everything that installing a distribution may pull in here."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(canonicalize_name(name), extras)]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        waiting.extend(needs(*current))
    return {each for each, _ in seen}


def needs(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    try:
        requirements = requires(name) or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, requirements):
        chosen = [{"extra": extra} for extra in extras | {""}]
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in chosen):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("partstream-server", frozenset({"cpu"})),
        ("partstream-client", frozenset()),
        ("partstream-core", frozenset()),
        ("partstream-evaluation", frozenset()),
    ],
)
def test_nothing_that_the_torch_free_sides_ask_for_asks_for_torch(name: str, extras: frozenset[str]) -> None:
    names = closure(name, extras)
    assert "partstream-core" in names
    assert {each for each in names if HEAVY.fullmatch(each)} == set()


def test_the_walk_over_requirements_does_find_torch_where_it_is() -> None:
    assert "torch" in closure("partstream-models")


def test_the_client_asks_for_nothing_of_the_servers() -> None:
    assert closure("partstream-client") & SERVER_ONLY == set()


def test_every_version_here_is_one_that_the_constraints_name(repository: Path) -> None:
    pinned = {
        canonicalize_name(line.partition("==")[0])
        for line in (repository / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    asked_for = {
        each
        for name in ("partstream-models", "partstream-export", "partstream-client")
        for each in closure(name)
    } | closure("partstream-server", frozenset({"cpu"}))
    loose = {each for each in asked_for - pinned if not re.match(r"partstream-|nvidia-|triton|cuda-", each)}
    assert loose & installed(Path(sys.executable)) == set()


@builds_an_environment
def test_the_servers_environment_holds_no_torch_and_parses(repository: Path, tmp_path: Path) -> None:
    venv = tmp_path / "serve"
    command = ["make", "--directory", str(repository), f"PYTHON={sys.executable}", f"SERVE_VENV={venv}"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    run(*command, "install-serve", env=env)

    names = assert_free_of_torch(venv / "bin" / "python", "partstream_server", "partstream_core")
    assert names >= {"partstream-server", "partstream-core", "partstream-proto", "openvino", "onnxruntime"}
    parse_a_picture(venv / "bin" / "partstream", tmp_path)

    run(*command, "--question", "install-serve", env=env)  # the second start installs nothing


@builds_an_environment
def test_the_clients_environment_holds_neither_torch_nor_the_server(repository: Path, tmp_path: Path) -> None:
    venv = tmp_path / "client"
    run(sys.executable, "-m", "venv", venv)
    readme = (repository / "README.md").read_text("utf-8")
    (line,) = re.findall(r"^(?:.*/)?pip install (.*clients/python.*)$", readme, re.M)
    run(venv / "bin" / "pip", "install", "--quiet", *shlex.split(line), cwd=repository)

    names = assert_free_of_torch(venv / "bin" / "python", "partstream_client", "partstream_core")
    assert names & SERVER_ONLY == set()


@builds_an_environment
def test_the_containers_install_steps_give_a_server_that_parses(repository: Path, tmp_path: Path) -> None:
    venv, context = tmp_path / "opt", tmp_path / "src"
    context.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | {"PATH": path}
    for word, rest in instructions(repository / "docker" / "Dockerfile"):
        here = rest.replace("/opt/partstream", str(venv))
        if word == "ENV":
            for pair in shlex.split(here):
                name, _, value = pair.partition("=")
                env[name] = value
        elif word == "COPY":
            *sources, target = here.split()
            for source in sources:
                copy(repository / source, context / target)
        elif word == "RUN":
            run("sh", "-c", re.sub(r"^--mount=\S+ ", "", here), cwd=context, env=env)

    names = assert_free_of_torch(venv / "bin" / "python", "partstream_server", "partstream_core")
    assert "pip" not in names
    parse_a_picture(venv / "bin" / "partstream", tmp_path)


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """The instructions of the first stage, word and rest, each on one line."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text("utf-8"), flags=re.M).replace("\\\n", " ")
    first_stage = re.split(r"^FROM .*$", text, flags=re.M)[1]
    for line in filter(None, map(str.strip, first_stage.splitlines())):
        word, _, rest = line.partition(" ")
        yield word, re.sub(r"\s+", " ", rest)


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def parse_a_picture(partstream: Path, folder: Path) -> None:
    """Run the installed command on a picture: the bundle is there and the engine runs it."""
    picture = folder / "grey.png"
    assert cv2.imwrite(str(picture), np.full((64, 96, 3), 128, np.uint8))
    out = folder / "out"
    run(partstream, "parse", picture, "-o", out)
    (line,) = (out / picture.stem / "results.ndjson").read_text("utf-8").splitlines()
    assert json.loads(line)["index"] == 0
