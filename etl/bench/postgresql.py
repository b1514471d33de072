"""A PostgreSQL server of its own for a benchmark, from programs that are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etl.embedded.ports import free_ports
from etl.errors import UsageError

UNPRIVILEGED = "nobody"
"""The server refuses to run as root."""
STOP_WITHIN_S = 30.0


@contextmanager
def postgresql(programs: Path) -> Iterator[str]:
    """The address of an empty database on loopback, for SQLAlchemy; with the server's own defaults, ``fsync`` too.

    Raises ``UsageError`` if ``initdb`` is not in the folder ``programs``, ``CalledProcessError`` if it fails.
    """
    if not (programs / "initdb").exists():
        raise UsageError(f"--postgresql-bin {programs}: no initdb there; apt-get install postgresql")
    user = UNPRIVILEGED if os.getuid() == 0 else None
    (port,) = free_ports(1)
    folder = tempfile.mkdtemp(prefix="etl-postgresql-")
    if user:
        shutil.chown(folder, user)
    data = Path(folder) / "data"
    initdb = [programs / "initdb", "--auth=trust", "--username=airflow", "--encoding=UTF8", "--pgdata", data]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    control = [programs / "pg_ctl", "--pgdata", data, "--silent", "--wait", "--log", f"{folder}/log"]
    quiet = {"cwd": "/", "user": user, "check": True, "stdout": subprocess.DEVNULL}
    try:
        subprocess.run(initdb, **quiet)  # type: ignore[call-overload]
        subprocess.run([*control, "-o", options, "start"], **quiet)  # type: ignore[call-overload]
        try:
            yield f"postgresql+psycopg://airflow@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run(
                [*control, "--mode=fast", "stop"],
                timeout=STOP_WITHIN_S,
                **quiet,  # type: ignore[call-overload]
            )
    finally:
        shutil.rmtree(folder)
