"""Instruments over time: what the lists say, since when, and what is told of those that left."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from etl.errors import VenueError
from etl.exchanges import load
from etl.jobs.steps import refresh_lists
from etl.lake.query import connect as connect_lake
from etl.model.instruments import Instrument, Instruments
from etl.model.reference import INSTRUMENTS, InstrumentState
from etl.model.times import NS_PER_DAY
from etl.reference import instrument_states, instruments
from etl.reference.instrument_states import found, refresh, state_of, states
from etl.reference.recorded import history
from etl.settings import Settings, changed
from etl.stores import timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale

TODAY = date(2026, 11, 30)
FIRST_NS = 1_796_000_000_123_456_789  # 2026-11-30
LATER_NS = FIRST_NS + NS_PER_DAY


def of(symbol: str, venue: str = "okx", **facts: object) -> InstrumentState:
    return state_of(load(venue), Instrument("V", symbol, **facts), symbol)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("symbol", "told"),
    [
        ("BTC-USDT", ("spot", "BTC", "USDT", "", None, None, "")),
        ("BTC-USDT-PERP", ("perpetual", "BTC", "USDT", "BTC", None, None, "")),
        ("BTC-USDT-20261225", ("future", "BTC", "USDT", "BTC", 1_798_156_800_000_000_000, None, "")),
        (
            "XRP-USDT-20261225-0.55-P",
            ("option", "XRP", "USDT", "XRP", 1_798_156_800_000_000_000, Decimal("0.55"), "put"),
        ),
        ("BTC-USDT-20261399", ("", "", "", "", None, None, "")),  # no day
        ("BTC-USDT-20261225-x-P", ("", "", "", "", None, None, "")),
        ("BTCUSDT", ("", "", "", "", None, None, "")),
    ],
)
def test_a_unified_symbol_tells_what_it_is(symbol: str, told: tuple[object, ...]) -> None:
    row = of(symbol)
    facts = (
        row.instrument_class,
        row.base,
        row.quote,
        row.underlying,
        row.expires_ns,
        row.strike,
        row.option_side,
    )
    assert facts == told


def test_a_contract_of_a_series_is_no_coin_against_another() -> None:
    row = of("KXBTCD-26FEB1217-T67749.99", "kalshi")
    assert (row.instrument_class, row.base, row.quote) == ("event", "", "")


def test_a_list_tells_settlement_contract_and_days() -> None:
    page = {
        "code": "0",
        "data": [
            {"instId": "BTC-USDT-SWAP", "tickSz": "0.1", "lotSz": "0.01", "settleCcy": "USDT", "ctVal": "0.01",
             "state": "live", "listTime": "1573557408000", "expTime": ""},
        ],
    }  # fmt: skip
    (one,) = load("okx_swap").read_instruments(json.dumps(page).encode())
    row = state_of(load("okx_swap"), one, one.symbol)
    assert row == InstrumentState(
        "okx_swap", "BTC-USDT-SWAP", "BTC-USDT-PERP", "perpetual", "BTC", "USDT", "USDT", "BTC", "0.01", "", "0.1",
        "0.01", status="live", listed_day=date(2019, 11, 12),
    )  # fmt: skip


def test_what_a_list_names_no_more_stays_and_is_delisted_once() -> None:
    exchange = load("okx")
    former = {
        ("okx", "V"): of("OLD-USDT"),
        ("okx", "W"): InstrumentState("okx", "W", "NEW-USDT", listed_day=TODAY),
    }
    listed = Instruments([Instrument("W", "NEW-USDT"), Instrument("X", "NEWER-USDT")])
    rows = {row.venue_symbol: row for row in states(exchange, listed, former, TODAY)}
    assert (rows["V"].status, rows["V"].delisted_day) == ("delisted", TODAY)
    assert rows["W"].listed_day == TODAY
    assert rows["X"].listed_day == TODAY
    again = {(row.exchange, row.venue_symbol): row for row in rows.values()}
    later = {row.venue_symbol: row for row in states(exchange, listed, again, date(2026, 12, 5))}
    assert later == rows
    assert [row.listed_day for row in states(exchange, listed, {}, TODAY)] == [None, None], "nobody knows"


def test_a_search_gives_exact_names_first() -> None:
    rows = [of("BTC-USDT-PERP"), of("BTC-USDT"), of("ETH-USDT")]
    assert [row.symbol for row in found(rows, "btc-usdt")] == ["BTC-USDT", "BTC-USDT-PERP"]


def lists(monkeypatch: pytest.MonkeyPatch, *listed: Instrument) -> None:
    """Are what is known from now on."""
    for module in (instrument_states, instruments):
        monkeypatch.setattr(module, "known", lambda settings, exchange: Instruments(listed))


def test_unified_symbols_that_collide_are_refused_loudly(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists(monkeypatch, Instrument("A1", "A-USDT"), Instrument("A2", "A-USDT"))
    monkeypatch.setattr("etl.reference.instruments.refresh_all", lambda settings: {"binance": 2})
    lake_only = changed(settings, venues="binance", stores="lake")
    with pytest.raises(VenueError, match=r"^binance: A-USDT would be A1 and A2; A2 keeps its own name$"):
        refresh_lists(lake_only)
    told = [
        (row.venue_symbol, row.symbol)
        for _, row in history(lake_only, INSTRUMENTS, ["binance"], InstrumentState)
    ]
    assert told == [("A1", "A-USDT"), ("A2", "A2")], "all else is done"


@pytest.mark.integration
def test_a_tick_that_moves_and_a_name_that_leaves_in_every_store(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(settings_with(clickhouse=True, timescale=True), venues="binance")
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    option = Instrument("O", "X-USDT-20261225-0.55-P", expires_ns=1_798_185_600_000_000_000)
    lists(monkeypatch, Instrument("XUSDT", "X-USDT", "0.10", "1"), option)
    assert refresh(settings, FIRST_NS) == {"clickhouse": 2, "timescale": 2, "lake": 2}
    assert refresh(settings, FIRST_NS + 1) == {"clickhouse": 0, "timescale": 0, "lake": 0}
    lists(monkeypatch, Instrument("XUSDT", "X-USDT", "0.0000000000000000000000001", "1"))
    assert refresh(settings, LATER_NS) == {"clickhouse": 2, "timescale": 2, "lake": 2}

    now = [("O", "", "delisted", "0.55"), ("XUSDT", "0.0000000000000000000000001", "", "")]
    before = [("O", "", "", "0.55"), ("XUSDT", "0.10", "", "")]
    asof = "instruments_at(known_time = '2026-11-30 22:00:00')"
    for relation, expected in (("instruments", now), (asof, before)):
        for store, rows in told_by(settings, relation).items():
            assert rows == expected, (store, relation)


def told_by(settings: Settings, relation: str) -> dict[str, list[tuple[str, ...]]]:
    sql = "SELECT venue_symbol, price_step, status, strike FROM {} ORDER BY venue_symbol"
    elsewhere = sql.format(relation.replace("known_time = ", ""))
    with connect(settings) as client:
        lines = client.execute(f"{sql.format(relation)} FORMAT TSV").decode().splitlines()
    with timescale.session(settings) as connection:
        of_timescale = connection.execute(elsewhere.encode()).fetchall()
    with connect_lake(settings) as lake:
        of_lake = lake.sql(elsewhere).fetchall()
    return {
        "clickhouse": [tuple(line.replace("\\N", "").split("\t")) for line in lines],
        "timescale": [tuple(map(_text, row)) for row in of_timescale],
        "lake": [tuple(map(_text, row)) for row in of_lake],
    }


def _text(value: object) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value or "")
