"""Fixtures: real servers, started when a test first asks, and settings that point at them.

A test marked ``@BOTH_SERVERS`` (``tests/support/servers.py``) runs on the embedded servers, and again on those that
``ETL_TEST_KAFKA``, ``ETL_TEST_CLICKHOUSE_URL`` and ``ETL_TEST_TIMESCALE_URL`` name; the second run is skipped,
with the reason, where none of the servers it asks for is named.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from etl import settings as settings_module
from etl.settings import NAMES, Settings, value_of
from tests.support.servers import (
    EMBEDDED,
    REAL,
    REAL_URL_VARIABLES,
    RunningPart,
    clickhouse_database,
    settings_on_free_ports,
    timescale_database,
)

# how long one example takes, the machine decides that runs other tests beside it
hypothesis.settings.register_profile("etl", deadline=None)
hypothesis.settings.load_profile("etl")

LONGEST_FIRST = ("slow", "integration")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first: none is left to run alone at the end."""
    ranks: dict[Path, int] = {}
    for item in items:
        rank = next(
            (n for n, marker in enumerate(LONGEST_FIRST) if item.get_closest_marker(marker)),
            len(LONGEST_FIRST),
        )
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: ranks[item.path])


class Servers:
    """The session's servers, each started when first asked for."""

    def __init__(self, state_dir: Path) -> None:
        self._settings = settings_on_free_ports(state_dir)
        self._running: dict[str, RunningPart] = {}

    def kafka(self) -> RunningPart:
        from etl.embedded.kafka import kafka_part

        return self._started("kafka", kafka_part)

    def valkey(self) -> RunningPart:
        from etl.embedded.valkey import valkey_part

        return self._started("valkey", valkey_part)

    def clickhouse(self) -> RunningPart:
        from etl.embedded.clickhouse_start import clickhouse_part

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
def redis_url(servers: Servers) -> str:
    """``redis://host:port`` of a server that the whole session shares: use topics of your own."""
    port = servers.valkey().settings.transport.redis_port
    return f"redis://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def clickhouse_url(servers: Servers) -> str:
    """``http://user:password@host:port`` without a database: use a database of your own."""
    return servers.clickhouse().settings.clickhouse_address.removesuffix("/market")


@pytest.fixture(scope="module")
def timescale_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A fresh, empty database with the extension, for one test module: as its owner, and as an analyst."""
    from etl.embedded.timescale import timescale_part

    settings = settings_on_free_ports(tmp_path_factory.mktemp("timescale"))
    running = RunningPart(timescale_part(settings), settings)
    running.start()
    yield settings.timescale_address, settings.timescale_analyst_address
    running.stop()


@pytest.fixture(scope="module")
def timescale_url(timescale_urls: tuple[str, str]) -> str:
    """As the owner of the module's database."""
    return timescale_urls[0]


@pytest.fixture
def server_kind() -> str:
    """``embedded`` unless ``@BOTH_SERVERS`` says otherwise."""
    return EMBEDDED


@pytest.fixture
def settings_with(
    request: pytest.FixtureRequest, tmp_path: Path, server_kind: str
) -> Iterator[Callable[..., Settings]]:
    """``settings_with(kafka=True, clickhouse=True, timescale=True, **values)``: topics and database of its own;
    ``redis=True`` in the place of Kafka.

    The servers named start when first asked for. The ClickHouse database exists already; the TimescaleDB one
    is the module's, or on a real server a new one.
    """
    mark = uuid.uuid4().hex[:12]
    with contextlib.ExitStack() as dropped_at_end:

        def make(**values: Any) -> Settings:
            asked = [name for name in REAL_URL_VARIABLES if values.pop(name, False)]
            real = _real_urls(asked) if server_kind == REAL else {}
            wired: dict[str, Any] = {"state_dir": str(tmp_path / "state"), "topic_partitions": 4}
            for field in NAMES:
                if field.endswith("_topic"):
                    wired[field] = f"{value_of(Settings(), field)}-{mark}"
            if "kafka" in asked:
                wired["kafka_url"] = real.get("kafka") or request.getfixturevalue("kafka_url")
            if values.pop("redis", False):
                wired["transport_url"] = request.getfixturevalue("redis_url")
            if "clickhouse" in asked:
                base = real.get("clickhouse") or request.getfixturevalue("clickhouse_url")
                wired["clickhouse_url"] = dropped_at_end.enter_context(
                    clickhouse_database(base, f"test_{mark}")
                )
            if "timescale" in real:
                wired["timescale_url"] = dropped_at_end.enter_context(
                    timescale_database(real["timescale"], f"test_{mark}")
                )
            elif "timescale" in asked:
                urls = request.getfixturevalue("timescale_urls")
                wired["timescale_url"], wired["timescale_analyst_url"] = urls
            return settings_module.make(**{**wired, **values})

        yield make


def _real_urls(asked: list[str]) -> dict[str, str]:
    variables = {name: REAL_URL_VARIABLES[name] for name in asked}
    urls = {name: os.environ[variable] for name, variable in variables.items() if os.environ.get(variable)}
    if not urls:
        pytest.skip(f"needs a real server: {' or '.join(variables.values())} is not set")
    return urls


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    """Settings of one test: nothing is started for them, and nothing is shared through them."""
    return settings_with()


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


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file and folder that is synced to the disk from now on, in order."""
    found: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        found.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", note)
    return found
