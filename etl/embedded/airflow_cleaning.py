"""What Airflow leaves behind: logs, by ``airflow_log_days``, and rows of metadata, by ``airflow_metadata_days``.

The metadata is cleaned by Airflow's own command in a process of its own: a task has no way to it.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from etl.embedded.airflow import database_url
from etl.errors import EtlError
from etl.settings import Settings, as_environment, other_environment

RUNS_ASKED_MAX = 50
"""At once: their ids travel in one address."""
ROWS_DELETED_MAX = 10_000
"""In one transaction, which holds up the scheduler."""
CLEAN_TIMEOUT_S = 3_000.0
LOG = re.compile(
    # airflow.cfg leaves log_filename_template as it is
    r"dag_id=(?P<dag_id>[^/]+)/run_id=(?P<run_id>[^/]+)/task_id=[^/]+/(map_index=\d+/)?"
    r"attempt=\d+\.log(\.trigger\.\d+\.log)?"
    r"|dag_processor/\d{4}-\d\d-\d\d/.+\.log"
    r"|executor_callbacks/[^/]+/[^/]+/[^/]+"
)
"""The logs that Airflow writes, below its folder; any other file is not ours to delete."""

Unfinished = Callable[[str, list[str]], int]
"""How many tasks of these runs of a DAG are not done: running, waiting for a trigger or for another try."""


class DeletedLogs(Struct, frozen=True):
    files: int
    bytes: int
    kept_runs: int
    """Runs with old logs and a task that is not done: they keep them all."""


def delete_logs(settings: Settings, folder: Path, now: datetime, unfinished: Unfinished) -> DeletedLogs:
    """Delete what is older than its setting says below ``folder``, and folders that this leaves empty."""
    days = settings.airflow.log_days
    if not days:
        return DeletedLogs(0, 0, 0)
    logs: dict[tuple[str, str], list[tuple[Path, int]]] = defaultdict(list)
    for path, size, match in _logs_before(folder, now - timedelta(days=days)):
        logs[match["dag_id"] or "", match["run_id"] or ""].append((path, size))
    kept = set(_unfinished_runs(logs, unfinished))
    deleted = [log for run, found in logs.items() if run not in kept for log in found]
    for path, _ in deleted:
        path.unlink(missing_ok=True)
        _remove_empty(path.parent, folder)
    return DeletedLogs(len(deleted), sum(size for _, size in deleted), len(kept))


def clean_metadata(settings: Settings, now: datetime) -> bool:
    """Delete rows that are older than its setting says, and tell whether it says so. Airflow's command prints what it
    does. Raises ``EtlError``."""
    days = settings.airflow.metadata_days
    if not days:
        return False
    environment = other_environment() | as_environment(settings)
    environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = database_url(settings)
    # a task is given a dead address under either name
    environment.pop("AIRFLOW__CORE__SQL_ALCHEMY_CONN", None)
    before = (now - timedelta(days=days)).astimezone(UTC)
    command = [
        *(sys.executable, "-m", "airflow", "db", "clean"),
        *("--clean-before-timestamp", before.isoformat(), "--batch-size", str(ROWS_DELETED_MAX)),
        *("--yes", "--skip-archive", "--error-on-cleanup-failure"),
    ]
    code = subprocess.run(command, env=environment, timeout=CLEAN_TIMEOUT_S).returncode
    if code:
        raise EtlError(f"airflow db clean: exit code {code}; its own words stand above")
    return True


def _logs_before(folder: Path, before: datetime) -> Iterator[tuple[Path, int, re.Match[str]]]:
    """Path, bytes and names of each log that was last written to before; links are not followed."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            match = LOG.fullmatch(path.relative_to(folder).as_posix())
            status = path.lstat()
            if match and stat.S_ISREG(status.st_mode) and status.st_mtime < before.timestamp():
                yield path, status.st_size, match


def _unfinished_runs(runs: Iterable[tuple[str, str]], unfinished: Unfinished) -> Iterator[tuple[str, str]]:
    by_dag: dict[str, list[str]] = defaultdict(list)
    for dag_id, run_id in runs:
        if dag_id:  # not of a task
            by_dag[dag_id].append(run_id)
    for dag_id, ids in by_dag.items():
        for start in range(0, len(ids), RUNS_ASKED_MAX):
            some = ids[start : start + RUNS_ASKED_MAX]
            if unfinished(dag_id, some):
                yield from ((dag_id, run_id) for run_id in some if unfinished(dag_id, [run_id]))


def _remove_empty(directory: Path, above: Path) -> None:
    """``directory`` and those over it, up to ``above``, as far as they are empty."""
    while directory != above:
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent
