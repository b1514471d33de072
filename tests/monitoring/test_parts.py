from __future__ import annotations

import json
import urllib.request

from etl.embedded.ports import free_ports
from etl.embedded.status import PartState
from etl.monitoring.parts import PartMetrics
from etl.monitoring.processes import scrape, total
from etl.settings import make


def test_the_supervisor_tells_of_every_part_and_where_its_metrics_are() -> None:
    states = {
        "kafka": PartState("kafka", "kafka.log", 0, "running", 7, 2, 1_500_000_000, 1 << 20),
        "stream-binance": PartState(
            "stream-binance", "stream.log", 9403, "restarting", since_ns=2_000_000_000
        ),
    }
    (port,) = free_ports(1)
    server = PartMetrics(states).serve(make(metrics_port=port))
    try:
        seen = scrape("127.0.0.1", port)
    finally:
        server.shutdown()
        server.server_close()
    assert total(seen, "etl_part_up", part="kafka") == 1
    assert total(seen, "etl_part_up", part="stream-binance") == 0
    assert total(seen, "etl_part_restarts_total", part="kafka") == 2
    assert total(seen, "etl_part_memory_bytes", part="kafka") == 1 << 20
    assert [sample.labels for sample in seen["etl_part_info"]] == [
        {"part": "kafka", "state": "running", "metrics_port": "0"},
        {"part": "stream-binance", "state": "restarting", "metrics_port": "9403"},
    ]


def test_prometheus_finds_the_parts_that_serve_metrics_down_or_not() -> None:
    states = {
        name: PartState(name, f"{name}.log", port, state)
        for name, port, state in (
            ("kafka", 0, "running"),
            ("stream-okx", 9403, "restarting"),
            ("sink-clickhouse", 9404, "running"),
            ("airflow-scheduler", 9405, "running"),
            ("simulate-okx", 9406, "stopped"),
        )
    }
    (port,) = free_ports(1)
    server = PartMetrics(states).serve(make(metrics_port=port))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/targets", timeout=10) as answer:
            assert answer.headers["Content-Type"] == "application/json"
            found = json.load(answer)
    finally:
        server.shutdown()
        server.server_close()
    assert found == [
        {"targets": ["127.0.0.1:9403"], "labels": {"job": "stream", "process": "stream-okx"}},
        {"targets": ["127.0.0.1:9404"], "labels": {"job": "sink", "process": "sink-clickhouse"}},
        {"targets": ["127.0.0.1:9405"], "labels": {"job": "dags", "process": "airflow-scheduler"}},
    ]
