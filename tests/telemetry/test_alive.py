from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

from prometheus_client import CollectorRegistry

from etl.embedded.ports import free_ports
from etl.settings import make
from etl.telemetry.alive import is_alive
from etl.telemetry.serve import serve


def test_a_process_is_alive_while_its_metrics_answer() -> None:
    (port,) = free_ports(1, "127.0.0.1")
    assert not is_alive(port)
    server = serve(CollectorRegistry(), make(), port)
    assert is_alive(port)
    server.shutdown()
    server.server_close()
    assert not is_alive(port)


def test_a_command_without_metrics_is_alive_as_long_as_it_runs() -> None:
    assert is_alive(0)


def test_a_server_that_asks_who_is_there_is_alive_and_one_that_fails_is_not() -> None:
    status = {"code": HTTPStatus.FORBIDDEN}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status["code"])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        assert is_alive(server.server_port)
        status["code"] = HTTPStatus.INTERNAL_SERVER_ERROR
        assert not is_alive(server.server_port)
        server.shutdown()
        serving.join()
