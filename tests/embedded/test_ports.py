from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from etl.embedded.ports import free_ports, free_range
from etl.errors import UsageError
from etl.settings import make
from etl.telemetry.web_access import require_private


def test_a_free_range_is_free_throughout_and_keeps_clear_of_ports_that_are_spoken_for() -> None:
    taken = free_ports(200)
    first = free_range(24, without=taken)
    wanted = range(first, first + 24)
    assert not set(wanted) & set(taken)
    for port in wanted:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "desk.example", ""])
def test_what_has_no_password_does_not_listen_on_a_network_unless_told(host: str) -> None:
    with pytest.raises(UsageError, match="ETL_OPEN_TO_NETWORK"):
        require_private("kafka", make(bind_host=host))
    require_private("kafka", make(bind_host=host, open_to_network=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_on_loopback_everything_listens(host: str) -> None:
    require_private("kafka", make(bind_host=host))


@pytest.mark.parametrize(
    "words",
    [
        ("etl.embedded.kafka",),
        ("etl.embedded.timescale",),
        ("etl.embedded.mailbox",),
        ("etl", "up"),
        ("etl", "stream", "binance"),
        ("etl", "sink", "clickhouse"),
        ("etl", "simulate", "binance"),
    ],
    ids=" ".join,
)
def test_a_part_started_alone_is_not_opened_without_a_word(words: tuple[str, ...], tmp_path: Path) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", *words],
        env={"PATH": "/usr/bin:/bin", "ETL_BIND_HOST": "0.0.0.0", "ETL_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode == 2
    (line,) = asked.stderr.splitlines()
    assert "ETL_BIND_HOST=0.0.0.0 would open it to the network without a password" in line
    assert "ETL_OPEN_TO_NETWORK=true" in line
