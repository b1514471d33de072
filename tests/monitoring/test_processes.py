from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from etl.embedded.ports import free_ports
from etl.embedded.status import RESTARTING, RUNNING, PartState
from etl.monitoring import processes
from etl.monitoring.processes import SinkStatus, Snapshot, VenueStatus


def part(name: str, port: int, state: str = RUNNING) -> PartState:
    return PartState(name, f"{name}.log", port, state)


def test_a_snapshot_is_read_from_the_metrics_of_the_running_parts() -> None:
    registry = CollectorRegistry()
    events = Counter("etl_events", "", ["exchange", "kind"], registry=registry)
    events.labels("binance", "trade").inc(7)
    events.labels("binance", "quote").inc(5)
    events.labels("polygon", "trade").inc(100)
    Counter("etl_gaps", "", ["exchange", "gap_kind"], registry=registry).labels("binance", "start").inc(2)
    Gauge("etl_connection_up", "", ["exchange", "connection"], registry=registry).labels("binance", "0").set(
        1
    )
    newest = Gauge("etl_last_receive_timestamp_seconds", "", ["exchange", "channel"], registry=registry)
    newest.labels("binance", "trade").set(time.time() - 5)
    newest.labels("binance", "depth").set(time.time() - 2)
    backlog = Gauge("etl_sink_backlog_messages", "", ["sink", "partition"], registry=registry)
    backlog.labels("clickhouse", "0").set(30)
    backlog.labels("clickhouse", "1").set(12)
    (port,) = free_ports(1)
    server, _ = start_http_server(port, "127.0.0.1", registry)
    try:
        snapshot = processes.take(
            [
                part("stream-binance", port),
                part("stream-okx", 1, RESTARTING),
                part("sink-clickhouse", 0),
                part("kafka", 0),
            ],
            "127.0.0.1",
        )
    finally:
        server.shutdown()
        server.server_close()
    binance = snapshot.venues["binance"]
    assert (binance.state, binance.events, binance.gaps) == ("streaming", 12, 2)
    assert binance.age_s == pytest.approx(2.0, abs=1.0)
    assert snapshot.venues["okx"] == VenueStatus(state="restarting")
    assert snapshot.sinks == {"clickhouse": SinkStatus(state="running", backlog=42)}


def test_a_worker_without_an_event_is_connecting() -> None:
    snapshot = processes.take([part("stream-binance", 1)], "127.0.0.1")
    assert snapshot.venues == {"binance": VenueStatus(state="connecting")}


def test_rates_are_differences_by_time_and_unknown_after_a_restart() -> None:
    def reading(seconds: int, binance: int, polygon: int, rows: int) -> Snapshot:
        venues = {
            "binance": VenueStatus(state="streaming", events=binance),
            "polygon": VenueStatus(state="streaming", events=polygon),
        }
        sinks = {"clickhouse": SinkStatus(state="running", rows=rows)}
        return Snapshot(taken_ns=seconds * 1_000_000_000, venues=venues, sinks=sinks)

    now = processes.between(reading(10, 100, 1000, 50), reading(12, 160, 3, 50))
    assert now.venues["binance"].events_per_s == 30.0
    assert now.venues["polygon"].events_per_s is None
    assert now.sinks["clickhouse"].rows_per_s == 0.0


def test_a_quantile_lies_in_its_bucket_in_proportion_over_all_series_asked_for() -> None:
    registry = CollectorRegistry()
    latency = Histogram("latency", "", ["exchange"], buckets=(0.001, 0.01, 0.1), registry=registry)
    for seconds, exchange in ((0.0005, "a"), (0.0005, "a"), (0.005, "b"), (0.05, "b"), (5.0, "c")):
        latency.labels(exchange).observe(seconds)
    samples: dict[str, list[Any]] = {}
    for family in registry.collect():
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    assert processes.quantile(samples, "latency", 0.5) == pytest.approx(0.0055)
    assert processes.quantile(samples, "latency", 0.5, exchange="a") == pytest.approx(0.0005)
    assert processes.quantile(samples, "latency", 1.0) == float("inf")
    assert processes.quantile(samples, "latency", 0.5, exchange="none") is None


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<!doctype html>\n<p>no metrics</p>\n")


def test_a_server_that_answers_with_something_else_has_no_metrics() -> None:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert processes.scrape("127.0.0.1", server.server_port) == {}
