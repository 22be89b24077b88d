"""The container files: what linters and schemas say of them, and that they name what the service knows."""

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.config import settings

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sysconfig.get_path("scripts"))
OTLP_HTTP_PORT = 4318


def read_yaml(name: str) -> Any:
    """Give a YAML file of the project as plain values."""
    return YAML(typ="safe").load(ROOT / name)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["hadolint", "Dockerfile"], id="Dockerfile"),
        pytest.param(
            ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"], id="compose.yaml"
        ),
    ],
)
def test_linted(command: list[str]) -> None:
    """The linter has nothing to say."""
    found = subprocess.run(
        [SCRIPTS / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "deploy/README.md"])
def test_settings_exist(name: str) -> None:
    """Every GATEHOUSE_ variable that is set is a setting, or a choice that compose.yaml itself takes."""
    known = {setting.variable for setting in settings().values()} | {"GATEHOUSE_PORT"}

    assert set(re.findall(r"GATEHOUSE_[A-Z_]+", (ROOT / name).read_text())) <= known


def test_one_data_folder() -> None:
    """The folder that the image keeps is the one that compose.yaml keeps."""
    image = (ROOT / "Dockerfile").read_text()

    assert "GATEHOUSE_DATA_DIR=/data " in image
    assert "\nVOLUME /data\n" in image
    assert read_yaml("compose.yaml")["services"]["gatehouse"]["volumes"] == ["gatehouse:/data"]


def test_published_on_loopback() -> None:
    """Compose publishes no port to the world."""
    services = read_yaml("compose.yaml")["services"]

    published = [port for service in services.values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_collector_is_where_the_service_sends() -> None:
    """Compose points the service at the port where the collector takes OTLP over HTTP."""
    endpoint = read_yaml("compose.yaml")["services"]["gatehouse"]["environment"]["GATEHOUSE_OTLP_ENDPOINT"]
    collector = read_yaml("otel-collector.yaml")["receivers"]["otlp"]["protocols"]["http"]["endpoint"]

    assert endpoint == f"http://collector:{OTLP_HTTP_PORT}"
    assert collector == f"${{env:COLLECTOR_LISTEN:-127.0.0.1}}:{OTLP_HTTP_PORT}"


def test_mounted_files_exist() -> None:
    """Whatever compose mounts from the project is there, and Grafana looks for dashboards where they are."""
    services = read_yaml("compose.yaml")["services"]
    mounts = [
        mount.split(":")
        for service in services.values()
        for mount in service.get("volumes", [])
        if mount.startswith("./")
    ]
    (provider,) = read_yaml("deploy/grafana/provisioning/dashboards/gatehouse.yaml")["providers"]

    assert mounts
    assert all((ROOT / source).exists() for source, *_ in mounts)
    assert ["./deploy/grafana/dashboards", provider["options"]["path"], "ro"] in mounts


def test_grafana_asks_the_containers() -> None:
    """The data sources are services of compose, and ClickHouse's user and database are the service's."""
    services = read_yaml("compose.yaml")["services"]
    prometheus, clickhouse = read_yaml("deploy/grafana/provisioning/datasources/gatehouse.yaml")[
        "datasources"
    ]
    made = services["clickhouse"]["environment"]

    assert prometheus["url"] == "http://prometheus:9090"
    assert {"prometheus", clickhouse["jsonData"]["host"]} <= services.keys()
    assert clickhouse["jsonData"]["username"] == made["CLICKHOUSE_USER"]
    assert clickhouse["jsonData"]["defaultDatabase"] == made["CLICKHOUSE_DB"]


def test_container_is_nobody() -> None:
    """It runs as a number that is not root's, and nothing after that changes it."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    last_stage = lines[max(index for index, line in enumerate(lines) if line.startswith("FROM ")) :]
    users = [line for line in last_stage if line.startswith("USER ")]

    assert users == ["USER 10001:10001"]
    assert not any(
        line.startswith(("RUN ", "COPY ", "ADD ")) for line in last_stage[last_stage.index(users[0]) :]
    )
    assert "--mode=0700 /data" in "\n".join(last_stage)


def test_container_cannot_write_or_gain() -> None:
    """Its root is read-only, it has no capability, and no setuid program gives it any."""
    service = read_yaml("compose.yaml")["services"]["gatehouse"]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "user", "devices", "pid", "network_mode", "ipc"} & service.keys()
    assert not any("docker.sock" in str(volume) for volume in service["volumes"])


def test_container_installs_only_what_is_pinned() -> None:
    """Each pip in the image checks hashes, or installs what was built there."""
    image = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    pips = re.findall(r"pip (?:install|wheel)[^&\n]*", image)

    assert len(pips) == 4
    assert all("--require-hashes" in pip or "--no-deps" in pip for pip in pips)
    assert "!requirements\n" in (ROOT / ".dockerignore").read_text()
