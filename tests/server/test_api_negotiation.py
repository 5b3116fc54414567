"""Accept headers."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_core.errors import NotAcceptableError
from partstream_server.rest.negotiation import negotiate

OFFERS = ("application/json", "application/x-ndjson", "video/mp4", "application/zip")
JSON, LINES, VIDEO, ZIP = OFFERS


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/x-ndjson", LINES),
        ("VIDEO/MP4", VIDEO),
        ("video/*", VIDEO),
        ("application/*", JSON),
        ("application/json; charset=utf-8", JSON),
        ("application/zip;q=0.5, video/mp4;q=0.6", VIDEO),
        ("application/zip ; q=0.5 , video/mp4 ; q=0.4", ZIP),
        ("*/*;q=0.1, application/zip", ZIP),
        ("video/mp4, */*", VIDEO),
        ("video/mp4, application/json", VIDEO),
        ("application/json;q=0, */*", LINES),
        ("application/*;q=0, */*;q=0.2", VIDEO),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("application/problem+json, application/x-ndjson", LINES),
        ("application/json;q=nonsense, application/zip;q=0.1", ZIP),
        ("application/json;q=7, application/zip;q=0.1", ZIP),
        ("what is this, application/zip", ZIP),
    ],
)
def test_the_most_wanted_form_is_chosen(header: str | None, chosen: str) -> None:
    assert negotiate(header, OFFERS) == chosen


@pytest.mark.parametrize(
    "header", ["text/html", "application/json;q=0", "*/*;q=0", "*/json", "nonsense", ",;,"]
)
def test_who_wants_none_of_the_forms_is_told_which_there_are(header: str) -> None:
    with pytest.raises(NotAcceptableError) as caught:
        negotiate(header, OFFERS)
    assert all(offer in str(caught.value) for offer in OFFERS)


@given(
    qualities=st.lists(
        st.tuples(st.sampled_from(OFFERS), st.integers(0, 1000)), min_size=1, unique_by=lambda pair: pair[0]
    )
)
def test_no_exactly_named_form_of_higher_quality_is_passed_over(qualities: list[tuple[str, int]]) -> None:
    header = ", ".join(f"{media_type};q={quality / 1000}" for media_type, quality in qualities)
    wanted = dict(qualities)
    if not any(wanted.values()):
        with pytest.raises(NotAcceptableError):
            negotiate(header, OFFERS)
    else:
        assert wanted[negotiate(header, OFFERS)] == max(wanted.values())


@given(header=st.text(max_size=60))
def test_no_header_breaks_the_reading_of_it(header: str) -> None:
    with contextlib.suppress(NotAcceptableError):
        assert negotiate(header, OFFERS) in OFFERS
