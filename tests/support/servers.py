"""Real servers for tests: the embedded ones on free ports in a temporary directory, or those that ETL_TEST_* name."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import psycopg
import pytest

from etl import settings as settings_module
from etl.bench.rig import free_port_settings
from etl.embedded.part import Part
from etl.settings import Settings, make

POLL_S = 0.05
KILL_WITHIN_S = 10.0
COMMAND_TIMEOUT_S = 30.0

EMBEDDED, REAL = "embedded", "real"
REAL_URL_VARIABLES = {
    "kafka": "ETL_TEST_KAFKA",
    "clickhouse": "ETL_TEST_CLICKHOUSE_URL",
    "timescale": "ETL_TEST_TIMESCALE_URL",
}
BOTH_SERVERS = pytest.mark.parametrize("server_kind", [EMBEDDED, REAL])
"""For contract tests that get their servers through ``settings_with``."""


class RunningPart:
    """A part as a test runs it: in its own process group, on one state directory and one set of ports.

    ``kill()`` is ``kill -9``; ``start()`` afterwards finds the same data under the same address.
    """

    def __init__(self, part: Part, settings: Settings) -> None:
        self.part = part
        self.settings = settings
        self.log = settings.state_path / f"{part.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.part.name} is not running"
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it is ready; the log's end is in the error if it never is.

        From a thread that lives as long as the test: the kernel ends the server with the thread that began it.
        """
        assert self._process is None, f"{self.part.name} runs already"
        self.settings.state_path.mkdir(parents=True, exist_ok=True)
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("ETL_")},
            **settings_module.as_environment(self.settings),
            **self.part.environment,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.part.command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + self.part.ready_within_s
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.part.name} did not start: {self.log.read_text()[-2000:]}")
            time.sleep(POLL_S)

    def stop(self) -> int:
        """SIGTERM; returns the exit code. What does not end in its own time is killed."""
        return self._end(signal.SIGTERM, self.part.stop_within_s)

    def kill(self) -> None:
        self._end(signal.SIGKILL, KILL_WITHIN_S)

    def restart(self) -> None:
        """``kill -9``, then start on the same data and ports."""
        self.kill()
        self.start()

    def _end(self, how: signal.Signals, within_s: float) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        try:
            os.killpg(process.pid, how)
            return process.wait(within_s)
        except ProcessLookupError:
            return process.wait()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def _ready(self) -> bool:
        try:
            return self.part.ready()
        except OSError:
            return False


def settings_on_free_ports(state_dir: Path, **values: object) -> Settings:
    """Settings whose every port is free at this moment."""
    venues = str(values.get("venues", Settings().venues.names))
    ports = free_port_settings(len(venues.split(",")))
    return make(**{**ports, "state_dir": str(state_dir), **values})


@contextlib.contextmanager
def clickhouse_database(server_url: str, name: str) -> Iterator[str]:
    """A new database on this server; gives its URL."""
    address = urlsplit(server_url)
    _clickhouse_command(address, f"CREATE DATABASE {name}")
    yield address._replace(path=f"/{name}").geturl()
    for database in (name, f"{name}_internal"):
        _clickhouse_command(address, f"DROP DATABASE IF EXISTS {database}")


def _clickhouse_command(address: SplitResult, sql: str) -> None:
    bare = address._replace(netloc=address.netloc.rpartition("@")[2], path="/").geturl()
    request = urllib.request.Request(bare, data=sql.encode())
    if address.username:
        request.add_header("X-ClickHouse-User", unquote(address.username))
        request.add_header("X-ClickHouse-Key", unquote(address.password or ""))
    urllib.request.urlopen(request, timeout=COMMAND_TIMEOUT_S).read()


@contextlib.contextmanager
def timescale_database(server_url: str, name: str) -> Iterator[str]:
    """A new database with the extension on this server; gives its URL."""
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        with psycopg.connect(url, autocommit=True) as inside:
            inside.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
