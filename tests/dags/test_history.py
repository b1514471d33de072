"""The DAGs of reference data and of bars in bulk as Airflow runs them, into a lake."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from etl.embedded.ports import free_ports
from etl.lake import Lake
from etl.settings import Settings
from etl.simulator.flat_files import write_archive
from etl.transports.transport import transport_of
from tests.ingest.test_backfill import serving
from tests.support.airflow import airflow, new_metadata

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

SYMBOLS, MINUTES = 20, 5
FORM: dict[str, Any] = {
    "venue": "polygon", "symbols": [], "kinds": ["bar"], "archive": True, "bulk": True,
    "start": "2024-02-26T04:00", "end": "2024-02-28T04:00",
}  # fmt: skip


def test_sessions_actions_and_two_days_of_bars_in_bulk_reach_the_lake(
    settings_with: Callable[..., Settings], tmp_path: Path
) -> None:
    folder, home = tmp_path / "flat", tmp_path / "airflow"
    list(write_archive(folder, 2, SYMBOLS, MINUTES, date(2024, 2, 26)))
    (port,) = free_ports(1)
    settings = settings_with(
        redis=True, stores="lake", venues="polygon", simulator_port=port, archive_url=folder.as_uri()
    )
    transport_of(settings).ensure_topics()
    home.mkdir()
    new_metadata(home, settings)
    runs: dict[str, Any] = {
        "refresh_instruments": {},
        "refresh_corporate_actions": {},
        "backfill_market_data": FORM,
    }
    with serving(settings):
        done = airflow(home, settings, json.dumps([*runs.items()]), module="tests.support.dag_runs")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(runs, "success")
    lake = Lake(settings)
    bars = lake.sql("SELECT count(*), count(DISTINCT (symbol, time)) FROM bars").fetchall()
    assert bars == [(2 * SYMBOLS * MINUTES,) * 2]
    kinds = lake.sql("SELECT DISTINCT action_kind FROM corporate_actions ORDER BY 1").fetchall()
    assert kinds == [("cash_dividend",), ("split",)]
    assert lake.sql("SELECT count(*) > 5000 FROM sessions WHERE session_kind = 'regular'").fetchall() == [
        (True,)
    ]
