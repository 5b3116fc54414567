"""The Helm chart: it renders for each file of values, fits Kubernetes' schemas, and its server starts."""

import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from partstream_server.config.settings import Settings
from tests.server.running_server import eventually

if find_spec("helm_python") is None:
    pytest.skip("Helm's library has a wheel for Linux on x86-64 only", allow_module_level=True)

# Helm's library is a Go program with threads and signal handlers of its own. In one process with the other
# native libraries of these tests it ended the run with a segmentation fault, so it has its own process.
CALL_HELM = """
import json, sys
import helm_python as helm
chart, values, what = json.load(sys.stdin)
try:
    if what == "lint":
        answer = helm.lint(chart, values)
    else:
        with helm.Chart.load(chart) as loaded:
            answer = dict(loaded.render(values, name="demo", namespace="video"))
except helm.HelmError as error:
    sys.exit(f"HelmError: {error}")
print(json.dumps(answer, default=str))
"""

KUBERNETES = "1.31"
SECRETS = {
    "secrets": {"apiKeys": "demo:0123456789abcdef0123456789abcdef", "resumeSecret": "0123456789abcdef" * 2}
}
VALUES = ["values.yaml", "values-gpu.yaml", "values-fleet.yaml"]
COMMON = {"Deployment", "NetworkPolicy", "Secret", "Service"}
JOBS = {"PersistentVolumeClaim"}
KINDS = [COMMON | JOBS, COMMON | JOBS, COMMON | {"Ingress", "PodDisruptionBudget", "ServiceMonitor"}]


@pytest.fixture(scope="module")
def chart(repository: Path) -> Path:
    return repository / "docker" / "helm" / "partstream"


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return values


class HelmError(Exception):
    """Helm refuses a chart or its values."""


def call_helm(chart: Path, values: dict[str, Any], what: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", CALL_HELM],
        input=json.dumps([str(chart), values, what]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise HelmError(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def render(chart: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    files = call_helm(chart, values, "render")
    found = [each for text in files.values() for each in yaml.safe_load_all(text) if each]
    return [each for each in found if isinstance(each, dict)]


def container(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = (each for each in manifests if each["kind"] == "Deployment")
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize(("name", "kinds"), [*zip(VALUES, KINDS, strict=True)], ids=VALUES)
def test_each_file_of_values_renders_what_kubernetes_schemas_accept(
    chart: Path, name: str, kinds: set[str]
) -> None:
    manifests = render(chart, read(chart / name) | SECRETS)
    assert {each["kind"] for each in manifests} == kinds
    for each in manifests:
        if each["kind"] != "ServiceMonitor":  # a custom resource, which has no schema there
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_the_schemas_refuse_a_field_that_is_none(chart: Path) -> None:
    manifests = render(chart, SECRETS)
    container(manifests)["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        for each in manifests:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_lint_finds_no_error(chart: Path) -> None:
    found = call_helm(chart, SECRETS, "lint")
    assert (found["total_charts_linted"], found["errors"]) == (1, [])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "secrets.apiKeys is empty"),
        (SECRETS | {"replicas": 2}, "one server has a job folder at a time"),
    ],
)
def test_values_that_no_server_can_run_with_are_refused(
    chart: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(HelmError, match=message):
        render(chart, values)


@pytest.mark.parametrize("name", VALUES)
def test_every_variable_is_a_setting(chart: Path, name: str) -> None:
    variables = environment(render(chart, read(chart / name) | SECRETS))
    names = {key.removeprefix("PARTSTREAM_").lower(): value for key, value in variables.items()}
    assert names.keys() <= Settings.model_fields.keys()


def environment(manifests: list[dict[str, Any]]) -> dict[str, str]:
    """The container's variables, those of the secret included."""
    (secret,) = (each for each in manifests if each["kind"] == "Secret")
    return {
        each["name"]: each["value"]
        if "value" in each
        else secret["stringData"][each["valueFrom"]["secretKeyRef"]["key"]]
        for each in container(manifests)["env"]
    }


def test_the_containers_command_starts_answers_its_probes_and_ends_at_sigterm(
    chart: Path, tmp_path: Path
) -> None:
    manifests = render(chart, SECRETS)
    told = container(manifests)
    probes = {told[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = environment(manifests) | {
        "PARTSTREAM_HOST": "127.0.0.1",
        "PARTSTREAM_PORT": str(port),
        "PARTSTREAM_GRPC_PORT": "0",
        "PARTSTREAM_TEMP_DIR": str(tmp_path),
        "PARTSTREAM_DATA_DIR": str(tmp_path / "data"),
        "PARTSTREAM_THREADS": "1",
    }
    command = [sys.executable, "-m", "partstream_server", *told["args"]]
    with subprocess.Popen(command, env=os.environ | variables) as server:
        try:
            for path in sorted(probes):
                eventually(partial(answers, port, path), f"{path} answers")
            assert httpx.get(f"http://127.0.0.1:{port}/v1/model").status_code == 401
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


def answers(port: int, path: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200
    except httpx.TransportError:
        return False
