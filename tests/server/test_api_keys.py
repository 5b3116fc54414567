"""API keys, limits and quotas: who is let in, and how often."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_server.config.api_keys import KeyRing
from partstream_server.config.settings import SettingsError, load_settings
from partstream_server.security.access import ANYONE, Access
from partstream_server.security.errors import (
    KeyMissingError,
    KeyWrongError,
    OriginError,
    QuotaExceededError,
    RateLimitedError,
)
from partstream_server.security.keys import holder, presented_key
from partstream_server.security.origin import check_origin
from tests.server.answers import document, problem
from tests.server.media_fixtures import clip, image
from tests.server.running_server import Running

ANNAS, BENS = "annas-secret-0123456789", "bens-secret-0123456789"
KEYS = f"anna:{ANNAS},ben:{BENS}"
PROTECTED = ("/v1/models", "/metrics", "/parse", "/no/such/place")
OPEN = ("/", "/livez", "/readyz", "/docs", "/openapi.json")
Serve = Callable[..., Running]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    return KeyRing(KEYS.split(","))


def test_every_key_names_its_holder(ring: KeyRing) -> None:
    assert (holder(ring, ANNAS), holder(ring, BENS)) == ("anna", "ben")


def test_no_key_and_a_wrong_key_are_told_apart(ring: KeyRing) -> None:
    for nothing in (None, ""):
        with pytest.raises(KeyMissingError, match="X-API-Key"):
            holder(ring, nothing)
    with pytest.raises(KeyWrongError):
        holder(ring, "anna")


@given(text=st.text())
def test_no_other_text_is_a_key(ring: KeyRing, text: str) -> None:
    with pytest.raises((KeyMissingError, KeyWrongError)):
        holder(ring, text)


def test_a_key_is_found_in_headers_and_in_metadata() -> None:
    assert presented_key([("Authorization", f"Bearer {ANNAS}")]) == ANNAS
    assert presented_key([(b"authorization", f"bearer  {ANNAS} ".encode())]) == ANNAS
    assert presented_key([("x-api-key", BENS), ("authorization", f"Bearer {ANNAS}")]) == BENS
    assert presented_key([("Authorization", "Basic YTpi"), ("accept", "*/*")]) is None


def test_keys_come_from_a_list_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# who may call\n\ncarla:{'c' * 16}   # since May\n")
    ring = KeyRing.load(f"anna:{ANNAS}, {BENS},", file)
    assert ring.names == ("anna", "key-2", "carla")
    assert holder(ring, "c" * 16) == "carla"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("anna:short", "at least 16"),
        (f"an na:{ANNAS}", "name"),
        ("anna:sixteen characters", "without spaces"),
        (f"anna:{ANNAS},anna:{BENS}", "share the name"),
        (f"anna:{ANNAS},ben:{ANNAS}", "share its key"),
    ],
)
def test_bad_keys_end_the_start_and_are_not_shown(
    keys: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTSTREAM_API_KEYS", keys)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith("PARTSTREAM_API_KEYS: ")
    assert said in message
    assert keys.rsplit(":", maxsplit=1)[-1] not in message


def test_settings_do_not_show_keys_when_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSTREAM_API_KEYS", KEYS)
    assert ANNAS not in repr(load_settings())


def test_with_a_key_other_machines_may_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSTREAM_API_KEYS", KEYS)
    assert load_settings({"host": "0.0.0.0"}).host == "0.0.0.0"  # noqa: S104 - what is tested


def test_requests_come_back_as_the_minute_passes() -> None:
    clock = Clock()
    account = Access(KeyRing(), requests_per_minute=3, clock=clock).account(None)
    for _ in range(3):
        account.begin()
    with pytest.raises(RateLimitedError) as caught:
        account.begin()
    assert caught.value.retry_after_s == pytest.approx(20)
    clock.now_s += caught.value.retry_after_s
    account.begin()
    with pytest.raises(RateLimitedError):
        account.begin()


def test_a_days_frames_end_and_begin_again() -> None:
    clock = Clock()
    account = Access(KeyRing(), frames_per_day=2, clock=clock).account(None)
    account.begin()
    account.use_frame()
    clock.now_s += 3600
    account.use_frame()
    with pytest.raises(QuotaExceededError) as caught:
        account.use_frame()
    assert caught.value.retry_after_s == pytest.approx(23 * 3600)
    with pytest.raises(QuotaExceededError):
        account.begin()
    clock.now_s += caught.value.retry_after_s
    account.begin()
    account.use_frame()


def test_without_keys_everyone_shares_an_account() -> None:
    access = Access(KeyRing())
    assert access.account(None) is access.account("whatever")
    assert access.admit([]).name == ANYONE


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:9", "null", "http://127.0.0.1:8000.evil.example"]
)
def test_pages_of_other_sites_are_told_apart(origin: str) -> None:
    check_origin(None, "127.0.0.1:8000")
    check_origin("http://127.0.0.1:8000", "127.0.0.1:8000")
    check_origin(origin, "127.0.0.1:8000", allowed=[origin])
    with pytest.raises(OriginError):
        check_origin(origin, "127.0.0.1:8000")


def test_a_server_with_keys_answers_only_those_who_show_one(serve: Serve) -> None:
    url = serve_with_keys(serve)
    with httpx.Client(base_url=url) as http:
        for path in PROTECTED:
            for headers, code in (({}, "key_missing"), (bearer("wrong"), "key_wrong")):
                answer = http.get(path, headers=headers)
                problem(answer, code)
                assert answer.headers["www-authenticate"].startswith("Bearer")
        refused = http.post("/parse", content=image())
        problem(refused, "key_missing")
        for path in OPEN:
            assert http.get(path).status_code == 200, path
        for headers in (bearer(ANNAS), {"X-API-Key": BENS}):
            assert len(document(http.post("/parse", content=image(), headers=headers))["frames"]) == 1


def serve_with_keys(serve: Serve, **options: object) -> str:
    """A server that asks for keys; the check for harm at its end shows one too."""
    running = serve(api_keys=KEYS, **options)
    running.http.headers["X-API-Key"] = ANNAS
    return running.url


def test_one_key_that_asks_too_often_leaves_the_other_alone(serve: Serve) -> None:
    url = serve_with_keys(serve, rate_limit=4)
    with httpx.Client(base_url=url, headers=bearer(BENS)) as http:
        for _ in range(4):
            assert http.get("/v1/models").status_code == 200
        refused = http.get("/v1/models")
        problem(refused, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 15
        assert http.get("/readyz").status_code == 200


def test_a_video_beyond_the_quota_ends_where_the_quota_does(serve: Serve) -> None:
    url = serve_with_keys(serve, frame_quota=4)
    with httpx.Client(base_url=url, headers=bearer(BENS), timeout=60) as http:
        headers = {"Accept": "application/x-ndjson"}
        lines = http.post("/parse", content=clip(num_frames=6), headers=headers).text.splitlines()
        assert len(lines) == 5
        assert '"quota_exceeded"' in lines[-1]
        refused = http.post("/parse", content=image())
        problem(refused, "quota_exceeded")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
