"""Resume tokens that are too old, or not what the server signed, as a call of gRPC meets them."""

import threading
from pathlib import Path

from partstream.v1 import service_pb2
from partstream_server.engine import Engine
from tests.server.running_grpc import Call, serving_grpc
from tests.server.stream_fixtures import jpeg, walk
from tests.server.test_rpc_streams import broken

PICTURE = jpeg(walk(1)[0])


def refused(stub: object, token: bytes) -> tuple[str, str]:
    """Status and code of a stream that asks to go on from a token."""
    call = Call(stub, None)
    config = service_pb2.StreamConfig(policy=service_pb2.POLICY_BLOCK, resume_token=token)
    call.send(service_pb2.StreamParseRequest(config=config))
    return broken(call)


def test_a_token_that_is_too_old_or_was_changed_is_refused(engine: Engine, tmp_path: Path) -> None:
    with serving_grpc(engine, tmp_path, resume_lifetime_s=1) as server:
        (answer,) = server.exchange([PICTURE])
        token = answer.resume_token
        assert 0 < len(token) <= 32_768
        with server.stub() as stub:
            changed = token[:-1] + bytes([token[-1] ^ 1])
            assert refused(stub, changed) == ("INVALID_ARGUMENT", "bad_resume_token")
            threading.Event().wait(1.1)
            assert refused(stub, token) == ("FAILED_PRECONDITION", "resume_token_expired")
        server.check_unharmed()
