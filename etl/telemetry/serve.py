"""Serving a process's Prometheus metrics, and making samples of plain numbers."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from etl.errors import UsageError


def serve(registry: CollectorRegistry, host: str, port: int) -> None:
    """On a thread of its own, until the process ends. Raises ``UsageError`` if the port is taken."""
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        raise UsageError(f"metrics_port {port} on {host}: {error.strerror}") from None


def counter(name: str, text: str, labels: list[str], samples: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in samples.items():
        family.add_metric(values, number)
    return family


def gauge(name: str, text: str, labels: list[str], samples: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples.items():
        family.add_metric(values, number)
    return family
