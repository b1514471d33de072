"""How the ClickHouse of one machine is started: apart from what it is, whose imports take 53 MB."""

from __future__ import annotations

import secrets
import sys
from contextlib import suppress

from etl.embedded.part import Part, http_ready
from etl.settings import Settings
from etl.stores.files import write_new

STOP_WITHIN_S = 10.0


def clickhouse_part(settings: Settings) -> Part:
    keep_password(settings)  # before any other part asks for the address
    return Part(
        name="clickhouse",
        command=(sys.executable, "-m", "etl.embedded.clickhouse", "--with-parent"),
        ports={"clickhouse_port": settings.clickhouse.port},
        ready=http_ready(f"http://{settings.bind_host}:{settings.clickhouse.port}/ping"),
        ready_within_s=60.0,
        stop_within_s=STOP_WITHIN_S * 2,
    )


def keep_password(settings: Settings) -> str:
    """The kept password, or a new one."""
    file = settings.state_path / "clickhouse.password"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not settings.clickhouse_password:
        with suppress(FileExistsError):
            write_new(file, secrets.token_urlsafe(24).encode())
    return settings.clickhouse_password
