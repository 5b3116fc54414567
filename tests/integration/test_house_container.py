"""What can be said of the container without an engine: the Dockerfile, and what compose makes of its file."""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from partstream_server.config.settings import Settings
from partstream_server.service.metrics import Metrics


@pytest.fixture
def dockerfile(repository: Path) -> str:
    return (repository / "docker" / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


@pytest.fixture
def service(repository: Path) -> dict[str, Any]:
    """The service as compose.yaml has it."""
    document = yaml.safe_load((repository / "docker" / "compose.yaml").read_text("utf-8"))
    others = {name for name, one in document["services"].items() if not one.get("profiles")}
    assert others == {"partstream"}, "what starts without being named"
    found: dict[str, Any] = document["services"]["partstream"]
    return found


def last_stage(dockerfile: str) -> str:
    return re.split(r"^FROM .*$", dockerfile, flags=re.M)[-1]


def test_the_linter_finds_nothing_in_the_dockerfile(repository: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [hadolint, "docker/Dockerfile"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_find_a_mistake() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [hadolint, "-"], input="FROM debian\nRUN cd /tmp\n", capture_output=True, text=True, check=False
    )
    assert done.returncode != 0


def test_the_image_runs_without_rights_and_says_whether_it_is_ready(dockerfile: str) -> None:
    stage = last_stage(dockerfile)
    (user,) = re.findall(r"^USER (\S+)$", stage, re.M)
    assert int(user.split(":")[0]) > 0
    assert stage.index("USER ") < stage.index("ENTRYPOINT")
    assert re.search(r"^HEALTHCHECK .*healthcheck\.py", stage, re.M)


def test_everything_the_image_copies_is_sent_to_the_engine_and_nothing_heavy_is(
    repository: Path, dockerfile: str
) -> None:
    lines = (repository / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copied = [
        source
        for rest in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.M)
        for source in rest.split()[:-1]
    ]
    assert {"models/core", "proto", "server"} <= set(copied)
    for source in copied:
        assert (repository / source).exists()
        assert sent(source, rules), source
    for name in (".venv/lib", ".venv-serve", ".git/objects", "runs/x", "models/partstream_models", "tests"):
        assert not sent(name, rules), name


def sent(path: str, rules: list[str]) -> bool:
    """Whether .dockerignore lets a path through: the last rule that fits it or a folder above it decides."""
    verdict = True
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    for rule in rules:
        pattern = rule.removeprefix("!").removeprefix("**/")
        if any(fnmatch.fnmatchcase(each, pattern) for each in above):
            verdict = rule.startswith("!")
    return verdict


def test_settings_named_for_the_container_exist(dockerfile: str, service: dict[str, Any]) -> None:
    named = set(re.findall(r"\bPARTSTREAM_[A-Z_]+", dockerfile))
    named |= {each.partition("=")[0] for each in service["environment"]}
    known = {f"PARTSTREAM_{name.upper()}" for name in Settings.model_fields}
    assert named <= known


def test_the_service_is_published_on_this_machine_alone(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_image_alone_lets_nobody_in_without_a_key(dockerfile: str, service: dict[str, Any]) -> None:
    assert "PARTSTREAM_HOST=0.0.0.0" in dockerfile
    said = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    assert not any("PARTSTREAM_ALLOW_REMOTE" in line for line in said)


def test_monitoring_is_for_this_machine_and_tells_nobody(repository: Path) -> None:
    document = yaml.safe_load((repository / "docker" / "compose.yaml").read_text("utf-8"))
    grafana = document["services"]["grafana"]
    assert all(port.startswith("127.0.0.1:") for port in grafana["ports"])
    assert "ports" not in document["services"]["prometheus"]
    assert {"GF_ANALYTICS_REPORTING_ENABLED=false", "GF_ANALYTICS_CHECK_FOR_UPDATES=false"} <= set(
        grafana["environment"]
    )
    for name in ("prometheus", "grafana"):
        for volume in document["services"][name]["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (repository / "docker" / source).exists()


def test_every_figure_of_the_dashboard_is_one_that_the_server_tells(repository: Path) -> None:
    board = json.loads(
        (repository / "docker/monitoring/grafana/dashboards/partstream.json").read_text("utf-8")
    )
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b(?:partstream|process)_\w+", target["expr"])
    }
    told = {
        sample + suffix
        for family in Metrics().registry.collect()
        for sample in (family.name,)
        for suffix in ("", "_total", "_bucket", "_sum", "_count")
    }
    gauges_of_a_running_server = {
        "partstream_in_flight",
        "partstream_parsing",
        "partstream_jobs",
    }
    assert len(asked) > 15
    assert asked - told - gauges_of_a_running_server == set()


def test_the_service_writes_nowhere_but_where_uploads_and_jobs_go(
    service: dict[str, Any], dockerfile: str
) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    uploads, jobs = (volume.split(":")[1] for volume in service["volumes"])
    assert f"PARTSTREAM_TEMP_DIR={uploads}" in dockerfile
    assert f"PARTSTREAM_DATA_DIR={jobs}" in dockerfile


def test_requests_in_flight_may_finish_before_the_engine_kills_the_service(service: dict[str, Any]) -> None:
    grace_s = float(service["stop_grace_period"].removesuffix("s"))
    default: float = Settings.model_fields["shutdown_timeout_s"].default
    assert grace_s > default


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="no Docker client with compose here",
)
def test_compose_understands_its_file(repository: Path) -> None:
    done = subprocess.run(
        ["docker", "compose", "--file", "docker/compose.yaml", "config", "--format", "json"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ports = json.loads(done.stdout)["services"]["partstream"]["ports"]
    assert [(port["host_ip"], port["published"], port["target"]) for port in ports] == [
        ("127.0.0.1", "8000", 8000),
        ("127.0.0.1", "50051", 50051),
    ]
