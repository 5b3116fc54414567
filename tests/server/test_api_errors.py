"""One table gives every error its HTTP and gRPC status."""

import errno
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import partstream_core
import partstream_server
from partstream_core.errors import NotAVideoError, PartstreamError
from partstream_server.rest.problems import problem_document
from partstream_server.service.errors import ERROR_TABLE, UnknownOptionError, codes_for


def all_subclasses(error: type[PartstreamError]) -> Iterator[type[PartstreamError]]:
    yield error
    for child in error.__subclasses__():
        yield from all_subclasses(child)


def import_everything() -> None:
    """Import every module that may define an error."""
    for package in (partstream_core, partstream_server):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def test_every_error_has_codes() -> None:
    import_everything()
    assert len(set(all_subclasses(PartstreamError))) > 15
    assert {error.code for error in all_subclasses(PartstreamError)} <= set(ERROR_TABLE)


def test_a_new_error_without_a_row_is_noticed() -> None:
    with pytest.raises(KeyError):
        codes_for("an_error_that_nobody_has_thought_of")


@pytest.mark.parametrize("code", ERROR_TABLE)
def test_every_row_holds_real_statuses(code: str) -> None:
    codes = codes_for(code)
    assert 400 <= codes.http <= 599
    assert codes.grpc in importlib.import_module("grpc").StatusCode.__members__
    assert codes.grpc != "OK"
    assert codes.title


def test_a_problem_document_says_what_went_wrong() -> None:
    assert problem_document(NotAVideoError("it is a poem"), instance="/parse") == {
        "type": "urn:partstream:problem:not_a_video",
        "title": "Not a video or image",
        "status": 422,
        "code": "not_a_video",
        "detail": "it is a poem",
        "instance": "/parse",
    }


def test_an_unknown_option_lists_the_known_ones() -> None:
    document = problem_document(UnknownOptionError("speed", ("every", "masks")))
    assert (document["code"], document["option"]) == ("unknown_option", "speed")
    assert document["known_options"] == ["every", "masks"]


def test_an_error_that_is_not_ours_keeps_its_secrets() -> None:
    document = problem_document(RuntimeError("the password is swordfish"))
    assert (document["status"], document["code"]) == (500, "internal_error")
    assert "swordfish" not in str(document)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_apart(number: int) -> None:
    document = problem_document(OSError(number, "no"))
    assert (document["status"], document["code"]) == (507, "storage_full")
