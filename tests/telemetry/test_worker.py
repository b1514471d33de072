from __future__ import annotations

import re
import socket
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from etl.errors import UsageError
from etl.model.records import GapKind, GapState, Kind, Severity
from etl.settings import make
from etl.sources.limiter import SECONDS_BOUNDS, Account
from etl.sources.request_metrics import RequestMetrics
from etl.telemetry.worker import ACK_LATENCY_BUCKETS_S, WorkerCounts, WorkerMetrics

ARCHITECTURE = (Path(__file__).parent.parent.parent / "docs" / "architecture.md").read_text()

ACCOUNT = Account({200: 3, 429: 1}, [0, 3, *[0] * (len(SECONDS_BOUNDS) - 2), 1], 60.5, 0.25, 7.0)


def counted() -> WorkerCounts:
    counts = WorkerCounts()
    counts.frames, counts.events_read = 10, 12
    counts.published[Kind.TRADE] = 7
    counts.published[Kind.QUOTE] = 2
    counts.quarantined["undecodable", Severity.HARD] = 1
    counts.quarantined["quote_crossed", Severity.SOFT] = 5
    counts.ignored["heartbeat"] = 2
    counts.unknown_fields["trade", "isRPITrade"] = 6
    counts.gaps[GapKind.START] = 3
    counts.silences["quiet"] = 8
    counts.gap_states[GapState.OPEN] = 4
    counts.repairs[GapState.REPAIRED] = 2
    counts.reconnects["stale"] = 1
    counts.faults["banned"] = 1
    counts.market_is_open = lambda: False
    counts.last_receive_ns["trade"] = 1_500_000_000
    counts.silence_normal_until_ns["trade", "one"] = 3_500_000_000
    counts.silence_normal_until_ns["trade", "other"] = 2_500_000_000
    counts.connections_up["binance/0"] = True
    return counts


def text_of(counts: WorkerCounts) -> str:
    metrics = WorkerMetrics("binance", counts, lambda: 4)
    metrics.ack_latency_s.observe(0.003)
    metrics.registry.register(RequestMetrics("binance", lambda: ACCOUNT))
    return generate_latest(metrics.registry).decode()


def test_the_numbers_are_served_as_prometheus_text() -> None:
    lines = text_of(counted()).splitlines()
    for line in (
        'etl_frames_total{exchange="binance"} 10.0',
        'etl_events_total{exchange="binance",kind="trade"} 7.0',
        'etl_quarantined_total{code="undecodable",exchange="binance",severity="hard"} 1.0',
        'etl_quarantined_total{code="quote_crossed",exchange="binance",severity="soft"} 5.0',
        'etl_ignored_total{exchange="binance",name="heartbeat"} 2.0',
        'etl_unknown_fields_total{event="trade",exchange="binance",field="isRPITrade"} 6.0',
        'etl_gaps_total{exchange="binance",gap_kind="start"} 3.0',
        'etl_gap_states_total{exchange="binance",gap_state="open"} 4.0',
        'etl_silences_total{exchange="binance",verdict="quiet"} 8.0',
        'etl_last_receive_timestamp_seconds{channel="trade",exchange="binance"} 1.5',
        'etl_silence_normal_until_timestamp_seconds{channel="trade",exchange="binance"} 2.5',
        'etl_gaps_total{exchange="binance",gap_kind="sequence"} 0.0',
        'etl_market_open{exchange="binance"} 0.0',
        'etl_connection_up{connection="binance/0",exchange="binance"} 1.0',
        'etl_reconnects_total{exchange="binance",reason="stale"} 1.0',
        'etl_publisher_pending_messages{exchange="binance"} 4.0',
        'etl_ack_latency_seconds_count{exchange="binance"} 1.0',
        'etl_rest_requests_total{exchange="binance",status="200"} 3.0',
        'etl_rest_requests_total{exchange="binance",status="429"} 1.0',
        'etl_rest_seconds_bucket{exchange="binance",le="0.005"} 0.0',
        'etl_rest_seconds_bucket{exchange="binance",le="0.01"} 3.0',
        'etl_rest_seconds_bucket{exchange="binance",le="+Inf"} 4.0',
        'etl_rest_seconds_sum{exchange="binance"} 60.5',
        'etl_rest_budget_ratio{exchange="binance"} 0.25',
        'etl_rest_shut_seconds{exchange="binance"} 7.0',
    ):
        assert line in lines


def test_every_metric_of_a_worker_in_the_architecture_is_served() -> None:
    text = text_of(counted())
    promised = set(re.findall(r"(etl_\w+)\{exchange", ARCHITECTURE))
    assert promised
    assert [name for name in promised if f"\n{name}" not in text] == []


def test_the_accounting_closes_exactly_and_soft_items_take_nothing_out() -> None:
    counts = counted()
    assert counts.closed
    counts.events_read += 1
    assert not counts.closed


def test_latency_buckets_rise_by_a_quarter() -> None:
    assert ACK_LATENCY_BUCKETS_S[0] < 0.001
    assert ACK_LATENCY_BUCKETS_S[-1] > 10
    steps = pairwise(ACK_LATENCY_BUCKETS_S)
    assert all(1.2 < later / early < 1.3 for early, later in steps)


def test_a_metrics_port_that_is_taken_is_named_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"metrics_port {port} on 127.0.0.1"):
            WorkerMetrics("binance", WorkerCounts(), lambda: 0).serve(make(metrics_port=port))
