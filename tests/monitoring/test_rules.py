"""What is an incident and what is not, with every clock in the test's hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from etl.exchanges import load
from etl.monitoring.loop import sessions
from etl.monitoring.rules import FailedRun, Memory, Observed, findings, limits_s
from etl.settings import Settings, make

NOW_S = datetime(2026, 1, 14, 16, 0, tzinfo=UTC).timestamp()
"""A Wednesday, 11:00 in New York."""
BINANCE = {"trade": NOW_S, "bookTicker": NOW_S, "depth@100ms": NOW_S, "kline_1m": NOW_S - 40}
SETTINGS = Settings()
LIVE = make(live=True)
UP = {"binance": True, "polygon": True}


def ns(seconds: float) -> int:
    return int(seconds * 1e9)


def keys(
    now_s: float = NOW_S, memory: Memory | None = None, settings: Settings = SETTINGS, **seen: Any
) -> list[str]:
    observed = msgspec.structs.replace(Observed(connections_up=UP), **seen)
    remembered = {} if memory is None else memory
    return [
        one.key
        for one in findings(observed, remembered, settings.monitor, ns(now_s), sessions(settings.venues))
    ]


def test_a_venue_that_gives_is_no_incident() -> None:
    assert keys(last_receive_s={"binance": BINANCE}) == []


def test_all_channels_silent_are_one_incident_of_the_venue() -> None:
    assert keys(NOW_S + 400, last_receive_s={"binance": BINANCE}) == ["silent/binance"]


def test_one_silent_channel_is_an_incident_of_that_channel() -> None:
    silent = {**BINANCE, "trade": NOW_S - 61}
    assert keys(last_receive_s={"binance": silent}) == ["silent/binance/trade"]


def test_a_channel_is_silent_when_its_watchdog_no_longer_knows_it_as_quiet() -> None:
    """It is asked after the monitor's own limit, and a little later than the watchdog asks the history."""
    quiet = {**BINANCE, "trade": NOW_S - 300}
    expected = {-61: [], -59: [], 0: [], 59: [], 61: ["silent/binance/trade"]}
    for late_s, found in expected.items():
        until = {"binance": {"trade": NOW_S - late_s, "bookTicker": NOW_S}}
        assert keys(last_receive_s={"binance": quiet}, silence_normal_until_s=until) == found
    lively = {**BINANCE, "trade": NOW_S - 61}
    until = {"binance": {"trade": NOW_S - 1}}
    assert keys(last_receive_s={"binance": lively}, silence_normal_until_s=until) == ["silent/binance/trade"]


def test_a_venue_is_silent_unless_the_silence_of_all_its_channels_is_normal() -> None:
    quiet = {"binance": {"trade": NOW_S - 300, "bookTicker": NOW_S - 400}}
    for until, found in (
        ({"trade": NOW_S + 10, "bookTicker": NOW_S + 5}, []),
        ({"trade": NOW_S + 10, "bookTicker": NOW_S - 240}, ["silent/binance"]),
        ({}, ["silent/binance"]),
    ):
        seen: dict[str, Any] = {"last_receive_s": quiet, "silence_normal_until_s": {"binance": until}}
        assert keys(**seen) == found


def test_a_venue_whose_channels_were_no_quieter_than_the_venue_file_says_is_silent_at_once() -> None:
    """Its watchdog knows the pace of the file, and found the last events a second later than they came."""
    silent = {"binance": {"trade": NOW_S - 31, "bookTicker": NOW_S - 31}}
    until = {"binance": {"trade": NOW_S + 30, "bookTicker": NOW_S + 270}}
    assert keys(last_receive_s=silent, silence_normal_until_s=until) == ["silent/binance"]


def test_no_silence_is_normal_without_a_connection() -> None:
    silent = {"binance": {"trade": NOW_S - 300, "bookTicker": NOW_S - 400}}
    until = {"binance": {"trade": NOW_S + 10, "bookTicker": NOW_S + 5}}
    seen: dict[str, Any] = {"last_receive_s": silent, "silence_normal_until_s": until}
    assert keys(**seen) == []
    assert keys(**seen, connections_up={"binance": False}) == ["silent/binance"]


def test_a_snapshot_that_came_once_is_no_silent_channel() -> None:
    assert keys(last_receive_s={"binance": {**BINANCE, "depth": NOW_S - 900}}) == []


def test_what_comes_by_request_has_no_limit() -> None:
    found = limits_s(load("binance"), {**BINANCE, "depth": NOW_S - 900}, {"bookTicker": NOW_S + 240})
    assert found == {"trade": 60.0, "bookTicker": 300.0, "depth@100ms": 60.0, "kline_1m": 180.0}


def test_a_mute_venue_that_still_answers_with_snapshots_is_silent() -> None:
    seen = {"binance": {**BINANCE, "depth": NOW_S + 90}}
    assert keys(NOW_S + 100, last_receive_s=seen) == ["silent/binance"]


def test_a_slow_channel_gets_its_own_limit_anew_after_the_venue_was_silent() -> None:
    memory: Memory = {}
    assert keys(NOW_S + 400, memory, last_receive_s={"binance": BINANCE}) == ["silent/binance"]
    back = {**BINANCE, "trade": NOW_S + 430}
    assert keys(NOW_S + 440, memory, last_receive_s={"binance": back}) == []


def test_a_worker_that_started_again_and_hears_nothing_is_as_silent_as_before() -> None:
    memory: Memory = {}
    assert keys(NOW_S, memory, last_receive_s={"binance": BINANCE}) == []
    assert keys(NOW_S + 31, memory, last_receive_s={}) == ["silent/binance"]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2026, 1, 14, 16, 0, tzinfo=UTC), ["silent/polygon"]),
        (datetime(2026, 1, 14, 14, 30, 10, tzinfo=UTC), []),  # ten seconds after the opening
        (datetime(2026, 1, 14, 14, 31, 0, tzinfo=UTC), ["silent/polygon"]),
        (datetime(2026, 1, 14, 21, 0, 1, tzinfo=UTC), []),  # just closed
        (datetime(2026, 1, 17, 16, 0, tzinfo=UTC), []),  # Saturday
        (datetime(2026, 1, 19, 16, 0, tzinfo=UTC), []),  # Martin Luther King Jr. Day
    ],
)
def test_a_stock_venue_may_be_silent_while_its_market_is_closed(
    moment: datetime, expected: list[str]
) -> None:
    now_s = moment.timestamp()
    seen = {"polygon": {"T": now_s - 300, "Q": now_s - 300}}
    assert keys(now_s, settings=LIVE, last_receive_s=seen) == expected


def test_a_refused_key_pages_at_once_and_explains_the_silence() -> None:
    seen: dict[str, Any] = {
        "faults": {"polygon": {"authentication": 1.0, "transient": 7.0}},
        "last_receive_s": {"polygon": {"T": NOW_S - 100}},
        "connections_up": {"polygon": False},
    }
    memory: Memory = {}
    assert keys(NOW_S, memory, **seen) == ["fault/polygon/authentication"]
    assert keys(NOW_S + 3_600, memory, **seen) == ["fault/polygon/authentication"]
    seen |= {"connections_up": {"polygon": True}, "last_receive_s": {"polygon": {"T": NOW_S + 3_700}}}
    assert keys(NOW_S + 3_700, memory, **seen) == []


def test_a_part_that_is_down_for_longer_than_a_restart_is_an_incident() -> None:
    assert keys(parts={"sink-clickhouse": ("restarting", NOW_S - 5)}) == []
    assert keys(parts={"sink-clickhouse": ("restarting", NOW_S - 25)}) == ["part/sink-clickhouse"]
    assert keys(parts={"migrate": ("done", NOW_S - 900), "kafka": ("running", NOW_S - 900)}) == []


def test_a_worker_that_is_down_is_one_incident_with_the_silence_it_makes() -> None:
    assert keys(
        parts={"stream-binance": ("failed", NOW_S - 100)},
        last_receive_s={"binance": {"trade": NOW_S - 100}},
    ) == ["part/stream-binance"]


def test_a_backlog_that_shrinks_is_no_incident() -> None:
    memory: Memory = {}
    assert keys(memory=memory, backlogs={"sink": 1_500_000}) == ["backlog/sink"]
    assert keys(memory=memory, backlogs={"sink": 1_400_000}) == []
    assert keys(backlogs={"lake-export": 1_500_000}) == []


def test_far_fewer_rows_than_the_hour_before_are_an_incident() -> None:
    usual = [10_000] * 12
    assert keys(rows={"binance": [*usual, 9_000]}) == []
    assert keys(rows={"binance": [*usual, 1_900]}) == ["rows/binance"]
    assert keys(rows={"binance": [10_000, 0]}) == []  # too short a past to know better
    assert keys(memory={"disturbed/binance": NOW_S - 300}, rows={"binance": [*usual, 0]}) == []


def test_of_a_worker_that_does_not_answer_it_is_said_that_and_not_that_its_venue_is_silent() -> None:
    memory: Memory = {}
    assert keys(NOW_S, memory, last_receive_s={"binance": BINANCE}) == []
    mute: dict[str, Any] = {"connections_up": {"okx": True}, "mute": ["stream-binance on :9401"]}
    assert keys(NOW_S + 83, memory, **mute) == []
    assert keys(NOW_S + 143, memory, **mute) == ["unseen/stream-binance on :9401"]
    assert keys(NOW_S + 203, memory, last_receive_s={"binance": {"trade": NOW_S}}) == ["silent/binance"]


def test_rows_that_wait_for_the_sink_are_its_lateness_and_not_the_venues() -> None:
    rows = {"binance": [10_000] * 12 + [500], "polygon": [2_000] * 12 + [0], "okx": [1_000] * 13}
    behind: dict[str, Any] = {"rows": rows, "writers": "etl-clickhouse-default"}
    assert keys(**behind, backlogs={"etl-clickhouse-default": 11_500}) == ["rows-late/etl-clickhouse-default"]
    assert keys(**behind, backlogs={"etl-clickhouse-default": 11_499}) == ["rows/binance", "rows/polygon"]
    assert keys(**behind, backlogs={"lake-export": 50_000}) == ["rows/binance", "rows/polygon"]


def test_failed_runs_a_full_disk_and_what_cannot_be_asked_are_incidents() -> None:
    memory: Memory = {}
    seen: dict[str, Any] = {
        "failed_runs": [FailedRun("load_timescale", "scheduled__1", ns(NOW_S))],
        "disk_free": (1 << 20, 1 << 40),
        "unseen": {"Kafka": "no answer"},
    }
    assert keys(NOW_S, memory, **seen) == ["dag/load_timescale", "disk"]
    assert keys(NOW_S + 60, memory, **seen) == ["dag/load_timescale", "disk", "unseen/Kafka"]
    assert keys(NOW_S + 120, memory) == []
