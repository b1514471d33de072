"""What every DAG file owes its operator, read from the files themselves."""

from __future__ import annotations

import inspect
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.exchanges import load, names
from etl.settings import Settings

REPOSITORY = Path(__file__).parents[2]
DAG_FILES = sorted(path for path in (REPOSITORY / "dags").glob("*.py"))
IMPORT_SECONDS_MAX = 1.0
HEAVY = (
    "pyarrow",
    "pandas",
    "duckdb",
    "polars",
    "psycopg",
    "confluent_kafka",
    "great_expectations",
)


MEASURE_IMPORTS = """
import json, runpy, sys, time
from airflow.sdk import *
measured = {}
for path in sys.argv[1:]:
    before, started = set(sys.modules), time.process_time()
    runpy.run_path(path)
    measured[path] = time.process_time() - started, sorted(set(sys.modules) - before)
print(json.dumps(measured))
"""


def airflow_environment(home: Path) -> dict[str, str]:
    """Airflow on a directory of its own, with the repository's configuration and DAGs."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(REPOSITORY / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__CORE__FERNET_KEY": "",
    }


@pytest.fixture(scope="module")
def dags() -> Iterator[dict[str, Any]]:
    """Every DAG by the name of its file, as Airflow's own parser reads them."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        for name, value in airflow_environment(Path(home)).items():
            patch.setenv(name, value)
        patch.syspath_prepend(
            REPOSITORY / "plugins"
        )  # as Airflow does, if another test had it imported before
        from airflow.dag_processing.dagbag import DagBag

        found = {}
        for path in DAG_FILES:
            bag = DagBag(dag_folder=str(path))
            assert bag.import_errors == {}
            (dag,) = bag.dags.values()
            found[path.stem] = dag
        yield found


def test_dags_exist() -> None:
    assert {"load_timescale", "export_parquet", "compact_lake"} <= {path.stem for path in DAG_FILES}


def test_a_file_holds_the_dag_of_its_name(dags: dict[str, Any]) -> None:
    assert {stem: dag.dag_id for stem, dag in dags.items()} == {stem: stem for stem in dags}


def test_importing_a_dag_file_takes_less_than_a_second_and_loads_nothing_heavy(tmp_path: Path) -> None:
    """Measured as the DAG processor sees it: Airflow itself is loaded already."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE_IMPORTS, *map(str, DAG_FILES)],
        env={**os.environ, **airflow_environment(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured.keys() == {str(path) for path in DAG_FILES}
    for path, (seconds, modules) in measured.items():
        assert seconds < IMPORT_SECONDS_MAX, path
        assert not [name for name in HEAVY if name in modules], path


def test_every_dag_says_what_it_is_and_what_to_do_when_it_fails(dags: dict[str, Any]) -> None:
    for stem, dag in dags.items():
        assert dag.tags, stem
        assert "when it fails" in (dag.doc_md or "").lower(), stem
        assert dag.catchup is False, stem
        assert dag.max_active_runs >= 1, stem


def test_every_task_has_owner_pool_time_out_and_retries_with_exponential_back_off(
    dags: dict[str, Any],
) -> None:
    for dag in dags.values():
        for task in dag.tasks:
            label = f"{dag.dag_id}.{task.task_id}"
            assert task.owner == "market-data", label
            assert task.pool != "default_pool", label
            assert task.execution_timeout, label
            assert task.retries >= 1, label
            assert task.retry_exponential_backoff, label
            assert task.max_retry_delay is not None, label
            assert task.max_retry_delay <= timedelta(hours=1), label


def test_every_task_that_meets_a_usage_error_fails_at_once(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setenv("ETL_NO_SUCH", "1")
    failed = []
    for dag in dags.values():
        for task in dag.tasks:
            call = task.python_callable
            assert inspect.unwrap(call) is not call, f"{dag.dag_id}.{task.task_id} is not decorated"
            if dag.dag_id in {"compact_lake", "load_timescale", "monitor_freshness", "refresh_instruments"}:
                with pytest.raises(AirflowFailException, match="ETL_NO_SUCH: no such setting"):
                    call()
                failed.append(task.task_id)
    assert sorted(failed) == ["compact", "derive", "load", "refresh", "sessions", "watch"]


def test_every_pool_of_a_task_is_made_at_set_up(dags: dict[str, Any]) -> None:
    made = json.loads((REPOSITORY / "docker" / "airflow" / "pools.json").read_text())
    bootstrap = runpy.run_path(str(REPOSITORY / "docker" / "airflow" / "bootstrap.py"))
    venues = {f"venue_{venue}" for venue in bootstrap["files"]()}
    assert {task.pool for dag in dags.values() for task in dag.tasks} <= made.keys() | venues


def test_deadlines_are_those_of_the_settings(dags: dict[str, Any]) -> None:
    deadlines = {
        dag.dag_id: alert.interval.total_seconds()
        for dag in dags.values()
        for alert in (dag.deadline if isinstance(dag.deadline, list) else [dag.deadline])
        if alert is not None
    }
    settings = Settings()
    assert deadlines == {
        "load_timescale": settings.load.deadline_s,
        "export_parquet": settings.export.deadline_s,
        "backfill_market_data": settings.backfill.deadline_s,
    }


def test_dag_files_do_not_import_each_other() -> None:
    for path in DAG_FILES:
        text = path.read_text()
        assert not [
            other.stem for other in DAG_FILES if f"from {other.stem} import" in text or "import dags" in text
        ]


def test_no_dag_file_repeats_the_policy() -> None:
    repeated = ("default_args", "retry_delay", "max_active_runs", "catchup")
    assert not [path.stem for path in DAG_FILES for word in repeated if word in path.read_text()]


def test_the_backfill_offers_every_feed_that_has_a_past_under_the_pool_of_its_file(
    dags: dict[str, Any],
) -> None:
    with_past = [feed for feed in map(load, names()) if feed.history or feed.archive_kinds]
    files = {feed.__module__.rpartition(".")[2] for feed in with_past}
    dag = dags["backfill_market_data"]
    assert sorted(dag.params.get_param("venue").schema["enum"]) == sorted(feed.name for feed in with_past)
    pools = {task.task_id: task.pool for task in dag.tasks if task.task_id.endswith(".fetch")}
    assert pools == {f"{file}.fetch": f"venue_{file}" for file in files}
    assert {"binance", "okx", "kraken", "coinbase", "bybit", "kalshi", "polygon", "alpaca"} <= files


def test_names_of_stocks_are_refreshed_behind_the_actions_that_tell_some(dags: dict[str, Any]) -> None:
    """The job without Airflow does both (``etl.jobs.steps``)."""
    assert dags["refresh_corporate_actions"].get_task("refresh").downstream_task_ids == {"names"}
