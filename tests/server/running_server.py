"""A real server on a loopback port, in a thread of the tests' process."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from partstream_core.errors import PartstreamError
from partstream_server.app.serve import address_of, listen, server_config
from partstream_server.config.settings import Settings
from partstream_server.engine import Engine
from partstream_server.rest.app import create_app
from partstream_server.service.service import Service
from tests.server.media_fixtures import image

PATIENCE_S = 60.0


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fail when patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    tick = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"not so after {PATIENCE_S:g} s: {what}"
        tick.wait(0.01)


@dataclass(frozen=True)
class Running:
    """A server that runs in a thread of this process."""

    url: str
    http: httpx.Client
    service: Service
    work_dir: Path
    loop: asyncio.AbstractEventLoop
    """The one that it runs on."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        url = httpx.URL(self.url)
        assert url.port is not None
        return url.host, url.port

    def parse(self, body: bytes, accept: str = "*/*", **options: Any) -> httpx.Response:
        """Send a file as the raw body."""
        return self.http.post("/parse", content=body, headers={"Accept": accept}, params=options)

    def files(self) -> list[Path]:
        """Whatever lies in the directory of temporary files."""
        return sorted(self.work_dir.iterdir())

    def check_unharmed(self) -> None:
        """Nothing is left behind, and the next client is served."""
        eventually(lambda: self.service.gate.num_inside == 0, "no request is inside")
        eventually(lambda: not self.files(), "no temporary file is left")
        eventually(lambda: not self.service.hub.streams, "no stream is open")
        assert self.http.get("/readyz").status_code == 200
        answer = self.parse(image())
        while (
            answer.status_code == 503
        ):  # clients that left before they were accepted are let in and out first
            eventually(lambda: self.service.gate.num_inside == 0, "no request is inside")
            answer = self.parse(image())
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["frames"]) == 1
        eventually(lambda: not self.files(), "no temporary file is left")


@contextmanager
def serving(
    engine: Engine | None,
    work_dir: Path,
    *,
    on_failure: Callable[[PartstreamError], None] | None = None,
    **options: Any,
) -> Iterator[Running]:
    """Run a server; the options are settings. Without an engine it opens one of its own."""
    work_dir.mkdir(parents=True, exist_ok=True)
    options.setdefault("data_dir", work_dir.with_name(f"{work_dir.name}-data"))
    settings = Settings(temp_dir=work_dir, **options)
    app = create_app(settings, engine, on_failure=on_failure)
    server = uvicorn.Server(server_config(app, settings))
    with listen("127.0.0.1", 0) as listener:
        url = address_of(listener)
        loop = asyncio.new_event_loop()
        serve = partial(loop.run_until_complete, server.serve(sockets=[listener]))
        thread = threading.Thread(target=serve, name="server")
        thread.start()
        try:
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as http:
                yield Running(url, http, app.state.service, work_dir, loop)
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            loop.close()
    assert not thread.is_alive()
