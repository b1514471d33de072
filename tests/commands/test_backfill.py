"""What ``backfill_market_data`` is told to fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etl.commands.backfill import plan_run
from etl.errors import VenueError
from etl.model.times import NS_PER_DAY, parse_ns

INTERVAL_NS = parse_ns("2026-01-30"), parse_ns("2026-01-31")
FORM: dict[str, Any] = {
    "venue": "binance",
    "symbols": ["BTCUSDT", "ETHUSDT"],
    "start": None,
    "end": "2026-02-01",
    "archive": True,  # its estimate asks nobody
    "dry_run": False,
}


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETL_STATE_DIR", str(tmp_path))
    return tmp_path


def test_a_run_fetches_each_symbol_and_day_and_an_empty_bound_is_the_intervals(state_dir: Path) -> None:
    jobs = plan_run(FORM, INTERVAL_NS, ["trade"], "manual__1", 256)
    assert [(job.symbols, job.start_ns, job.end_ns, job.archive) for job in jobs] == [
        ((symbol,), day_ns, day_ns + NS_PER_DAY, True)
        for symbol in ("BTCUSDT", "ETHUSDT")
        for day_ns in (INTERVAL_NS[0], INTERVAL_NS[1])
    ]
    assert list((state_dir / "backfill").iterdir())


def test_a_dry_run_prints_the_estimate_and_fetches_nothing(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_run({**FORM, "dry_run": True}, INTERVAL_NS, ["trade"], "manual__1", 256) == []
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["BTCUSDT", "trade"],
        ["ETHUSDT", "trade"],
    ]
    assert not (state_dir / "backfill").exists()


def test_spaces_in_the_form_mean_nothing() -> None:
    form = {
        **FORM,
        "venue": " binance ",
        "symbols": [" BTCUSDT", "BTCUSDT "],
        "start": " 2026-01-31 ",
        "end": " 2026-02-01",
    }
    (job,) = plan_run(form, INTERVAL_NS, [" trade"], "manual__1", 256)
    assert (job.exchange, job.symbols, job.kinds) == ("binance", ("BTCUSDT",), ("trade",))
    assert (job.start_ns, job.end_ns) == (INTERVAL_NS[1], INTERVAL_NS[1] + NS_PER_DAY)


def test_a_usage_error_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "plugins"))
    from airflow.sdk.exceptions import AirflowFailException
    from policy import usage_errors_fail_at_once

    with pytest.raises(AirflowFailException, match="no instrument NOSUCH"), usage_errors_fail_at_once():
        plan_run({**FORM, "symbols": ["NOSUCH"]}, INTERVAL_NS, ["trade"], "manual__1", 256)
    with pytest.raises(VenueError), usage_errors_fail_at_once():
        raise VenueError("busy")
