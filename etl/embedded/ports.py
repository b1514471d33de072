"""Ports of loopback servers: is one free, give me some that are."""

from __future__ import annotations

import contextlib
import socket

from etl.embedded import sessions
from etl.errors import PartError


def require_free(part: str, host: str, port: int, setting: str) -> None:
    """``PartError`` that names the setting to change, if something already listens on ``host:port``."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # a restart must not wait for the last connections' TIME_WAIT
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            holder = sessions.port_holder(port) or "what holds it"
            raise PartError(
                f"{part}: cannot listen on {host}:{port} ({error.strerror}); "
                f"stop {holder}, or set ETL_{setting.upper()}"
            ) from None


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """``count`` different ports that are free at this moment."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((host, 0))
        return [probe.getsockname()[1] for probe in probes]
