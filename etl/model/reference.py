"""Data about instruments and markets, as tables that every store keeps alike. Pure.

Facts are added, never changed: a row says what was told of a key, and since when we know it (``recorded_ns``). Of
``sessions`` users read three things in each store:

    sessions_history     every row, with ``recorded_ns`` and ``withdrawn``
    sessions             what holds now: of each key the row recorded last, unless that withdraws it
    sessions_at(time)    the same as it was known at a time

A table of your own is a struct here and a migration of both databases; see docs/reference_data.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from msgspec import Struct

RECORDED = {"recorded_ns": int, "withdrawn": bool}
"""What the history of each table has beside the columns of its rows."""


class MarketSession(Struct, frozen=True):
    """[opens_ns, closes_ns) of a venue's day of trading ``session_day``; docs/reference_data.md has the kinds."""

    exchange: str
    session_day: date
    session_kind: str
    opens_ns: int
    closes_ns: int
    calendar: str
    is_early_close: bool = False
    origin: str = ""


class InstrumentState(Struct, frozen=True):
    """What a venue's list says of an instrument, and since when (``recorded_ns``). Ticks and lots are text: a step of
    10^-25 has no column; "" = nobody says. ``instrument_class``: spot, perpetual, future, option, event, of what US
    exchanges list stock, etf and the like, or "" where neither list nor symbol tells. ``figi`` is the composite one,
    ``market`` the main one's code (MIC), ``title`` a company's name, ``isin`` a share's. A name that is listed no more
    stays, with the status ``delisted`` and the day on which that was seen, or the venue's."""

    exchange: str
    venue_symbol: str
    symbol: str
    instrument_class: str = ""
    base: str = ""
    quote: str = ""
    settle: str = ""
    underlying: str = ""
    contract_size: str = ""
    size_unit: str = ""
    price_step: str = ""
    size_step: str = ""
    price_figures: int = 0
    expires_ns: int | None = None
    strike: Decimal | None = None
    option_side: str = ""
    status: str = ""
    listed_day: date | None = None
    delisted_day: date | None = None
    alias_of: str = ""
    figi: str = ""
    market: str = ""
    title: str = ""
    isin: str = ""


class CorporateAction(Struct, frozen=True):
    """What a vendor says of a stock, as of its ``effective_day`` (the ex date). ``shares_before`` became
    ``shares_after``; of a spin-off and a stock merger so many shares of ``new_symbol`` come for so many of this one.
    ``cash_amount`` is for a share, as it was that day. ``action_kind``: split, stock_dividend, cash_dividend, spin_off,
    cash_merger, stock_merger, stock_and_cash_merger, name_change, or as the vendor has it."""

    exchange: str
    action_id: str
    symbol: str
    action_kind: str
    effective_day: date
    shares_before: Decimal | None = None
    shares_after: Decimal | None = None
    cash_amount: Decimal | None = None
    currency: str = ""
    new_symbol: str = ""
    declared_day: date | None = None
    record_day: date | None = None
    pay_day: date | None = None


class SymbolName(Struct, frozen=True):
    """That an instrument is called ``symbol`` from ``first_day`` on, until its next row; "" = it has no name any more.
    ``instrument_id`` outlives its names: the composite FIGI where the vendor tells it (``figi``), else what the vendor
    has, else its oldest name and the day on which that ended. ``title`` is the company's name, ``origin`` what told."""

    exchange: str
    instrument_id: str
    first_day: date
    symbol: str
    figi: str = ""
    title: str = ""
    origin: str = ""


class ReferenceTable(Struct, frozen=True):
    """``key``: the columns that make two rows say something of the same thing."""

    name: str
    row: type[Struct]
    key: tuple[str, ...]

    @property
    def history(self) -> str:
        return f"{self.name}_history"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.row.__struct_fields__


SESSIONS = ReferenceTable("sessions", MarketSession, ("exchange", "session_day", "session_kind", "opens_ns"))
INSTRUMENTS = ReferenceTable("instruments", InstrumentState, ("exchange", "venue_symbol"))
CORPORATE_ACTIONS = ReferenceTable("corporate_actions", CorporateAction, ("exchange", "action_id"))
SYMBOL_NAMES = ReferenceTable("symbol_names", SymbolName, ("exchange", "instrument_id", "first_day"))

REFERENCE_TABLES: Mapping[str, ReferenceTable] = {
    table.name: table for table in (SESSIONS, INSTRUMENTS, CORPORATE_ACTIONS, SYMBOL_NAMES)
}
