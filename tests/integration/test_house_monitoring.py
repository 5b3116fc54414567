"""The parts of the monitoring profile name each other rightly: compose file, Prometheus, Grafana."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from partstream_server.rest.status import router as status_routes


@pytest.fixture
def docker(repository: Path) -> Path:
    return repository / "docker"


@pytest.fixture
def compose(docker: Path) -> dict[str, Any]:
    return read(docker / "compose.yaml")


def read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What a service sees, by the path inside."""
    return {inside: source for source, inside, *_ in (one.split(":") for one in service["volumes"])}


def test_prometheus_asks_the_service_at_its_port_for_its_figures(
    docker: Path, compose: dict[str, Any]
) -> None:
    (job,) = read(docker / "monitoring" / "prometheus.yaml")["scrape_configs"]
    ((host, port),) = [target.split(":") for one in job["static_configs"] for target in one["targets"]]
    inside = {one.rpartition(":")[2] for one in compose["services"][host]["ports"]}
    assert port in inside
    assert job["metrics_path"] in {getattr(route, "path", "") for route in status_routes.routes}


def test_prometheus_reads_the_file_that_is_mounted(compose: dict[str, Any]) -> None:
    prometheus = compose["services"]["prometheus"]
    (config,) = [one.partition("=")[2] for one in prometheus["command"] if one.startswith("--config.file=")]
    assert mounts(prometheus)[config] == "./monitoring/prometheus.yaml"


def test_grafana_finds_prometheus_and_the_dashboard(docker: Path, compose: dict[str, Any]) -> None:
    grafana = compose["services"]["grafana"]
    (source,) = read(docker / "monitoring" / "grafana" / "datasource.yaml")["datasources"]
    found = re.fullmatch(r"http://(\w+):9090", source["url"])
    assert found is not None
    assert found.group(1) in compose["services"]
    (provider,) = read(docker / "monitoring" / "grafana" / "provider.yaml")["providers"]
    seen = mounts(grafana)
    assert seen[provider["options"]["path"]] == "./monitoring/grafana/dashboards"
    home = dict(one.split("=") for one in grafana["environment"])["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder, _, name = home.rpartition("/")
    board = json.loads((docker / seen[folder] / name).read_text("utf-8"))
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}


def test_every_volume_that_is_named_is_declared_and_the_other_way_round(compose: dict[str, Any]) -> None:
    used = {source for service in compose["services"].values() for source in mounts(service).values()}
    assert {source for source in used if not source.startswith((".", "/"))} == set(compose["volumes"])


def test_only_the_service_itself_starts_without_a_profile(compose: dict[str, Any]) -> None:
    plain = {name for name, one in compose["services"].items() if "profiles" not in one}
    assert plain == {"partstream"}
    assert {tuple(one.get("profiles", ())) for one in compose["services"].values()} == {
        (),
        ("monitoring",),
        ("gpu",),
        ("gpu-tools",),
    }
