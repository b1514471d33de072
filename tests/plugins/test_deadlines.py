"""The mails about late runs go where the settings say, whichever way they are given."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.errors import UsageError

PLUGIN = Path(__file__).parents[2] / "plugins" / "deadlines.py"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "etl.toml"
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("ETL_CONFIG", str(file))
    return file


def late(job: str) -> Any:
    return runpy.run_path(str(PLUGIN))["late"](job)


def test_a_mail_address_in_the_file_reaches_the_deadline_mails(config: Path) -> None:
    config.write_text(
        '[mail]\nsender = "etl@desk.example"\nto = "ops@desk.example"\n[load]\ndeadline_s = 90\n'
    )
    alert = late("load_timescale")
    assert alert.interval == timedelta(seconds=90)
    told = alert.callback.kwargs
    assert (told["from_email"], told["to"]) == ("etl@desk.example", "ops@desk.example")
    assert told["subject"].endswith("not done after 0:01:30")


def test_the_environment_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('[mail]\nto = "ops@desk.example"\n')
    monkeypatch.setenv("ETL_MAIL_TO", "night@desk.example")
    monkeypatch.setenv("ETL_EXPORT_DEADLINE_S", "60")
    alert = late("export_parquet")
    assert alert.callback.kwargs["to"] == "night@desk.example"
    assert alert.interval == timedelta(minutes=1)


def test_a_wrong_setting_is_refused_when_the_dag_file_is_read(config: Path) -> None:
    config.write_text("[load]\ndead_line_s = 90\n")
    with pytest.raises(UsageError, match=r"\[load\] dead_line_s: no such setting"):
        late("load_timescale")
