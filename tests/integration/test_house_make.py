"""What make says where Python does not fit, and that a second start does nothing twice."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def make(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One run of make, untouched by the make that may have started the tests."""
    env = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    return subprocess.run(
        ["make", "--directory", str(repository), "--no-print-directory", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )


def interpreter(folder: Path, script: str) -> Path:
    """A stand-in for a Python that is not the right one."""
    path = folder / "python-that-does-not-fit"
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return path


def test_help_names_what_people_rely_on(repository: Path) -> None:
    listed = re.findall(r"^  make ([a-z-]+)", make(repository, "help").stdout, re.M)
    assert {"serve", "test", "lint", "bench", "train", "clean", "help"} <= set(listed)


def test_an_old_python_is_named_and_a_way_out_is_shown(repository: Path, tmp_path: Path) -> None:
    old = interpreter(tmp_path, 'test "$1" = --version && echo "Python 3.9.2" || exit 1')
    done = make(repository, "install-serve", f"PYTHON={old}", f"SERVE_VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr
    assert "PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_that_is_not_there_is_said_so(repository: Path, tmp_path: Path) -> None:
    done = make(repository, "install-serve", f"PYTHON={tmp_path}/none", f"SERVE_VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "3.11 or newer" in done.stderr


def test_a_python_without_venv_is_told_what_to_install(repository: Path, tmp_path: Path) -> None:
    bare = interpreter(tmp_path, f'case "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"')
    done = make(repository, "install-serve", f"PYTHON={bare}", f"SERVE_VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "python3-venv" in done.stderr


@pytest.mark.parametrize("target", ["serve", "bench"])
def test_the_server_starts_without_installing_where_it_is_installed(
    repository: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / ".installed").touch()
    planned = make(repository, "--dry-run", target, f"SERVE_VENV={tmp_path}").stdout
    assert f"{tmp_path}/bin/partstream {target}" in planned
    assert "pip install" not in planned


def test_new_pins_bring_a_new_install(repository: Path, tmp_path: Path) -> None:
    (tmp_path / ".installed").touch()
    planned = make(
        repository, "--dry-run", "serve", f"SERVE_VENV={tmp_path}", "--what-if=constraints.txt"
    ).stdout
    assert "pip install" in planned


def test_torch_goes_first_alone_and_from_where_it_was_asked(repository: Path, tmp_path: Path) -> None:
    planned = make(
        repository, "--dry-run", "install-dev", f"DEV_VENV={tmp_path}", "TORCH_INDEX_URL=https://wheels"
    ).stdout
    installs = [line for line in planned.splitlines() if "pip install" in line]
    (torch,) = [line for line in installs if re.search(r"\btorch$", line)]
    assert "--index-url https://wheels" in torch
    (everything,) = [line for line in installs if "--editable models " in line]
    assert installs.index(torch) < installs.index(everything)
