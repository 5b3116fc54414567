"""Settings from the environment and the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from partstream_server.config.settings import (
    Settings,
    SettingsError,
    is_loopback,
    load_settings,
    settings_table,
)

SETTINGS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("PARTSTREAM_") or name == "PORT"]:
        monkeypatch.delenv(name)


def test_without_any_variable_the_service_stays_on_this_machine_at_port_8000() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.allow_remote) == ("127.0.0.1", 8000, False)


def test_the_port_is_taken_from_port_where_ours_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8101")
    assert load_settings().port == 8101
    monkeypatch.setenv("PARTSTREAM_PORT", "8102")
    assert load_settings().port == 8102


def test_an_argument_goes_before_the_environment_unless_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSTREAM_PORT", "8102")
    monkeypatch.setenv("PARTSTREAM_THREADS", "3")
    settings = load_settings({"port": 8103, "threads": None})
    assert (settings.port, settings.threads) == (8103, 3)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSTREAM_BUNDLE", "")
    monkeypatch.setenv("PORT", "")
    settings = load_settings()
    assert (settings.bundle, settings.port) == (None, 8000)


def test_an_unknown_variable_is_named_with_the_one_that_may_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSTREAM_MAX_FRAME", "5")
    with pytest.raises(SettingsError, match=r"PARTSTREAM_MAX_FRAME: .*did you mean PARTSTREAM_MAX_FRAMES"):
        load_settings()


def test_where_the_tests_find_their_footage_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSTREAM_DATA", "/somewhere")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PARTSTREAM_PORT", "eighty"),
        ("PORT", "65536"),
        ("PARTSTREAM_PROVIDER", "abacus"),
        ("PARTSTREAM_PRECISION", "f3"),
        ("PARTSTREAM_THREADS", "-1"),
        ("PARTSTREAM_MAX_UPLOAD_BYTES", "0"),
        ("PARTSTREAM_MAX_DURATION_S", "0"),
        ("PARTSTREAM_MAX_DIMENSION", "wide"),
        ("PARTSTREAM_MAX_CONCURRENT", "0"),
        ("PARTSTREAM_QUEUE", "-1"),
        ("PARTSTREAM_TEMP_DIR", "/no/such/place"),
        ("PARTSTREAM_LOG_LEVEL", "loud"),
        ("PARTSTREAM_ALLOW_REMOTE", "perhaps"),
    ],
)
def test_a_wrong_value_is_shown_after_the_name_of_its_variable(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith(f"{variable}: ")
    assert value in message


def test_every_wrong_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSTREAM_QUEUE", "-1")
    with pytest.raises(SettingsError) as caught:
        load_settings({"threads": -1})
    named = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert named == ["--threads", "PARTSTREAM_QUEUE"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com"])  # noqa: S104 - refused
def test_an_address_that_others_reach_needs_permission(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"--host: .*PARTSTREAM_ALLOW_REMOTE=1"):
        load_settings({"host": host})
    monkeypatch.setenv("PARTSTREAM_ALLOW_REMOTE", "1")
    assert load_settings({"host": host}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_addresses_are_known(host: str) -> None:
    assert is_loopback(host)


def test_the_table_names_every_setting_once() -> None:
    rows = settings_table().splitlines()[2:]
    names = [f"PARTSTREAM_{name.upper()}" for name in Settings.model_fields]
    assert [row.split("`")[1] for row in rows] == names
    assert all(row.count("|") == 4 and not row.endswith("| None |") for row in rows)


def test_every_default_of_the_table_can_be_set_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in settings_table().splitlines()[2:]:
        variable, default = (cell.strip().strip("`") for cell in row.split("|")[1:3])
        monkeypatch.setenv(variable, default)
    assert load_settings() == Settings()


def test_the_module_prints_its_table() -> None:
    command = [sys.executable, "-m", "partstream_server.config.settings"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout == settings_table()


@pytest.mark.skipif(not SETTINGS.exists(), reason="the checkout has no documents")
def test_the_documents_show_the_table_as_it_is() -> None:
    assert settings_table() in SETTINGS.read_text(encoding="utf-8"), (
        "run python -m partstream_server.config.settings"
    )
