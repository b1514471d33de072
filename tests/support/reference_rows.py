"""Rows of every table of reference data in ClickHouse, for what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from msgspec import Struct, structs

from etl.model.records import Observation, Record
from etl.model.reference import (
    CORPORATE_ACTIONS,
    INSTRUMENTS,
    SESSIONS,
    SYMBOL_NAMES,
    CorporateAction,
    InstrumentState,
    MarketSession,
    ReferenceTable,
    SymbolName,
)
from etl.model.times import NS_PER_HOUR, NS_PER_S, as_ns
from etl.reference.recorded import record
from etl.settings import Settings, changed
from tests.support.audit_stores import store_in_clickhouse
from tests.support.gateway import BASE_NS, trade

KNOWN_FIRST = "2026-01-01T00:00:01"
"""When the first of ``ROWS`` was known, and no other."""
LISTED = InstrumentState(
    "binance", "BTCUSDT", "BTC-USDT", "option", price_step="0.01", strike=Decimal("60000.5")
)
OPENS_NS = as_ns("2026-11-27T14:30:00")
ROWS: Sequence[tuple[ReferenceTable, Sequence[Struct]]] = (
    (INSTRUMENTS, [LISTED]),
    (INSTRUMENTS, [structs.replace(LISTED, price_step="0.1")]),
    (
        SESSIONS,
        [
            MarketSession(
                "polygon", date(2026, 11, 27), kind, from_ns, from_ns + 3 * NS_PER_HOUR, "XNYS", True
            )
            for kind, from_ns in (("regular", OPENS_NS), ("post", OPENS_NS + 4 * NS_PER_HOUR))
        ],
    ),
    (
        CORPORATE_ACTIONS,
        [
            CorporateAction(
                "polygon",
                "1",
                "AAPL",
                "split",
                date(2020, 8, 31),
                Decimal("0.3333333333333333333"),
                Decimal(1),
            )
        ],
    ),
    (
        SYMBOL_NAMES,
        [
            SymbolName("polygon", "META", date(2012, 5, 18), "FB"),
            SymbolName("polygon", "META", date(2022, 6, 9), "META"),
            SymbolName("polygon", "ETF", date(2021, 6, 30), "META"),
            SymbolName("polygon", "ETF", date(2022, 6, 9), ""),
        ],
    ),
)
"""A tick that moved, an early close, a split, and a name that another one had before."""


def record_reference(settings: Settings) -> None:
    """``ROWS``, a second after the other, and an observation. Again is harmless."""
    made = changed(settings, stores="clickhouse", venues="polygon")
    for number, (table, some) in enumerate(ROWS, 1):
        record(made, table, some, ["polygon", "binance"], BASE_NS + number * NS_PER_S)
    store_in_clickhouse(made, [observation()], "reference")


def observation() -> Observation:
    like = trade(0, "GDP", "fred", record_key="2025-10-01/2026-01-30", sequence=None)
    shared = {name: getattr(like, name) for name in Record.__struct_fields__}
    known_ns = as_ns("2026-01-30")
    times = {"event_time_ns": known_ns, "key_time_ns": known_ns, "receive_time_ns": known_ns}
    told = {"observation_date": "2025-10-01", "vintage_date": "2026-01-30", "value": "0.0000000000000000001"}
    return Observation(**{**shared, **times, **told})
