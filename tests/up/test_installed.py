from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from etl.embedded import kafka, timescale
from etl.errors import UsageError
from etl.settings import make
from etl.up import installed
from etl.up.installed import fitted, lacking, runs_airflow


@pytest.fixture
def without_jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "JARS_DIR", tmp_path / "jars")


@pytest.fixture
def without_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timescale, "FRONT_DIR", tmp_path)


def test_nothing_is_replaced_where_everything_is_here() -> None:
    assert fitted(make(), "", "") == (make(), "", "")


@pytest.mark.usefixtures("without_jars", "without_engine")
def test_a_wheel_alone_runs_the_light_profile_and_says_so() -> None:
    settings, profile, line = fitted(make(), "", "")
    assert (settings.transport.url, settings.stores, profile) == ("redis", ("clickhouse", "lake"), "light")
    assert line == (
        "not here, for make setup of a checkout fetches them: Kafka's jars and the TimescaleDB engine;"
        " so --profile light, topics in Valkey"
    )
    assert lacking(settings) == ()


@pytest.mark.usefixtures("without_engine")
def test_without_the_engine_alone_the_other_stores_are_kept() -> None:
    settings, profile, line = fitted(make(), "", "")
    assert (settings.transport.url, settings.stores, profile) == ("", ("clickhouse", "lake"), "")
    assert line.endswith("the TimescaleDB engine; so --stores clickhouse,lake")


@pytest.mark.usefixtures("without_jars", "without_engine")
def test_servers_with_an_address_need_nothing_here() -> None:
    settings = make(kafka_url="kafka.example:9092", timescale_url="postgresql://timescale.example/market")
    assert fitted(settings, "", "") == (settings, "", "")


@pytest.mark.usefixtures("without_jars", "without_engine")
@pytest.mark.parametrize(
    ("transport", "stores", "missing"),
    [("kafka", "lake", "Kafka's jars"), ("redis", "timescale", "the TimescaleDB engine")],
)
def test_what_was_asked_for_is_never_replaced(transport: str, stores: str, missing: str) -> None:
    settings = make(transport_url={"kafka": "", "redis": "redis"}[transport], stores=stores)
    with pytest.raises(UsageError, match=f"^not here: {missing}; run make setup"):
        fitted(settings, "", transport)


def test_jobs_run_without_airflow_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO())
    assert [runs_airflow(wanted, console) for wanted in (None, True, False)] == [True, True, False]
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
    monkeypatch.setattr(installed, "find_spec", lambda _name: None)
    assert [runs_airflow(wanted, console) for wanted in (None, False)] == [False, False]
    said = "Airflow is not installed (etl[airflow]): its jobs run by the small scheduler\n"
    assert console.file.getvalue() == said  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="pip install"):
        runs_airflow(True, console)
