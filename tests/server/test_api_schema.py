"""Requests made from the OpenAPI document: nothing answers 5xx, or otherwise than the document says."""

import subprocess
import sys
from pathlib import Path

from tests.server.running_server import Running

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def test_every_answer_is_one_that_the_document_names(server: Running, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json",
        "--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "7",
        "--request-timeout", "60", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    for job in server.http.get("/v1/jobs", params={"limit": 100}).json()["jobs"]:
        assert server.http.delete(f"/v1/jobs/{job['id']}").status_code == 204
