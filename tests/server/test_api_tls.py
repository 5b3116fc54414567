"""The encrypted wire."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme
import uvicorn

from partstream_server.app.serve import address_of, listen, server_config
from partstream_server.config.settings import Settings, SettingsError, load_settings
from partstream_server.engine import Engine
from partstream_server.rest.app import create_app
from partstream_server.security.tls import Tls, TlsError, read_tls

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    found = Tls(folder / "cert.pem", folder / "key.pem")
    found.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    found.key.write_bytes(issued.private_key_pem.bytes())
    return found


@pytest.fixture
def url(engine: Engine, tls: Tls, tmp_path: Path) -> Iterator[str]:
    """A server behind that certificate."""
    settings = Settings(temp_dir=tmp_path, tls_cert=tls.certificate, tls_key=tls.key)
    server = uvicorn.Server(server_config(create_app(settings, engine), settings, read_tls(settings)))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield address_of(listener, encrypted=True)
        server.should_exit = True
        thread.join(PATIENCE_S)


def test_a_client_that_trusts_the_certificate_is_served(url: str, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert url.startswith("https://")
    with httpx.Client(verify=context, timeout=PATIENCE_S) as http:
        assert http.get(f"{url}/readyz").json()["status"] == "ready"


def test_a_client_that_does_not_trust_it_and_a_plain_one_get_nothing(url: str) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{url}/readyz")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url.replace('https', 'http')}/readyz")


def test_the_containers_health_check_asks_the_way_the_server_listens(
    url: str, tls: Tls, repository: Path
) -> None:
    def check(**variables: str) -> int:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PARTSTREAM_")}
        port = {"PARTSTREAM_PORT": url.rpartition(":")[2]}
        script = [sys.executable, str(repository / "docker" / "healthcheck.py")]
        return subprocess.run(script, env=clean | port | variables, check=False).returncode

    assert check(PARTSTREAM_TLS_CERT=str(tls.certificate)) == 0
    assert check() != 0


def test_a_key_of_another_certificate_is_refused_at_the_start(tls: Tls, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())
    with pytest.raises(TlsError, match="KEY_VALUES_MISMATCH"):
        Tls(tls.certificate, other).context()


def test_a_file_that_is_no_certificate_is_refused_at_the_start(tls: Tls, tmp_path: Path) -> None:
    poem = tmp_path / "poem.pem"
    poem.write_text("roses are red")
    settings = Settings(tls_cert=poem, tls_key=tls.key)
    with pytest.raises(TlsError, match=r"poem\.pem"):
        read_tls(settings)


@pytest.mark.parametrize(("lone", "missing"), [("CERT", "KEY"), ("KEY", "CERT")])
def test_a_certificate_and_its_key_are_set_together(
    lone: str, missing: str, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PARTSTREAM_TLS_{lone}", str(tls.certificate if lone == "CERT" else tls.key))
    with pytest.raises(SettingsError, match=rf"PARTSTREAM_TLS_{lone}: set PARTSTREAM_TLS_{missing} too"):
        load_settings()


def test_without_a_certificate_the_wire_is_plain() -> None:
    assert read_tls(Settings()) is None
