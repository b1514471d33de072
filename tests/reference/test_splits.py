"""Splits from the venues' reference data to the statistics that adjust by them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from etl.adapter.splits import Split
from etl.errors import VenueError
from etl.exchanges import load
from etl.reference import splits
from etl.reference.symbol_statistics import compute
from etl.settings import Settings
from etl.simulator.splits import SPLITS
from etl.sources import history
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse
from tests.reference.test_symbol_statistics import CLOSES, DAY_NS, daily_bars, day_before, moments, store
from tests.support.access import access_at
from tests.support.serving import simulator
from tests.support.venue_server import venue_server

NOW_NS = time.time_ns()


@pytest.mark.parametrize(
    ("venue", "payload", "expected"),
    [
        (
            "polygon",
            b'{"results":[{"execution_date":"2020-08-31","id":"E36","split_from":1,"split_to":4,"ticker":"AAPL"},'
            b'{"execution_date":"2021-08-02","split_from":8,"split_to":1,"ticker":"GE"}],"status":"OK"}',
            [Split("AAPL", "2020-08-31", 0.25), Split("GE", "2021-08-02", 8.0)],
        ),
        (
            "alpaca",
            b'{"corporate_actions":{"reverse_splits":[{"symbol":"GE","new_rate":1,"old_rate":8,"ex_date":"2021-08-02",'
            b'"process_date":"2021-08-02"}],"forward_splits":[{"symbol":"AAPL","new_rate":4,"old_rate":1,'
            b'"ex_date":"2020-08-31"}]},"next_page_token":null}',
            [Split("AAPL", "2020-08-31", 0.25), Split("GE", "2021-08-02", 8.0)],
        ),
    ],
)
def test_a_page_of_splits_gives_symbol_day_and_factor(
    venue: str, payload: bytes, expected: list[Split]
) -> None:
    assert list(load(venue).read_splits(payload)) == expected


@pytest.mark.parametrize(
    "payload", [b"{}", b'{"results":[{"ticker":"A","execution_date":"2020-08-31"}]}', b"<html>"]
)
@pytest.mark.parametrize("venue", ["polygon", "alpaca"])
def test_an_answer_that_is_no_list_of_splits_is_refused(
    settings: Settings, venue: str, payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BACK_OFF_FIRST_S", 0.001)
    with venue_server() as server:
        server.answers[load(venue).splits_path.partition("?")[0]] = (200, payload.decode())
        complaint = "no JSON" if payload == b"<html>" else "not a list of splits"
        with pytest.raises(VenueError, match=complaint):
            refresh(settings, venue, f"http://127.0.0.1:{server.port}")


@pytest.mark.integration
def test_a_split_that_a_venue_tells_is_no_return(
    settings_with: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(clickhouse=True)
    migrate_clickhouse(settings)
    split = SPLITS[0]
    monkeypatch.setattr("tests.reference.test_symbol_statistics.AS_OF_NS", NOW_NS)
    split_at = [
        i for i in range(20) if day_before(20 - i) >= NOW_NS // DAY_NS * DAY_NS - split.age_days * DAY_NS
    ]
    closes = (CLOSES * 3)[:20]
    told = [close * split.before / split.after if i in split_at else close for i, close in enumerate(closes)]
    bars = list(daily_bars(split.symbol, told))
    with connect(settings, internal=True) as client:
        store(client, [*bars, *(msgspec.structs.replace(bar, exchange="alpaca") for bar in bars)])
    asyncio.run(refresh_from_simulators(settings, tmp_path))

    mean, deviation = moments(closes)
    found = compute(settings, NOW_NS)
    assert [(item.exchange, item.symbol, item.days) for item in found] == [
        ("alpaca", split.symbol, 20),
        ("polygon", split.symbol, 20),
    ]
    for item in found:
        assert item.return_mean == pytest.approx(
            mean, rel=1e-2
        )  # a quarter of a price is rounded to the cent
        assert item.return_deviation == pytest.approx(deviation, rel=1e-2)


async def refresh_from_simulators(settings: Settings, state_path: Path) -> None:
    async with simulator(state_path, "polygon", "alpaca") as simulated:
        for venue in ("polygon", "alpaca", "polygon"):  # once more is harmless
            base_url = f"http://{simulated.address}/{venue}"
            assert await asyncio.to_thread(refresh, settings, venue, base_url) == len(SPLITS)
        assert simulated.truth("polygon") == []


def refresh(settings: Settings, venue: str, base_url: str) -> int:
    today = datetime.fromtimestamp(NOW_NS // 1_000_000_000, UTC).date()
    return splits.refresh(settings, access_at(base_url, load(venue), settings.state_path), today)
