from __future__ import annotations

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
