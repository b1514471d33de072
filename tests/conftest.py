"""Fixtures: real servers, started once per test session when a test first asks, and settings that point at them.

``ETL_TEST_KAFKA``, ``ETL_TEST_CLICKHOUSE_URL``, ``ETL_TEST_TIMESCALE_URL`` name real servers; contract tests run
on these too (``kafka_url`` and so on are parameterised), and say why not where they are unset.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from etl.settings import Settings
from tests.servers import RunningPart, settings_on_free_ports


class Servers:
    """The session's servers, each started when first asked for."""

    def __init__(self, state_dir: Path) -> None:
        self._settings = settings_on_free_ports(state_dir)
        self._running: dict[str, RunningPart] = {}

    def kafka(self) -> RunningPart:
        from etl.embedded.kafka import kafka_part

        return self._started("kafka", kafka_part)

    def clickhouse(self) -> RunningPart:
        from etl.embedded.clickhouse import clickhouse_part

        return self._started("clickhouse", clickhouse_part)

    def _started(self, name: str, make: Callable[[Settings], Any]) -> RunningPart:
        if name not in self._running:
            running = RunningPart(make(self._settings), self._settings)
            running.start()
            self._running[name] = running
        return self._running[name]

    def stop(self) -> None:
        for running in self._running.values():
            running.stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    session = Servers(tmp_path_factory.mktemp("servers"))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def kafka_url(servers: Servers) -> str:
    """``host:port`` of a broker that the whole session shares: use topics of your own."""
    return servers.kafka().settings.kafka_bootstrap


@pytest.fixture(scope="session")
def clickhouse_url(servers: Servers) -> str:
    """``http://host:port`` without a database: use a database of your own."""
    settings = servers.clickhouse().settings
    return f"http://{settings.bind_host}:{settings.clickhouse_port}"


@pytest.fixture(scope="module")
def timescale_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A fresh, empty database with the extension, for one test module."""
    from etl.embedded.timescale import timescale_part

    settings = settings_on_free_ports(tmp_path_factory.mktemp("timescale"))
    running = RunningPart(timescale_part(settings), settings)
    running.start()
    yield settings.timescale_address
    running.stop()


@pytest.fixture
def settings_with(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Settings]:
    """``settings_with(kafka=True, clickhouse=True, timescale=True, **values)``: topics and database of its own.

    The servers named start when first asked for. The ClickHouse database exists already.
    """

    def make(
        *, kafka: bool = False, clickhouse: bool = False, timescale: bool = False, **values: Any
    ) -> Settings:
        mark = uuid.uuid4().hex[:12]
        defaults = Settings()
        wired: dict[str, Any] = {
            field: f"{getattr(defaults, field)}-{mark}"
            for field in Settings.__struct_fields__
            if field.endswith("_topic")
        }
        if kafka:
            wired["kafka_url"] = request.getfixturevalue("kafka_url")
        if clickhouse:
            base = request.getfixturevalue("clickhouse_url")
            wired["clickhouse_url"] = f"{base}/test_{mark}"
            create_database(base, f"test_{mark}")
        if timescale:
            wired["timescale_url"] = request.getfixturevalue("timescale_url")
        return msgspec.convert({"state_dir": str(tmp_path / "state"), **wired, **values}, Settings)

    return make


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    """Settings of one test: nothing is started for them, and nothing is shared through them."""
    return settings_with()


def create_database(clickhouse_url: str, name: str) -> None:
    import urllib.request
    from urllib.parse import urlsplit

    address = urlsplit(clickhouse_url)
    target = address._replace(netloc=address.netloc.rpartition("@")[2], path="/").geturl()
    request = urllib.request.Request(target, data=f"CREATE DATABASE IF NOT EXISTS {name}".encode())
    if address.username:
        pair = f"{address.username}:{address.password or ''}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    urllib.request.urlopen(request, timeout=30).read()


@pytest.fixture
def crashable(tmp_path: Path) -> Iterator[Callable[..., RunningPart]]:
    """``crashable(kafka_part)``: a server of this test's own, started, to be killed and restarted at will."""
    running: list[RunningPart] = []

    def start(make: Callable[[Settings], Any], **values: Any) -> RunningPart:
        settings = settings_on_free_ports(tmp_path / f"state-{len(running)}", **values)
        part = RunningPart(make(settings), settings)
        running.append(part)
        part.start()
        return part

    yield start
    for part in running:
        part.stop()
