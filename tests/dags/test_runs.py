"""The load and the export run for real, as Airflow runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from etl import settings as settings_module
from etl.lake.query import connect
from etl.settings import Settings
from etl.stores.migrate import migrate_timescale
from tests.dags.test_policy import airflow_environment
from tests.support import stream

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def airflow(home: Path, settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ETL_")},
        **airflow_environment(home),
        **settings_module.as_environment(settings),
    }
    return subprocess.run(
        [sys.executable, "-m", "airflow", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_load_export_and_compaction_run_in_airflow(
    settings_with: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_with(kafka=True, timescale=True)
    migrate_timescale(settings)
    stream.publish(settings, *(stream.trade(n, "airflow") for n in range(20)))
    home = tmp_path / "airflow"
    home.mkdir()
    assert airflow(home, settings, "db", "migrate").returncode == 0
    # one task each: `airflow dags test` (3.3.2) cannot make a run of a DAG that has a deadline
    for dag_id, task_id in (
        ("load_timescale", "load"),
        ("export_parquet", "export"),
        ("compact_lake", "compact"),
    ):
        done = airflow(home, settings, "tasks", "test", dag_id, task_id, "2026-01-01")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with psycopg.connect(settings.timescale_address) as connection:
        found = connection.execute("SELECT count(*) FROM trades WHERE exchange = 'airflow'").fetchone()
    assert found == (20,)
    with connect(settings) as lake:
        assert lake.execute("SELECT count(*) FROM trades").fetchall() == [(20,)]
