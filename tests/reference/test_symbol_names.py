"""Renames, names that others had before, and names that two would have, against a truth that is told day by day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from etl.commands import instruments
from etl.errors import UsageError
from etl.exchanges import load
from etl.lake import Lake
from etl.lake.reference_views import OF_INSTRUMENTS
from etl.model.records import CorrectionKind, Record, Source, Status, TradingStatus
from etl.model.reference import SYMBOL_NAMES, CorporateAction, SymbolName
from etl.model.times import parse_ns
from etl.reference.recorded import read, record
from etl.reference.symbol_names import SINCE_EVER, accepted, chained, refresh, spans, symbol_at
from etl.settings import Settings, changed
from etl.sinks.export import export
from etl.sinks.load import load_timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.stores.timescale import connect as connect_timescale
from etl.transports.kafka import ensure_topics
from tests.support import stream
from tests.support.access import access_at
from tests.support.audit_stores import store_in_clickhouse
from tests.support.lake import query
from tests.support.serving import simulator

META, ETF, LATER = "BBG000MM2P62", "BBG00ETF0001", "BBG00NEWFB01"


def name(instrument_id: str, first_day: str, symbol: str) -> SymbolName:
    return SymbolName("polygon", instrument_id, date.fromisoformat(first_day), symbol, instrument_id)


NAMES = [
    name(META, "2012-05-18", "FB"),
    name(META, "2022-06-09", "META"),
    name(ETF, "2021-06-30", "META"),
    name(ETF, "2022-01-31", "METV"),
    name(LATER, "2025-03-03", "FB"),
    name("BBG00DEAD001", "2001-01-02", "METV"),
    name("BBG00DEAD001", "2015-05-05", ""),
]
TRUTH = [
    # told on, symbol, wanted on, its name then
    ("2022-06-08", "FB", "2022-06-09", "META"),
    ("2022-06-09", "META", "2022-06-08", "FB"),
    ("2022-01-03", "META", "2026-01-01", "METV"),
    ("2022-01-31", "METV", "2022-01-30", "META"),
    ("2026-01-01", "META", "2012-05-17", ""),
    ("2025-03-03", "FB", "2026-01-01", "FB"),
    ("2010-01-01", "METV", "2015-05-04", "METV"),
    ("2010-01-01", "METV", "2015-05-05", ""),
    ("2022-06-09", "FB", "2022-06-09", None),
    ("2022-02-01", "META", "2022-02-01", None),
    ("2018-01-01", "METV", "2018-01-01", None),
]


@pytest.mark.parametrize(("told", "symbol", "wanted", "expected"), TRUTH)
def test_a_name_is_followed_through_the_instrument(
    told: str, symbol: str, wanted: str, expected: str | None
) -> None:
    assert symbol_at(NAMES, symbol, date.fromisoformat(told), date.fromisoformat(wanted)) == expected


def test_a_name_that_is_used_again_is_no_collision() -> None:
    assert accepted(NAMES) == (NAMES_IN_ORDER, [])


NAMES_IN_ORDER = sorted(
    NAMES,
    key=lambda one: (min(n.first_day for n in NAMES if n.instrument_id == one.instrument_id), one.first_day),
)


def test_a_name_that_two_would_have_is_refused_and_the_first_keeps_it() -> None:
    rival = [name("BBG00RIVAL01", "2024-01-02", "META")]
    kept, refused = accepted([*NAMES, *rival])
    assert kept == NAMES_IN_ORDER
    assert refused == [
        "polygon: META would be BBG000MM2P62 and BBG00RIVAL01 on 2024-01-02; BBG00RIVAL01 is left out"
    ]
    early = [name("BBG00RIVAL01", "2011-01-03", "META")]
    kept, refused = accepted([*NAMES, *early], known=NAMES)
    assert kept == NAMES_IN_ORDER, "what the stores have goes first, whoever was earlier"
    assert len(refused) == 1


def change(old: str, new: str, day: str, key: str = "") -> CorporateAction:
    return CorporateAction(
        "alpaca", key or f"{old}/{new}/{day}", old, "name_change", date.fromisoformat(day), new_symbol=new
    )


def test_changes_alone_are_joined_to_chains() -> None:
    found = chained(
        "alpaca",
        [
            change("META", "METV", "2022-01-31"),
            change("FB", "META", "2022-06-09"),
            change("META", "MTA", "2027-01-04"),
            change("XX", "FB", "2025-03-03"),
        ],
    )
    told = [(one.instrument_id, one.first_day, one.symbol) for one in found]
    assert told == [
        ("META@2022-01-31", SINCE_EVER, "META"),
        ("META@2022-01-31", date(2022, 1, 31), "METV"),
        ("FB@2022-06-09", SINCE_EVER, "FB"),
        ("FB@2022-06-09", date(2022, 6, 9), "META"),
        ("XX@2025-03-03", SINCE_EVER, "XX"),
        ("XX@2025-03-03", date(2025, 3, 3), "FB"),
        ("FB@2022-06-09", date(2027, 1, 4), "MTA"),
    ]
    assert accepted(found)[1] == []


def test_two_that_change_names_on_one_day_are_not_one() -> None:
    found = chained("alpaca", [change("A", "B", "2024-01-02"), change("B", "A", "2024-01-02")])
    last = {one.instrument_id: one.symbol for one in found}
    assert last == {"A@2024-01-02": "B", "B@2024-01-02": "A"}
    assert accepted(found)[1] == []
    moved = chained("alpaca", [change("A", "B", "2024-01-02"), change("B", "C", "2024-01-02")])
    assert {one.instrument_id: one.symbol for one in moved} == {"A@2024-01-02": "B", "B@2024-01-02": "C"}


def test_ticker_events_are_names_with_their_figi() -> None:
    payload = (
        b'{"status":"OK","request_id":"1","results":{"name":"Meta Platforms, Inc.","composite_figi":"BBG000MM2P62",'
        b'"cik":"0001326801","events":[{"type":"ticker_change","date":"2022-06-09","ticker_change":{"ticker":"META"}},'
        b'{"type":"ticker_change","date":"2012-05-18","ticker_change":{"ticker":"FB"}}]}}'
    )
    polygon = load("polygon")
    found = list(polygon.read_names(payload))
    assert [(one.symbol, str(one.first_day), one.instrument_id, one.figi) for one in found] == [
        ("FB", "2012-05-18", META, META), ("META", "2022-06-09", META, META),
    ]  # fmt: skip
    without = msgspec.json.decode(payload)
    del without["results"]["composite_figi"]
    assert {one.instrument_id for one in polygon.read_names(msgspec.json.encode(without))} == {
        "cik:0001326801"
    }
    del without["results"]["cik"]
    with pytest.raises(ValueError, match="neither FIGI nor CIK"):
        polygon.read_names(msgspec.json.encode(without))


async def refreshed(settings: Settings, state_path: Path) -> None:
    """Into the lake alone, from the simulated vendor."""
    async with simulator(state_path, "polygon") as simulated:
        access = lambda: access_at(f"http://{simulated.address}/polygon", load("polygon"), state_path)  # noqa: E731
        first = await asyncio.to_thread(refresh, settings, access(), 1_000, ["META", "METV"])
        assert first == ({"lake": 4}, [])
        assert await asyncio.to_thread(refresh, settings, access(), 2_000) == ({"lake": 0}, [])
        rival = [name("BBG00OTHER01", "2020-01-02", "METV")]
        await asyncio.to_thread(record, settings, SYMBOL_NAMES, rival, ["polygon"], 3_000, lambda row: False)
        added, refused = await asyncio.to_thread(refresh, settings, access(), 4_000)
        assert added == {"lake": 0}
        assert len(refused) == 1
        assert "METV would be" in refused[0]


@pytest.mark.integration
def test_names_come_from_the_vendor_and_a_rival_is_told(settings: Settings, tmp_path: Path) -> None:
    settings = changed(settings, stores="lake", venues="polygon")
    asyncio.run(refreshed(settings, tmp_path))
    lake = Lake(settings)
    was = {row[1]: row[3] for row in lake.symbols_at("2021-12-01").fetchall() if row[2].startswith("BBG01")}
    assert was == {"META": "METV"}
    assert lake.symbol_names(at="1970-01-01").fetchall() == []
    assert len(lake.symbol_names().fetchall()) == 5
    for table in (lake.instruments, lake.corporate_actions, lake.sessions):
        assert table().fetchall() == table("2026-01-01").fetchall() == []
    assert lake.bars_of("polygon", "META").fetchall() == []
    with pytest.raises(UsageError, match="nobody that is known was called FB"):
        instruments.print_names(settings, "polygon", "FB", parse_ns("2022-06-10"), as_json=False)


def test_a_stock_is_shown_with_its_name_of_today(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = changed(settings, stores="lake", venues="polygon")
    record(settings, SYMBOL_NAMES, NAMES, ["polygon"], 1_000)
    assert instruments.print_names(settings, "polygon", "FB", parse_ns("2022-06-08T12:00"), as_json=False)
    assert capsys.readouterr().out.split() == [
        "polygon", "FB", META, "from", "2012-05-18", "until", "2022-06-09,", "today", "META",
    ]  # fmt: skip
    assert not instruments.print_names(settings, "polygon", "AAPL", 1_000, as_json=False)


DAYS = ("2012-01-03", "2021-07-01", "2022-02-01", "2022-06-08", "2022-06-09", "2025-03-03")


def stored() -> list[Record]:
    """Of each kind one a day for FB, META, METV and AAPL."""
    found: list[Record] = []
    for symbol in ("FB", "META", "METV", "AAPL"):
        for day in DAYS:
            time_ns, number = parse_ns(f"{day}T15:00:00"), len(found)
            of: dict[str, Any] = {
                "exchange": "polygon", "symbol": symbol, "venue_symbol": symbol, "event_time_ns": time_ns,
                "receive_time_ns": time_ns + 10**9, "key_time_ns": time_ns, "frame_sequence": number + 1,
            }  # fmt: skip
            found += [
                stream.trade(number, record_key=f"1/{number}", **of),
                stream.quote(number, record_key=str(number), **of),
                stream.bar(number, record_key=f"1m/{time_ns}", **of),
                structs.replace(stream.correction(f"{number}/gone", kind=CorrectionKind.CANCEL), **of),
                Status(
                    channel="LULD", source=Source.STREAM, connection_id=stream.CONNECTION, frame_index=0,
                    record_key=str(number), parser_version=1, status=TradingStatus.HALTED, **of,
                ),
            ]  # fmt: skip
    return found


OF = {
    "META": [*(("FB", day) for day in DAYS[1:4]), *(("META", day) for day in DAYS[4:])],
    "METV": [("META", "2021-07-01"), *(("METV", day) for day in DAYS[2:])],
    "FB": [("FB", "2025-03-03")],
    "AAPL": [("AAPL", day) for day in DAYS],
    "NONE": [],
}  # fmt: skip


@pytest.mark.integration
def test_every_store_gives_what_is_an_instruments_by_the_name_of_today(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(kafka=True, clickhouse=True, timescale=True, venues="polygon")
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    ensure_topics(settings)
    stream.publish(settings, *stored())
    store_in_clickhouse(settings, stored(), "stored")
    load_timescale(settings)
    export(settings, time.time_ns())
    added = record(settings, SYMBOL_NAMES, NAMES, ["polygon"], 1_000)
    assert added == dict.fromkeys(("clickhouse", "timescale", "lake"), len(NAMES))
    for table in OF_INSTRUMENTS:
        for symbol, expected in OF.items():
            assert told_of(settings, table, symbol) == dict.fromkeys(settings.stores, expected), (
                table,
                symbol,
            )
    lake = Lake(settings)
    for told in (lake.bars_of, lake.trades_of, lake.quotes_of):
        assert len(told("polygon", "META").fetchall()) == len(OF["META"])
    assert sorted(read(settings, SYMBOL_NAMES, ["polygon"], SymbolName), key=str) == sorted(NAMES, key=str)
    assert {span.symbol for span in spans(NAMES)} == {"FB", "META", "METV"}


def told_of(settings: Settings, table: str, symbol: str) -> dict[str, list[tuple[str, ...]]]:
    """Names and days, by store."""
    of = f"{table}_of(of_exchange = 'polygon', current_symbol = '{symbol}')"
    with connect(settings) as client:
        sql = f"SELECT symbol, toDate(time) FROM {of} ORDER BY time FORMAT TSV"
        lines = client.execute(sql).decode().splitlines()
    days = "symbol, CAST(CAST(time AS DATE) AS VARCHAR)"
    elsewhere = f"SELECT {days} FROM {table}_of('polygon', '{symbol}') ORDER BY time"
    with connect_timescale(settings) as connection:
        of_timescale = connection.execute(elsewhere.encode()).fetchall()
    return {
        "clickhouse": [tuple(line.split("\t")) for line in lines],
        "timescale": of_timescale,
        "lake": query(settings, elsewhere),
    }
