"""Serving a process's Prometheus metrics, and making samples of plain numbers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from etl.errors import UsageError
from etl.settings import Settings
from etl.telemetry.host import with_host
from etl.telemetry.web_access import refusal, require_private

REQUEST_TIMEOUT_S = 30.0
Targets = Callable[[], list[dict[str, Any]]]
"""What Prometheus should scrape beside this process, as its discovery over HTTP reads it."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """As its base does, without asking the name service for this host's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), self.socket.getsockname()[1]
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, *_: object) -> None:
        """Nothing: a scrape is no event."""


def serve(registry: CollectorRegistry, settings: Settings, port: int, targets: Targets | None = None) -> Any:
    """``registry``, the process, the disk of the state and the stores, on every path, and ``targets`` on ``/targets``.

    On a thread of its own, until the process ends or the returned server's ``shutdown``. Raises ``UsageError`` if
    the port is taken, or open to a network that was not said to be ours.
    """
    require_private("metrics", settings)
    host = settings.bind_host
    metrics = make_wsgi_app(with_host(registry, settings))

    def application(variables: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {
            name: variables[variable]
            for name, variable in (
                ("Host", "HTTP_HOST"),
                ("Origin", "HTTP_ORIGIN"),
                ("Sec-Fetch-Site", "HTTP_SEC_FETCH_SITE"),
            )
            if variable in variables
        }
        refused = refusal(headers, host, server.server_port)
        if refused:
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [f"{refused}\n".encode()]
        if targets and variables["PATH_INFO"] == "/targets":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(targets()).encode()]
        return metrics(variables, start_response)  # type: ignore[no-any-return]

    try:
        kind = _Server6 if ":" in host else _Server
        server = make_server(host, port, application, kind, handler_class=_Handler)
    except OSError as error:
        raise UsageError(f"metrics_port {port} on {host}: {error.strerror}") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


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
