"""Prometheus metrics of the gateway; docs/architecture.md lists the names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from etl.gateway.hub import Hub
from etl.settings import Settings
from etl.telemetry.serve import counter, gauge, serve

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class GatewayMetrics:
    """``buffered_bytes``: what waits for all clients together, when it is asked."""

    def __init__(self, hub: Hub, clients: Callable[[], int], buffered_bytes: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Readings(hub, clients, buffered_bytes))
        self.cut_off = Counter(
            "etl_gateway_cut_off", "Clients that took less than they asked for", registry=self.registry
        )
        self.request_s = Histogram(
            "etl_gateway_request_seconds",
            "One answer over HTTP",
            ["table", "status"],
            registry=self.registry,
            buckets=REQUEST_BUCKETS_S,
        )

    def serve(self, settings: Settings) -> Callable[[], None]:
        """As ``etl.telemetry.serve.serve``; returns what ends it."""
        server = serve(self.registry, settings, settings.metrics.port)
        return lambda: (server.shutdown(), server.server_close())[0]


class _Readings(Collector):
    def __init__(self, hub: Hub, clients: Callable[[], int], buffered_bytes: Callable[[], int]) -> None:
        self._hub = hub
        self._clients = clients
        self._buffered_bytes = buffered_bytes

    def collect(self) -> Iterator[Metric]:
        hub = self._hub
        yield gauge("etl_gateway_clients", "Streams that are open", [], {(): self._clients()})
        yield gauge("etl_gateway_buffered_bytes", "What waits to be sent", [], {(): self._buffered_bytes()})
        yield counter("etl_gateway_read_messages", "Messages of the topic", [], {(): hub.read_messages})
        yield counter(
            "etl_gateway_delivered_records", "Records handed to clients", [], {(): hub.delivered_records}
        )
