"""Prometheus metrics of a long-running sink; docs/architecture.md lists the names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from etl.settings import Settings
from etl.telemetry.serve import serve

WRITE_BUCKETS_S = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class SinkMetrics:
    """One registry per sink, so that two may live in one process."""

    def __init__(self, sink: str) -> None:
        self.registry = CollectorRegistry()
        self.rows = Counter(
            "etl_sink_rows",
            "Messages written and acknowledged by the store",
            ["sink"],
            registry=self.registry,
        ).labels(sink)
        self.rejected = Counter(
            "etl_sink_rejected", "Messages the store refused, quarantined", ["sink"], registry=self.registry
        ).labels(sink)
        self.retries = Counter(
            "etl_sink_retries",
            "Writes sent again with unknown or no outcome",
            ["sink"],
            registry=self.registry,
        ).labels(sink)
        self.write_s = Histogram(
            "etl_sink_write_seconds",
            "One write to the store",
            ["sink"],
            registry=self.registry,
            buckets=WRITE_BUCKETS_S,
        ).labels(sink)
        self.store_up = Gauge(
            "etl_sink_store_up", "0 while the store cannot be written", ["sink"], registry=self.registry
        ).labels(sink)
        self.store_up.set(1)
        self._backlog = Gauge(
            "etl_sink_backlog_messages",
            "Messages on the topic that are not written yet",
            ["sink", "partition"],
            registry=self.registry,
        )
        self._sink = sink

    def set_backlog(self, partition: str, messages: int) -> None:
        self._backlog.labels(self._sink, partition).set(messages)

    def serve(self, settings: Settings) -> None:
        """As ``etl.telemetry.serve.serve``."""
        serve(self.registry, settings, settings.metrics.port)
