"""clean_airflow as Airflow runs it, over logs and metadata of its own."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.embedded.airflow_cleaning import DeletedLogs, clean_metadata, delete_logs
from etl.errors import EtlError
from etl.settings import Settings, changed, load, make
from tests.support.airflow import airflow, new_metadata

NOW = datetime(2026, 11, 29, tzinfo=UTC)
TABLES = ("dag_run", "task_instance", "xcom")


def log(folder: Path, name: str, days: float, now: datetime = NOW) -> Path:
    """A file of five bytes that was last written to so many days ago."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("line\n")
    written = (now - timedelta(days=days)).timestamp()
    os.utime(path, (written, written))
    return path


def left(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def none_unfinished(dag_id: str, run_ids: list[str]) -> int:
    return 0


def test_old_logs_go_with_the_folders_that_they_leave_empty_and_all_else_stays(tmp_path: Path) -> None:
    old = [
        "dag_id=load/run_id=scheduled__2026-01-01T00:00:00+00:00/task_id=load/attempt=1.log",
        "dag_id=load/run_id=a/task_id=group.fetch/map_index=3/attempt=12.log",
        "dag_id=load/run_id=a/task_id=wait/attempt=1.log.trigger.77.log",
        "dag_processor/2026-10-01/dags-folder/load.py.log",
        "executor_callbacks/load/a/0199",
    ]
    foreign = [
        "notes.txt",
        "dag_id=load/notes.log",
        "dag_id=load/run_id=a/task_id=load/attempt=1.log.gz",
        "dag_id=load/run_id=a/attempt=1.log",
        "dag_processor/latest/load.py.log",
        "other/dag_id=load/run_id=a/task_id=load/attempt=1.log",
    ]
    for name in (*old, *foreign):
        log(tmp_path, name, days=31)
    young = "dag_id=load/run_id=a/task_id=load/attempt=2.log"
    log(tmp_path, young, days=29.9)
    elsewhere = log(tmp_path.parent / f"{tmp_path.name}-elsewhere", "attempt=1.log", days=31)
    linked = "dag_id=load/run_id=b/task_id=load"
    (tmp_path / linked).parent.mkdir()
    (tmp_path / linked).symlink_to(elsewhere.parent)

    assert delete_logs(make(), tmp_path, NOW, none_unfinished) == DeletedLogs(files=5, bytes=25, kept_runs=0)
    kept = {*foreign, young, linked}
    parents = {parent.as_posix() for name in kept for parent in Path(name).parents} - {"."}
    assert left(tmp_path) == kept | parents
    assert elsewhere.exists()
    assert delete_logs(make(), tmp_path, NOW, none_unfinished) == DeletedLogs(0, 0, 0)


def test_the_setting_decides_and_zero_deletes_nothing(tmp_path: Path) -> None:
    name = "dag_id=load/run_id=a/task_id=load/attempt=1.log"
    log(tmp_path, name, days=3)
    assert delete_logs(make(airflow_log_days=0), tmp_path, NOW, none_unfinished).files == 0
    assert delete_logs(make(airflow_log_days=4), tmp_path, NOW, none_unfinished).files == 0
    assert delete_logs(make(airflow_log_days=2), tmp_path, NOW, none_unfinished).files == 1
    assert left(tmp_path) == set()


def test_runs_are_asked_for_many_at_a_time_and_the_unfinished_keep_all_their_logs(tmp_path: Path) -> None:
    for run in range(120):
        log(tmp_path, f"dag_id=load/run_id={run}/task_id=load/attempt=1.log", days=40)
    log(tmp_path, "dag_id=load/run_id=77/task_id=other/attempt=1.log", days=40)
    asked = []

    def unfinished(_dag_id: str, run_ids: list[str]) -> int:
        asked.append(len(run_ids))
        return run_ids.count("77")

    assert delete_logs(make(), tmp_path, NOW, unfinished) == DeletedLogs(119, 595, kept_runs=1)
    assert {name for name in left(tmp_path) if name.endswith(".log")} == {
        "dag_id=load/run_id=77/task_id=load/attempt=1.log",
        "dag_id=load/run_id=77/task_id=other/attempt=1.log",
    }
    assert sorted(asked) == [1] * 50 + [20, 50, 50]


@pytest.mark.parametrize("name", ["AIRFLOW_LOG_DAYS", "AIRFLOW_METADATA_DAYS"])
def test_days_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(EtlError, match="airflow_log_days and airflow_metadata_days are days, or 0 for never"):
        load({f"ETL_{name}": "-1"})


def test_metadata_is_not_touched_unless_a_setting_says_so() -> None:
    settings = make(airflow_database_url="sqlite:////nowhere/airflow.db")
    assert clean_metadata(settings, NOW) is False


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(900)  # four starts of Airflow, a minute each on a busy machine
def test_in_airflow_a_task_that_is_not_done_keeps_its_logs_and_metadata_goes_when_switched_on(
    settings_with: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "airflow"
    home.mkdir()
    database = home / "airflow.db"
    settings = settings_with(airflow_database_url=f"sqlite:///{database}")
    now = datetime.now(UTC)
    new_metadata(home, settings)
    run_dag(home, settings, "expire_data", now)
    [(young,)] = select(database, "SELECT run_id FROM dag_run")
    copy_run(database, young, "old", "success", now - timedelta(days=40))
    copy_run(database, young, "running", "deferred", now - timedelta(days=20))
    for run_id in ("old", "running"):
        log(home / "logs", f"dag_id=expire_data/run_id={run_id}/task_id=lake/attempt=1.log", 40, now)
    log(home / "logs", f"dag_id=expire_data/run_id={young}/task_id=lake/attempt=1.log", 0, now)
    log(home / "logs", "mine.log", 40, now)

    run_dag(home, settings, "clean_airflow", now)
    assert {name for name in left(home / "logs") if name.endswith("attempt=1.log") or "mine" in name} == {
        "dag_id=expire_data/run_id=running/task_id=lake/attempt=1.log",
        f"dag_id=expire_data/run_id={young}/task_id=lake/attempt=1.log",
        "mine.log",
    }
    assert [runs_of(database, table) for table in TABLES] == [{young, "old", "running"}] * len(TABLES)

    # as a task sees it
    monkeypatch.setenv("AIRFLOW_HOME", str(home))
    for name in ("DATABASE", "CORE"):
        monkeypatch.setenv(f"AIRFLOW__{name}__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    assert clean_metadata(changed(settings, airflow_metadata_days=30), now) is True
    assert [runs_of(database, table) for table in TABLES] == [{young, "running"}] * len(TABLES)
    assert select(database, "SELECT name FROM sqlite_master WHERE name LIKE '_airflow_deleted%'") == []


def run_dag(home: Path, settings: Settings, dag_id: str, at: datetime) -> None:
    done = airflow(home, settings, "dags", "test", dag_id, at.isoformat())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def select(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def runs_of(database: Path, table: str) -> set[str]:
    """The runs of expire_data of which there are rows."""
    return {run for (run,) in select(database, f"SELECT run_id FROM {table} WHERE dag_id = 'expire_data'")}


def copy_run(database: Path, source: str, run_id: str, state: str, at: datetime) -> None:
    """A second run of the same DAG, begun then, with its tasks in ``state``."""
    renewed = {"run_id": run_id} | dict.fromkeys(
        ("start_date", "logical_date", "timestamp"), f"{at:%F %T.%f}"
    )
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        (number,) = connection.execute("SELECT max(id) + 1 FROM dag_run").fetchone()
        for table, own in (
            ("dag_run", {"id": number}),
            ("task_instance", {"state": state}),
            ("xcom", {"dag_run_id": number}),
        ):
            for row in connection.execute(f"SELECT * FROM {table} WHERE run_id = ?", [source]).fetchall():
                changes = renewed | own | ({"id": uuid.uuid4().hex} if table == "task_instance" else {})
                values = {column: changes.get(column, row[column]) for column in list(row.keys())}
                marks = ", ".join(f":{column}" for column in values)
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)
