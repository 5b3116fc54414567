"""A real server on a loopback port, with a real engine, for the tests of the HTTP service.

Every test that uses one ends with proof that it left nothing behind and broke nothing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from partstream_server.engine import Engine, create_engine
from tests.server.running_server import Running, serving


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine on the bundle that ships with the server."""
    chosen = os.environ.get("PARTSTREAM_BUNDLE")
    opened = create_engine(Path(chosen) if chosen else None)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def shared_server(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(engine, tmp_path_factory.mktemp("work"), max_upload_bytes=1_000_000) as running:
        yield running


@pytest.fixture
def server(shared_server: Running) -> Iterator[Running]:
    """The server that most tests share, checked for harm after each of them."""
    yield shared_server
    shared_server.check_unharmed()


@pytest.fixture
def serve(engine: Engine, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start servers with settings of their own; each is checked for harm at the end."""
    with ExitStack() as stack:

        def start(own_engine: Engine | None = None, **options: Any) -> Running:
            return stack.enter_context(serving(own_engine or engine, tmp_path / "work", **options))

        yield start
