"""Ports of loopback servers: is one free, give me some that are."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Collection

from etl.embedded import sessions
from etl.errors import PartError

FREE_PORT_MIN = 15_000
FREE_PORT_COUNT = 17_000
TRIES_MAX = 500


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
    """``count`` different ports that are free at this moment.

    Below the range from which the kernel takes the ports of outgoing connections: one of these could take a
    server's port while the server is down for a moment.
    """
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for _ in range(TRIES_MAX):
            probe = held.enter_context(socket.socket())
            port = FREE_PORT_MIN + secrets.randbelow(FREE_PORT_COUNT)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise PartError(f"no {count} free ports from {FREE_PORT_MIN} on")


def free_range(length: int, without: Collection[int] = (), host: str = "127.0.0.1") -> int:
    """The first of ``length`` ports in a row that are free at this moment, and none of ``without``."""
    for _ in range(TRIES_MAX):
        first = FREE_PORT_MIN + secrets.randbelow(FREE_PORT_COUNT - length)
        wanted = range(first, first + length)
        if any(port in wanted for port in without):
            continue
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in wanted:
                held.enter_context(socket.socket()).bind((host, port))
            return first
    raise PartError(f"no {length} free ports in a row from {FREE_PORT_MIN} on")
