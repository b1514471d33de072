from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.adapter.market_calendar import NEW_YORK, known_days
from etl.model.times import NS_PER_DAY, as_ns
from etl.monitoring import page as page_module
from etl.monitoring.page import COVERAGE_DAYS, DOWN, OK, SECTIONS, Monitor, with_open_hours
from etl.settings import Settings
from tests.support.servers import settings_on_free_ports

STORED = ("backlog", "history", "quarantine", "gaps", "coverage", "quality")


def test_what_is_down_is_a_state_with_its_reason_not_an_error(tmp_path: Path) -> None:
    monitor = Monitor(settings_on_free_ports(tmp_path))
    found = {name: monitor.section(name) for name in SECTIONS}
    assert {name: section.state for name, section in found.items()} == {
        **dict.fromkeys(SECTIONS, DOWN),
        "backfills": OK,
        "incidents": OK,
    }
    assert "is `etl up` running?" in found["live"].reason
    assert all(section.reason for section in found.values() if section.state == DOWN)


def test_an_unknown_section_is_a_key_error(settings: Settings) -> None:
    with pytest.raises(KeyError):
        Monitor(settings).section("passwords")


def test_many_who_ask_at_once_cost_one_reading(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[float] = []
    release = threading.Event()

    def slow(_: Settings) -> str:
        readings.append(time.monotonic())
        release.wait(10)
        return "read"

    monkeypatch.setattr(page_module, "SECTIONS", {"slow": slow})
    monitor, answers = Monitor(settings), []
    threads = [threading.Thread(target=lambda: answers.append(monitor.section("slow"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    assert [answer.data for answer in answers] == ["read"] * 8
    assert len(readings) == 1


def test_a_section_that_hangs_is_down_in_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(page_module, "SECTIONS", {"hung": lambda _: release.wait(30)})
    monkeypatch.setattr(page_module, "ANSWER_WITHIN_S", 0.05)
    section = Monitor(settings).section("hung")
    release.set()
    assert (section.state, section.reason) == (DOWN, "no answer in 0.05 s")


def test_a_store_that_hangs_holds_up_no_section_that_does_not_ask_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    of_store = dict.fromkeys(("history", "quarantine", "gaps", "quality"), lambda _: release.wait(30))
    monkeypatch.setattr(page_module, "SECTIONS", {**of_store, "incidents": lambda _: ["binance is silent"]})
    monkeypatch.setattr(page_module, "ANSWER_WITHIN_S", 1.0)
    monitor = Monitor(settings)
    threads = [threading.Thread(target=monitor.section, args=(name,)) for name in of_store]
    for thread in threads:
        thread.start()
    section = monitor.section("incidents")
    release.set()
    for thread in threads:
        thread.join()
    assert (section.state, section.data) == (OK, ["binance is silent"])


def test_a_market_that_is_closed_lacks_no_hour() -> None:
    """Thanksgiving of 2026 and its short Friday, 14:30 to 18:00 UTC; Monday has pre-market trades too."""
    today = as_ns("2026-11-30") // NS_PER_DAY
    rows: list[dict[str, Any]] = [
        {"exchange": exchange, "symbol": symbol, "day": day, "hours": hours, "trades": 9}
        for exchange, symbol, day, hours in (
            ("binance", "BTC-USDT", "2026-11-26", 24),
            ("polygon", "AAPL", "2026-11-27", 4),
            ("polygon", "AAPL", "2026-11-30", 13),
        )
    ]
    found = list(with_open_hours(rows, today, is_live=True))
    told = {(one["symbol"], one["day"][5:]): (one["hours"], one["open_hours"]) for one in found}
    assert told["BTC-USDT", "11-26"] == (24, 24)
    assert [told["AAPL", day] for day in ("11-25", "11-26", "11-27", "11-28", "11-29", "11-30")] == [
        (0, 7), (0, 0), (4, 4), (0, 0), (0, 0), (13, 7),
    ]  # fmt: skip
    assert len(found) == 1 + COVERAGE_DAYS
    simulated = list(with_open_hours(rows, today, is_live=False))
    assert [one["open_hours"] for one in simulated] == [24] * 3


def test_beyond_the_end_of_a_calendar_no_hour_is_said_to_lack() -> None:
    last = known_days(NEW_YORK)[1]
    after = (last + timedelta(days=3)).isoformat()
    row = {"exchange": "polygon", "symbol": "AAPL", "day": after, "hours": 7, "trades": 9}
    found = list(with_open_hours([row], as_ns(after) // NS_PER_DAY, is_live=True))
    assert found[-1] == {**row, "open_hours": None}
    assert max(one["day"] for one in found[:-1]) <= last.isoformat()


@pytest.mark.integration
def test_sections_of_empty_stores_are_empty(settings_with: Callable[..., Settings]) -> None:
    from etl.stores.migrate import migrate_clickhouse, migrate_timescale

    settings = settings_with(kafka=True, clickhouse=True, timescale=True)
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    monitor = Monitor(settings)
    found: dict[str, Any] = {name: monitor.section(name) for name in STORED}
    assert {name: section.reason for name, section in found.items()} == dict.fromkeys(STORED, "")
    topics = {settings.topics.normalized, settings.topics.raw}
    assert [lag for lag in found["backlog"].data if lag["topic"] in topics] == []
    assert found["history"].data == found["quarantine"].data == found["coverage"].data == []
    assert found["gaps"].data == {"counts": [], "open": []}
