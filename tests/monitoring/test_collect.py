"""What is late is told from what cannot be asked: a worker's own metrics, beside a process that hangs."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.embedded.ports import free_ports
from etl.model.times import NS_PER_S
from etl.monitoring.collect import collect
from etl.monitoring.loop import run_round
from etl.settings import Settings, make
from etl.telemetry.serve import serve
from etl.telemetry.worker import WorkerCounts, WorkerMetrics


@pytest.fixture
def ports() -> list[int]:
    """The worker's, the sink's, and that of a broker that is down."""
    return free_ports(3)


@pytest.fixture
def settings(tmp_path: Path, ports: list[int]) -> Settings:
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports[:2])
    return make(
        state_dir=str(tmp_path),
        metrics_addresses=addresses,
        transport_url=f"redis://127.0.0.1:{ports[2]}",
        stores="lake",
        watch_airflow=False,
    )


@pytest.fixture
def counts() -> WorkerCounts:
    """Of a worker that received a trade just now."""
    found = WorkerCounts()
    found.connections_up["0"] = True
    found.last_receive_ns["trade"] = time.time_ns()
    return found


@pytest.fixture
def sink_hangs(ports: list[int]) -> Iterator[str]:
    """Whoever asks is let in and never answered."""
    with socket.create_server(("127.0.0.1", ports[1])):
        yield f"127.0.0.1:{ports[1]}"


def test_a_sink_that_hangs_says_nothing_of_the_venues(
    settings: Settings, ports: list[int], counts: WorkerCounts, sink_hangs: str
) -> None:
    server = serve(WorkerMetrics("binance", counts, lambda: 0).registry, settings, ports[0])
    try:
        now_ns = time.time_ns()
        observed = collect(settings, now_ns)
        assert observed.mute == [sink_hangs]
        received_ns = round(observed.last_receive_s["binance"]["trade"] * NS_PER_S)
        assert abs(received_ns - counts.last_receive_ns["trade"]) < 1_000
        run_round(settings, now_ns, observed)
        counts.last_receive_ns["trade"] = now_ns + 83 * NS_PER_S
        opened = run_round(settings, now_ns + 83 * NS_PER_S, collect(settings, now_ns)).open
    finally:
        server.shutdown()
        server.server_close()
    assert sorted(opened) == sorted(f"{name} does not answer" for name in (sink_hangs, "Redis"))


def test_a_worker_that_hangs_is_not_a_venue_without_data(
    settings: Settings, ports: list[int], counts: WorkerCounts, sink_hangs: str
) -> None:
    server = serve(WorkerMetrics("binance", counts, lambda: 0).registry, settings, ports[0])
    now_ns = time.time_ns()
    try:
        assert run_round(settings, now_ns, collect(settings, now_ns)).open == []
    finally:
        server.shutdown()
        server.server_close()
    with socket.create_server(("127.0.0.1", ports[0])):
        for look in (1, 2):
            opened = run_round(settings, now_ns + look * 83 * NS_PER_S, collect(settings, now_ns)).open
    worker = f"127.0.0.1:{ports[0]}"
    assert sorted(opened) == sorted(f"{name} does not answer" for name in (worker, sink_hangs, "Redis"))
