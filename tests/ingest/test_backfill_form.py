"""What ``backfill_market_data`` is told to fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etl.errors import VenueError
from etl.ingest.backfill_form import plan_run
from etl.model.times import NS_PER_DAY, parse_ns
from etl.settings import Settings, make

INTERVAL_NS = parse_ns("2026-01-30"), parse_ns("2026-01-31")
FORM: dict[str, Any] = {
    "venue": "binance",
    "symbols": ["BTCUSDT", "ETHUSDT"],
    "start": None,
    "end": "2026-02-01",
    "archive": True,  # its estimate asks nobody
    "bulk": False,
    "dry_run": False,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make(state_dir=str(tmp_path))


def test_a_run_fetches_each_symbol_and_day_and_an_empty_bound_is_the_intervals(settings: Settings) -> None:
    jobs = plan_run(settings, FORM, INTERVAL_NS, ["trade"], "manual__1")
    assert [(job.symbols, job.start_ns, job.end_ns, job.archive) for job in jobs] == [
        ((symbol,), day_ns, day_ns + NS_PER_DAY, True)
        for symbol in ("BTCUSDT", "ETHUSDT")
        for day_ns in (INTERVAL_NS[0], INTERVAL_NS[1])
    ]
    assert list((settings.state_path / "backfill").iterdir())


def test_a_dry_run_prints_the_estimate_and_fetches_nothing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_run(settings, {**FORM, "dry_run": True}, INTERVAL_NS, ["trade"], "manual__1") == []
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["BTCUSDT", "trade"],
        ["ETHUSDT", "trade"],
    ]
    assert not (settings.state_path / "backfill").exists()


def test_spaces_in_the_form_mean_nothing(settings: Settings) -> None:
    form = {
        **FORM,
        "venue": " binance ",
        "symbols": [" BTCUSDT", "BTCUSDT "],
        "start": " 2026-01-31 ",
        "end": " 2026-02-01",
    }
    (job,) = plan_run(settings, form, INTERVAL_NS, [" trade"], "manual__1")
    assert (job.exchange, job.symbols, job.kinds) == ("binance", ("BTCUSDT",), ("trade",))
    assert (job.start_ns, job.end_ns) == (INTERVAL_NS[1], INTERVAL_NS[1] + NS_PER_DAY)


def test_a_usage_error_is_not_tried_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "plugins"))
    from airflow.sdk.exceptions import AirflowFailException
    from policy import usage_errors_fail_at_once

    with pytest.raises(AirflowFailException, match="no instrument NOSUCH"), usage_errors_fail_at_once():
        plan_run(settings, {**FORM, "symbols": ["NOSUCH"]}, INTERVAL_NS, ["trade"], "manual__1")
    with pytest.raises(AirflowFailException, match="in bulk come bars"), usage_errors_fail_at_once():
        plan_run(settings, {**FORM, "bulk": True}, INTERVAL_NS, ["bar"], "manual__1")
    with pytest.raises(VenueError), usage_errors_fail_at_once():
        raise VenueError("busy")
