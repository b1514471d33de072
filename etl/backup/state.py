"""The state folder's own files, and Airflow's metadata where they are a file there.

state/…             marks of backfills, holes, instrument lists, incidents, runs of the scheduler, tokens
airflow/…           airflow.db, and the credentials without which its connections cannot be read
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from etl.backup.archive import Reader, Writer
from etl.embedded.airflow import database_url
from etl.errors import UsageError
from etl.settings import Settings
from etl.stores.files import TEMPORARY_SUFFIX, write_whole

CONTENT = "state"
AIRFLOW = "airflow"
DATABASE = "airflow.db"
CREDENTIALS = "credentials.json"
SERVERS = frozenset(
    {"kafka", "clickhouse", "timescale", "valkey", "airflow", "mailbox", "lake", "lake_cache"}
)
"""Folders of the embedded servers: what they hold is backed up from the servers, or is a mail that was read."""
OF_A_RUN = frozenset(
    {"run", "runs", "logs", "limits", "audit", "data_docs", "truth", "simulated", "scenario.json"}
)
"""What a run makes for itself, and what simulators say that they sent."""
OF_A_SERVER = frozenset({"clickhouse.password", "timescale_analyst.password"})
"""Made by the embedded server that takes them: another has another."""
LEFT_OUT = SERVERS | OF_A_RUN | OF_A_SERVER


def back_up(settings: Settings, into: Writer) -> None:
    for path in _files(settings.state_path):
        into.put(f"{CONTENT}/{path.relative_to(settings.state_path).as_posix()}", path.read_bytes())


def require_empty(settings: Settings) -> None:
    """Raises ``UsageError`` if there is any."""
    for path in _files(settings.state_path):
        raise UsageError(f"{path} is there: restore into an empty state folder, or with --replace")


def restore(settings: Settings, source: Reader) -> dict[str, int]:
    """What is there and not in the backup goes: a mark that is too new claims what is not stored. Counts of files."""
    for path in _files(settings.state_path):
        path.unlink()
    count = 0
    for name, data in source.parts(CONTENT):
        write_whole(_inside(settings.state_path, name), data, mode=0o600)
        count += 1
    return {"files": count}


def has_airflow(settings: Settings) -> bool:
    return not settings.airflow.database_url and (settings.state_path / AIRFLOW / DATABASE).exists()


def back_up_airflow(settings: Settings, into: Writer) -> None:
    """A copy of the database as it stands between two transactions; Airflow may go on."""
    home = settings.state_path / AIRFLOW
    with tempfile.NamedTemporaryFile(dir=home, suffix=TEMPORARY_SUFFIX) as copy:
        with (
            closing(sqlite3.connect(f"file:{home / DATABASE}?mode=ro", uri=True)) as database,
            closing(sqlite3.connect(copy.name)) as target,
        ):
            database.backup(target)
        into.put(f"{AIRFLOW}/{DATABASE}", Path(copy.name).read_bytes())
    into.put(f"{AIRFLOW}/{CREDENTIALS}", (home / CREDENTIALS).read_bytes())


def require_no_airflow(settings: Settings) -> None:
    """Raises ``UsageError`` if there are metadata."""
    if settings.airflow.database_url:
        raise UsageError(
            "airflow: ETL_AIRFLOW_DATABASE_URL names a database of its own, which this does not write"
        )
    if has_airflow(settings):
        raise UsageError(f"{database_url(settings)} is there: restore without it, or with --replace")


def restore_airflow(settings: Settings, source: Reader) -> dict[str, int]:
    """The marker of the set-up goes: users and tables are looked at again at the next start."""
    home = settings.state_path / AIRFLOW
    for name in ("bootstrapped", f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (home / name).unlink(missing_ok=True)
    count = 0
    for name, data in source.parts(AIRFLOW):
        write_whole(_inside(home, name), data, mode=0o600)
        count += 1
    return {"files": count}


def _files(state: Path) -> list[Path]:
    found = [] if not state.exists() else [path for path in state.iterdir() if path.name not in LEFT_OUT]
    below = [path for each in found for path in ([each] if each.is_file() else each.rglob("*"))]
    return sorted(path for path in below if path.is_file() and not path.name.endswith(TEMPORARY_SUFFIX))


def _inside(folder: Path, name: str) -> Path:
    """Raises ``UsageError`` for a name that leads out of ``folder``."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UsageError(f"backup: {name!r} leads out of {folder}")
    return path
