"""What docker-compose.yml promises, read off what compose makes of it for each profile."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.env import SECRETS, read
from infra.installing.environment import ROOT
from lakehouse.settings import Settings
from tests.composition import PROFILES, composition, configure, make_env

COMMON = {"proxy", "web", "spark", "sandbox", "postgres", "migrate"}
WITH_MINIO = COMMON | {"worker", "minio", "buckets"}
SERVICES = {
    "core": WITH_MINIO,
    "demo": WITH_MINIO | {"simulator"},
    "cluster": WITH_MINIO | {"spark-master", "spark-worker", "dask-scheduler", "dask-worker"},
    "localstack": COMMON | {"localstack", "functions", "simulator"},
}
# Who reaches whom, both ways: written by hand
REACHES = {
    "sandbox": "",
    "proxy": "web",
    "web": "proxy postgres migrate minio buckets worker spark spark-worker dask-worker localstack functions",
    "worker": "web postgres migrate minio buckets spark spark-worker dask-scheduler dask-worker simulator localstack",
    "spark": "web postgres migrate minio buckets worker spark-master spark-worker dask-worker localstack functions",
    "postgres": "web migrate worker spark dask-worker localstack",
    "migrate": "web postgres worker spark dask-worker localstack",
    "minio": "web buckets worker spark spark-worker dask-worker",
    "buckets": "web minio worker spark spark-worker dask-worker",
    "spark-master": "spark spark-worker",
    "spark-worker": "web minio buckets worker spark spark-master dask-worker",
    "dask-scheduler": "worker dask-worker",
    "dask-worker": "web postgres migrate minio buckets worker spark spark-worker dask-scheduler simulator localstack",
    "simulator": "worker dask-worker localstack",
    "localstack": "web postgres migrate worker spark dask-worker simulator functions",
    "functions": "web spark localstack",
}
OUTSIDE = {"worker", "dask-worker", "simulator", "localstack", "proxy"}
ONCE = {"migrate", "buckets", "functions"}


@pytest.fixture(scope="module")
def compositions(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Return what compose makes of each profile."""
    folder = tmp_path_factory.mktemp("compose")
    return {profile: composition(folder, profile) for profile in PROFILES}


@pytest.fixture(scope="module")
def services(compositions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return every service of every profile."""
    return {name: service for each in compositions.values() for name, service in each["services"].items()}


def test_each_profile_is_these_services(compositions: Mapping[str, Any]) -> None:
    """None more, none fewer."""
    assert {profile: set(each["services"]) for profile, each in compositions.items()} == SERVICES


@pytest.mark.parametrize("name", SECRETS)
def test_a_missing_secret_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing starts without one, and compose says which, and what to do."""
    file = tmp_path / "env"
    make_env(file)
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith(f"{name}=")))
    said = configure(file)
    assert said.returncode != 0
    assert f"required variable {name} is missing a value: is missing, run make env" in said.stderr


def test_no_secret_is_written_down() -> None:
    """Whatever looks like one comes from .env, none has a default, and none is the same for two installations."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for name in SECRETS:
        assert re.findall(rf"\$\{{{name}(?!:\?is missing, run make env\}})", text) == []
    for line in text.splitlines():
        if re.search(r"(PASSWORD|SECRET|TOKEN|ACCESS_KEY\w*|ROOT_USER)\w*:", line):
            assert "${" in line, line
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_only_who_needs_a_secret_has_it(tmp_path: Path) -> None:
    """
    The owner's password is with the server, the migrations and the publisher, MinIO's root's with what makes users.

    The sandbox has no environment.
    """
    services = composition(tmp_path, "core")["services"]
    secrets = read(tmp_path / "core.env")
    held = {name: {each for each in services if secrets[name] in json.dumps(services[each])} for name in SECRETS}
    store = {"buckets", "web", "worker", "spark"}
    assert held == {
        "POSTGRES_PASSWORD": {"postgres", "migrate", "spark"},
        "LAKEHOUSE_APP_PASSWORD": {"migrate", "web", "worker"},
        "LAKEHOUSE_READ_PASSWORD": {"migrate"},
        "LAKEHOUSE_MINIO_ROOT_USER": {"minio", "buckets"},
        "LAKEHOUSE_MINIO_ROOT_PASSWORD": {"minio", "buckets"},
        "LAKEHOUSE_S3_ACCESS_KEY_ID": store,
        "LAKEHOUSE_S3_SECRET_ACCESS_KEY": store,
        "LAKEHOUSE_STORAGE_TOKEN": {"minio", "web"},
        "LAKEHOUSE_METRICS_TOKEN": {"web"},
    }
    assert "environment" not in services["sandbox"]


def test_every_service_is_contained(services: Mapping[str, Any]) -> None:
    """An ordinary user without rights, on a root it cannot write, within limits, whose end is noticed."""
    for name, service in services.items():
        uid, gid = map(int, service["user"].split(":"))
        assert uid > 0, name
        assert gid > 0, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert not service.get("privileged"), name
        assert 0 < int(service["mem_limit"]) <= 5 << 30, name
        assert 0 < float(service["cpus"]) <= 2, name  # more than a machine has is refused by Docker
        assert 0 < service["pids_limit"] <= 1024, name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        assert ("healthcheck" in service) == (name not in ONCE), name
        assert service["logging"]["options"]["max-size"], name


def test_nothing_of_the_machine_is_handed_in(services: Mapping[str, Any]) -> None:
    """No folder, no device, no namespace, and above all no socket of Docker's."""
    for name, service in services.items():
        assert {volume["type"] for volume in service.get("volumes", [])} <= {"volume"}, name
        for way in ("devices", "pid", "ipc", "userns_mode", "cgroup", "volumes_from", "privileged", "uts"):
            assert not service.get(way), (name, way)
        assert "docker.sock" not in json.dumps(service), name


def test_the_sandbox_has_no_network_and_only_its_socket(services: Mapping[str, Any]) -> None:
    """What it shares with the web process is one small folder, and no program can be put there to be run."""
    sandbox = services["sandbox"]
    assert sandbox["network_mode"] == "none"
    assert "networks" not in sandbox
    assert [(volume["source"], volume["target"]) for volume in sandbox["volumes"]] == [
        ("sandbox-socket", "/run/lakehouse")
    ]
    assert all("noexec" in place for place in sandbox["tmpfs"])
    sharing = {name for name, each in services.items() if "sandbox-socket" in json.dumps(each.get("volumes", []))}
    assert sharing == {"sandbox", "web"}


def test_images_are_pinned(services: Mapping[str, Any]) -> None:
    """By a whole version each, and their bases too."""
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+|\d{8}", tag), (name, service["image"])
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file(), name
            stages = (ROOT / service["build"]["dockerfile"]).read_text()
            target = service["build"].get("target")
            assert target is None or f" AS {target}\n" in stages, (name, target)
        else:
            assert name == "postgres"


def test_only_the_proxy_is_reached_from_outside(services: Mapping[str, Any]) -> None:
    """Ports 80 and 443, and no other of any service."""
    ports = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert {name: [port["published"] for port in each] for name, each in ports.items()} == {"proxy": ["80", "443"]}


def test_who_reaches_whom(services: Mapping[str, Any]) -> None:
    """Services that share a network are those of the table, and no others."""
    networks = {name: set(service.get("networks") or {}) for name, service in services.items()}
    reached = {
        name: {other for other in networks if other != name and networks[name] & networks[other]} for name in networks
    }
    assert reached == {name: set(others.split()) for name, others in REACHES.items()}


def test_the_proxy_alone_is_believed(compositions: Mapping[str, Any], services: Mapping[str, Any]) -> None:
    """Only proxy and web are in the network whose addresses web takes for a proxy's."""
    assert {name for name, service in services.items() if "web" in (service.get("networks") or {})} == {"proxy", "web"}
    for each in compositions.values():
        subnets = [config["subnet"] for config in each["networks"]["web"]["ipam"]["config"]]
        assert [each["services"]["web"]["environment"]["LAKEHOUSE_PROXY_ADDRESSES"]] == subnets


def test_who_has_a_way_out(compositions: Mapping[str, Any], services: Mapping[str, Any]) -> None:
    """The exchange is asked by workers; databases, stores and the pages have no way to the world."""
    open_ones = {
        name
        for each in compositions.values()
        for name, network in each["networks"].items()
        if not network.get("internal")
    }
    assert {name for name, service in services.items() if open_ones & set(service.get("networks", {}))} == OUTSIDE


def test_a_service_is_the_same_in_every_profile(compositions: Mapping[str, Any]) -> None:
    """But for what `make env` says of the profile and what it waits for: what is tried in one holds in all."""
    seen: dict[str, Any] = {}
    for each in compositions.values():
        for name, service in each["services"].items():
            same = {key: value for key, value in service.items() if key not in ("environment", "depends_on")}
            assert seen.setdefault(name, same) == same, name


def test_every_setting_handed_in_is_one(services: Mapping[str, Any]) -> None:
    """A name that no process reads is refused at its start."""
    known = {f"LAKEHOUSE_{name.upper()}" for name in Settings.model_fields} | {"LAKEHOUSE_SITE"}
    for name, service in services.items():
        given = {key for key in service.get("environment") or {} if key.startswith("LAKEHOUSE_")}
        assert given <= known, name


def test_waiting_has_an_end(services: Mapping[str, Any]) -> None:
    """Who waits for a service waits for it to be well, or to have ended well."""
    for name, service in services.items():
        for other, waits in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert waits["condition"] == wanted, (name, other)


def test_the_file_names_no_version_of_ours_but_the_projects() -> None:
    """The tag that images are built under is the version that pyproject.toml says."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert set(re.findall(r"LAKEHOUSE_VERSION:-([^}]*)", text)) == {version[1]}
