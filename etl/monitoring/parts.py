"""The supervisor's own metrics: which parts run, since when, how often they came back, what memory they take.

``etl_part_info`` says where each part serves the metrics of its own, so that one address leads to all; Prometheus
finds the same in ``/targets``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from etl.embedded.status import DONE, RUNNING, STOPPED, PartState
from etl.model.times import NS_PER_S
from etl.settings import Settings
from etl.telemetry.host import FolderMetrics
from etl.telemetry.serve import serve

JOBS = {"stream": "stream", "sink": "sink", "gateway": "gateway", "airflow": "dags"}
"""The job that a part is of for Prometheus, by the first word of its name; any other is its own."""


class PartMetrics(Collector):
    """Reads ``states`` at each scrape; the supervisor goes on writing them."""

    def __init__(self, states: Mapping[str, PartState]) -> None:
        self._states = states
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def serve(self, settings: Settings) -> Any:
        """On a thread of its own; the returned server's ``shutdown`` ends it."""
        self._registry.register(FolderMetrics(settings.state_path))
        return serve(
            self._registry, settings, settings.metrics.port, lambda: self.targets(settings.bind_host)
        )

    def targets(self, host: str) -> list[dict[str, Any]]:
        """Every part with metrics of its own; one that is down too, so that Prometheus sees it down."""
        shown = f"[{host}]" if ":" in host else host
        return [
            {
                "targets": [f"{shown}:{state.metrics_port}"],
                "labels": {
                    "job": JOBS.get(word := state.name.partition("-")[0], word),
                    "process": state.name,
                },
            }
            for state in list(self._states.values())
            if state.metrics_port and state.state not in (STOPPED, DONE)
        ]

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "etl_part_up", "1 while the part runs, or has done what it runs once", labels=["part"]
        )
        since = GaugeMetricFamily(
            "etl_part_state_since_timestamp_seconds", "In this state since", labels=["part"]
        )
        memory = GaugeMetricFamily(
            "etl_part_memory_bytes", "Memory of the part and its children", labels=["part"]
        )
        restarts = CounterMetricFamily("etl_part_restarts", "Times that the part came back", labels=["part"])
        info = GaugeMetricFamily("etl_part_info", "Always 1", labels=["part", "state", "metrics_port"])
        for state in list(self._states.values()):
            up.add_metric([state.name], float(state.state in (RUNNING, DONE)))
            since.add_metric([state.name], state.since_ns / NS_PER_S)
            memory.add_metric([state.name], float(state.memory_bytes))
            restarts.add_metric([state.name], state.restarts)
            info.add_metric([state.name, state.state, str(state.metrics_port)], 1.0)
        yield from (up, since, memory, restarts, info)
