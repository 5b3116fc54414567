"""What can be said of the GPU container without an engine and without a GPU."""

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
from partstream_server.engine import PROVIDERS
from tests.integration.test_house_container import last_stage, sent


@pytest.fixture
def dockerfile(repository: Path) -> str:
    return (repository / "docker" / "Dockerfile.gpu").read_text("utf-8").replace("\\\n", " ")


@pytest.fixture
def services(repository: Path) -> dict[str, Any]:
    document = yaml.safe_load((repository / "docker" / "compose.yaml").read_text("utf-8"))
    found: dict[str, Any] = document["services"]
    return found


def test_the_linter_finds_nothing_in_the_gpu_dockerfile(repository: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [hadolint, "docker/Dockerfile.gpu"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_gpu_image_is_checked_and_locked_as_the_cpu_image_is(repository: Path, dockerfile: str) -> None:
    cpu = last_stage((repository / "docker" / "Dockerfile").read_text("utf-8").replace("\\\n", " "))
    stage = last_stage(dockerfile)
    (check,) = re.findall(r"CMD (\[.*healthcheck\.py.*\])", stage)
    assert check in cpu
    assert re.findall(r"^ENTRYPOINT .*|^CMD .*|^EXPOSE .*", stage, re.M) == re.findall(
        r"^ENTRYPOINT .*|^CMD .*|^EXPOSE .*", cpu, re.M
    )
    assert "PARTSTREAM_HOST=0.0.0.0" in stage
    said = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    assert not any("PARTSTREAM_ALLOW_REMOTE" in line for line in said)
    users = re.findall(r"^USER (\S+)$", dockerfile, re.M)
    assert users == ["10001:10001"], "in the stage that both images are made from"
    assert re.search(r"^FROM base AS server$", dockerfile, re.M)
    assert re.search(r"^FROM base AS engines$", dockerfile, re.M)


def test_everything_the_gpu_image_copies_is_sent_to_the_engine(repository: Path, dockerfile: str) -> None:
    lines = (repository / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copied = [
        source
        for rest in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.M)
        for source in rest.split()[:-1]
    ]
    assert {"models/core", "proto", "server", "export"} <= set(copied)
    for source in copied:
        assert (repository / source).exists()
        assert sent(source, rules), source


def test_the_server_stage_has_no_exporter(dockerfile: str) -> None:
    server_side, _, _ = dockerfile.partition("AS build-engines")
    assert "export" not in [word.strip("./") for word in server_side.split()]
    assert "COPY --from=build /opt/partstream" in last_stage(dockerfile)


def test_settings_named_for_the_gpu_container_exist(dockerfile: str, services: dict[str, Any]) -> None:
    gpu = services["partstream-gpu"]
    named = set(re.findall(r"\bPARTSTREAM_[A-Z_]+", dockerfile))
    named |= {each.partition("=")[0] for each in gpu["environment"]}
    assert named <= {f"PARTSTREAM_{name.upper()}" for name in Settings.model_fields}
    assert "PARTSTREAM_PROVIDER=${PARTSTREAM_PROVIDER:-cuda}" in gpu["environment"]
    assert {"cuda", "tensorrt"} <= set(PROVIDERS)


@pytest.mark.parametrize("name", ["partstream-gpu", "engines"])
def test_services_on_a_gpu_reserve_one_and_start_only_when_named(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["profiles"] == [{"partstream-gpu": "gpu", "engines": "gpu-tools"}[name]]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_the_gpu_service_is_the_cpu_service_but_for_its_device(services: dict[str, Any]) -> None:
    gpu = services["partstream-gpu"]
    assert gpu["extends"] == {"service": "partstream"}
    assert not {"ports", "read_only", "cap_drop", "security_opt", "restart"} & set(gpu), (
        "those are taken over"
    )


def test_engines_are_built_where_the_server_reads_them(services: dict[str, Any], dockerfile: str) -> None:
    (written,) = services["engines"]["volumes"]
    (read,) = services["partstream-gpu"]["volumes"]
    assert read == f"{written}:ro"
    place = written.split(":")[1]
    assert f"PARTSTREAM_ENGINES={place}" in dockerfile
    assert f'"--out", "{place}"' in dockerfile


def test_the_gpus_versions_are_pinned_beside_those_of_everybody(repository: Path, dockerfile: str) -> None:
    def pins(path: str) -> dict[str, str]:
        lines = (repository / path).read_text("utf-8").splitlines()
        return dict(line.split("==") for line in lines if "==" in line)

    gpu, everybody = pins("docker/constraints-gpu.txt"), pins("constraints.txt")
    assert not set(gpu) & set(everybody)
    assert gpu["onnxruntime-gpu"] == everybody["onnxruntime"], "figures and engines are told by one version"
    assert 'PIP_CONSTRAINT="constraints.txt docker/constraints-gpu.txt"' in dockerfile


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="no Docker client with compose here",
)
def test_compose_gives_the_gpu_service_its_device(repository: Path) -> None:
    compose = ["docker", "compose", "--file", "docker/compose.yaml", "--profile", "gpu"]
    done = subprocess.run(
        [*compose, "config", "--format", "json"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    service = json.loads(done.stdout)["services"]["partstream-gpu"]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert [(port["host_ip"], port["target"]) for port in service["ports"]] == [
        ("127.0.0.1", 8000),
        ("127.0.0.1", 50051),
    ]
    assert service["read_only"] is True
    assert {volume["source"] for volume in service["volumes"]} == {"uploads", "engines"}
