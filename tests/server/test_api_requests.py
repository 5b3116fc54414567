"""What may be asked of the service, and how it says no."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from partstream_server.rest.query import OPTIONS
from partstream_server.service.errors import codes_for
from tests.server.answers import document, problem
from tests.server.media_fixtures import clip, image
from tests.server.running_server import Running, eventually


@pytest.mark.parametrize("path", ["/parse", "/v1/parse"])
@pytest.mark.parametrize("field", ["video", "image"])
def test_a_form_with_one_file_is_parsed(server: Running, path: str, field: str) -> None:
    answer = server.http.post(path, files={field: ("clip.mp4", clip(num_frames=2), "video/mp4")})
    assert len(document(answer)["frames"]) == 2


@pytest.mark.parametrize(
    "content_type",
    [
        "video/mp4",
        "image/png",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
        None,
    ],
)
def test_a_raw_body_is_judged_by_its_bytes_not_by_its_content_type(
    server: Running, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert len(document(server.http.post("/parse", content=image(), headers=headers))["frames"]) == 1


def test_an_upload_is_parsed_by_the_schedule_asked_for(server: Running) -> None:
    parsed = document(server.parse(clip(num_frames=4), schedule="causal", interval=3))
    assert [frame["key_frame"] for frame in parsed["frames"]] == [True, False, False, True]
    parsed = document(server.parse(clip(num_frames=4), schedule="paper", interval=3))
    assert [frame["key_frame"] for frame in parsed["frames"]] == [False, True, False, True]


def test_an_interval_without_a_schedule_that_has_one_is_a_bad_option(server: Running) -> None:
    answer = server.parse(clip(num_frames=2), schedule="every-frame", interval=3)
    assert "interval 3" in problem(answer, "bad_option")["detail"]


def test_a_chunked_upload_is_parsed(server: Running) -> None:
    body = clip(num_frames=2)
    pieces = (body[at : at + 100] for at in range(0, len(body), 100))
    assert len(document(server.http.post("/parse", content=pieces))["frames"]) == 2


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"file": b"x"}, "'file'"),
        ({"video": b"x", "image": b"y"}, "'image'"),
        ({"video": b"x", "every": b"2"}, "'every'"),
    ],
)
def test_a_form_with_other_fields_is_refused(server: Running, files: dict[str, bytes], named: str) -> None:
    answer = server.http.post("/parse", files=files)
    assert named in problem(answer, "bad_upload_field")["detail"]


def test_an_empty_file_of_a_form_is_told(server: Running) -> None:
    problem(server.http.post("/parse", files={"video": b""}), "empty_upload")


def test_a_form_that_breaks_off_is_malformed(server: Running) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    body = b'--b\r\nContent-Disposition: form-data; name="video"\r\n\r\n' + clip()
    problem(server.http.post("/parse", content=body, headers=headers), "malformed_upload")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "multipart/mixed; boundary=b"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain; charset=utf-8"},
        {"Content-Encoding": "gzip"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_a_wrong_content_type_is_refused(server: Running, headers: dict[str, str]) -> None:
    body = b'{"url": "http://example.com/clip.mp4"}'
    problem(server.http.post("/parse", content=body, headers=headers), "unsupported_media_type")


@pytest.mark.parametrize("form", [True, False])
def test_an_upload_over_the_limit_is_refused(server: Running, form: bool) -> None:
    body = bytes(1_000_001)
    sent: dict[str, Any] = {"files": {"video": body}} if form else {"content": body}
    assert "1000000 bytes" in problem(server.http.post("/parse", **sent), "upload_too_large")["detail"]


def test_an_upload_over_the_limit_that_hides_its_size_is_refused_as_it_comes(server: Running) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield bytes(50_000)

    problem(server.http.post("/parse", content=pieces()), "upload_too_large")


def test_a_declared_size_over_the_limit_is_refused_before_a_byte_is_sent(server: Running) -> None:
    import socket

    with socket.create_connection(server.address) as connection:
        connection.sendall(
            b"POST /parse HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("score_threshold", "-0.1"),
        ("score_threshold", "1.5"),
        ("score_threshold", "nan"),
        ("score_threshold", "high"),
        ("every", "0"),
        ("every", "1.5"),
        ("max_frames", "0"),
        ("max_frames", "many"),
        ("masks", "png"),
        ("joints", "some"),
        ("flow", "wind"),
        ("encodes", "often"),
        ("assembly", "fair"),
        ("skeletons", "bony"),
    ],
)
def test_a_wrong_value_of_an_option_is_refused(server: Running, option: str, value: str) -> None:
    found = problem(server.parse(clip(), **{option: value}), "bad_option")
    assert found["option"] == option
    assert value in found["detail"]


def test_an_unknown_option_is_refused_with_a_list_of_the_known_ones(server: Running) -> None:
    found = problem(server.parse(clip(), scoreThreshold="0.5"), "unknown_option")
    assert found["option"] == "scoreThreshold"
    assert found["known_options"] == list(OPTIONS)
    assert {"every", "masks", "skeletons"} < set(OPTIONS)


def test_skeletons_of_no_joints_are_refused(server: Running) -> None:
    assert "joints" in problem(server.parse(clip(), "video/mp4", skeletons="true"), "bad_option")["detail"]


def test_a_result_in_an_unknown_form_is_refused_before_the_upload(server: Running) -> None:
    found = problem(server.parse(clip(), "text/csv"), "not_acceptable")
    assert "application/x-ndjson" in found["detail"]


def test_an_unknown_address_is_a_problem_document(server: Running) -> None:
    assert "/nowhere" in problem(server.http.get("/nowhere"), "not_found")["detail"]


def test_another_method_is_a_problem_document_that_tells_the_right_one(server: Running) -> None:
    answer = server.http.get("/parse")
    problem(answer, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_a_problem_can_be_found_in_the_log_by_its_request(server: Running) -> None:
    answer = server.http.get("/nowhere")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_video_over_a_limit_is_refused(serve: Callable[..., Running]) -> None:
    server = serve(max_frames=4, max_duration_s=1.0, max_dimension=100)
    problem(server.parse(clip(num_frames=5)), "too_long")
    problem(server.parse(clip(num_frames=3, rate=1)), "too_long")
    problem(server.parse(clip(width=102, num_frames=1)), "frame_too_large")
    assert server.parse(clip(num_frames=4)).status_code == 200
    server.check_unharmed()


def test_readiness_names_what_parses(server: Running) -> None:
    ready = server.http.get("/readyz")
    assert ready.status_code == 200
    engine = server.service.engine
    assert ready.json() == {
        "status": "ready",
        "bundle": engine.bundle.manifest.name,
        "version": engine.bundle.manifest.version,
        "provider": engine.provider,
        "precision": engine.precision,
    }


def test_the_process_lives(server: Running) -> None:
    assert server.http.get("/livez").json() == {"status": "alive"}


def test_models_are_described(server: Running) -> None:
    (model,) = server.http.get("/v1/models").json()["models"]
    assert len(model["parts"]) == 19
    assert model["licence"]
    assert 0 <= model["thresholds"]["score"] <= 1


def metric(server: Running, name: str) -> float:
    """The sum of a metric over its labels."""
    lines = server.http.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
    assert found, name
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def test_metrics_count_what_happened(server: Running) -> None:
    names = ("partstream_requests_total", "partstream_frames_total", "partstream_upload_bytes_total")
    server.parse(image())  # so that every metric has a value
    problem(server.parse(b"no"), "not_a_video")
    before = [metric(server, name) for name in names]
    body = clip(num_frames=3)
    server.parse(body)
    after = [metric(server, name) for name in names]
    assert after[1] - before[1] == 3
    assert after[2] - before[2] == len(body)
    assert after[0] > before[0]
    assert metric(server, "partstream_stage_seconds_count") >= 3
    assert metric(server, "partstream_problems_total") >= 1
    eventually(lambda: metric(server, "partstream_in_flight") == 0, "nothing is in flight")


def test_the_interface_is_documented(server: Running) -> None:
    assert server.http.get("/docs").status_code == 200
    described = server.http.get("/openapi.json").json()
    post = described["paths"]["/v1/parse"]["post"]
    assert {"multipart/form-data", "application/octet-stream"} <= set(post["requestBody"]["content"])
    videos = {"video/mp4", "video/webm", "video/quicktime"}
    assert {"application/json", "application/x-ndjson", "application/zip"} | videos == set(
        post["responses"]["200"]["content"]
    )
    assert [one["name"] for one in post["parameters"] if one["in"] == "query"] == list(OPTIONS)
    assert str(codes_for("upload_too_large").http) in post["responses"]
