"""Which name an instrument had, and since when, into ``symbol_names`` of every store; a name belongs to one at a time.

Names come from vendors that tell an instrument's own history (Polygon's ticker events, with its FIGI), and from those
that tell changes alone (Alpaca's): these are joined to chains, in the order of their days. A name that two instruments
would have on one day is refused: the second goes into no store, and the refresh fails once all else is done.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import pairwise
from urllib.parse import quote

from msgspec import Struct

from etl.adapter.contract import Exchange, Request
from etl.adapter.market_calendar import NEW_YORK, calendar_of
from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.model.records import Kind
from etl.model.reference import CORPORATE_ACTIONS, SYMBOL_NAMES, CorporateAction, SymbolName
from etl.model.times import NS_PER_S
from etl.reference.recorded import read, record
from etl.settings import Settings
from etl.sources.access import VenueAccess
from etl.sources.history import Refused

SINCE_EVER = date(1900, 1, 1)
"""Of a name whose beginning nobody tells."""
NAME_CHANGE = "name_change"
REFUSED_SHOWN_MAX = 5
UNKNOWN_SYMBOL = "404"
"""The status of an answer about a name that is nobody's."""


class Span(Struct, frozen=True):
    """A name is an instrument's on the days [first_day, until_day), ``None`` = on."""

    instrument_id: str
    symbol: str
    first_day: date
    until_day: date | None

    def meets(self, other: Span) -> bool:
        return (self.until_day is None or other.first_day < self.until_day) and (
            other.until_day is None or self.first_day < other.until_day
        )

    def holds(self, day: date) -> bool:
        return self.first_day <= day and (self.until_day is None or day < self.until_day)


def spans(names: Iterable[SymbolName]) -> Iterator[Span]:
    """Those of one venue; as the view ``symbol_spans``."""
    for instrument_id, rows in _by_instrument(names).items():
        rows.sort(key=lambda row: row.first_day)
        for row, later in pairwise([*rows, None]):
            assert row is not None
            if row.symbol:
                yield Span(instrument_id, row.symbol, row.first_day, later.first_day if later else None)


def symbol_at(names: Sequence[SymbolName], symbol: str, told_day: date, wanted_day: date) -> str | None:
    """What the instrument that was called ``symbol`` on ``told_day`` is called on ``wanted_day``; "" = nothing,
    ``None`` = nobody knows it."""
    known = list(spans(names))
    held = holding(known, symbol, told_day)
    return None if held is None else name_of(known, held.instrument_id, wanted_day)


def holding(known: Iterable[Span], symbol: str, day: date) -> Span | None:
    """Whose ``symbol`` was on that day."""
    return next((one for one in known if one.symbol == symbol and one.holds(day)), None)


def name_of(known: Iterable[Span], instrument_id: str, day: date) -> str:
    """ "" = it had none on that day."""
    its_own = (one for one in known if one.instrument_id == instrument_id and one.holds(day))
    return next((one.symbol for one in its_own), "")


def _by_instrument(names: Iterable[SymbolName]) -> dict[str, list[SymbolName]]:
    found: dict[str, list[SymbolName]] = defaultdict(list)
    for name in names:
        found[name.instrument_id].append(name)
    return found


def day_of(time_ns: int) -> date:
    """New York's."""
    return datetime.fromtimestamp(time_ns // NS_PER_S, calendar_of(NEW_YORK).zone).date()


def accepted(
    names: Iterable[SymbolName], known: Iterable[SymbolName] = ()
) -> tuple[list[SymbolName], list[str]]:
    """The rows of instruments whose names are theirs alone, and a line for each that is refused. What a store has goes
    first, then whoever had a name first."""
    had = {name.instrument_id for name in known}
    order = sorted(
        _by_instrument(names).items(),
        key=lambda item: (item[0] not in had, min(name.first_day for name in item[1])),
    )
    kept: list[SymbolName] = []
    refused: list[str] = []
    taken: dict[str, list[Span]] = defaultdict(list)
    for instrument_id, rows in order:
        own = list(spans(rows))
        clash = next(
            ((one, other) for one in own for other in taken[one.symbol] if one.meets(other)),
            None,
        )
        if clash is not None:
            one, other = clash
            day = max(one.first_day, other.first_day)
            refused.append(
                f"{rows[0].exchange}: {one.symbol} would be {other.instrument_id} and {instrument_id} on {day}; "
                f"{instrument_id} is left out"
            )
            continue
        kept += rows
        for one in own:
            taken[one.symbol].append(one)
    return kept, refused


def chained(exchange: str, changes: Iterable[CorporateAction]) -> list[SymbolName]:
    """Instruments of changes of names alone, each linked to the one before. Of the changes of a day, one whose name
    another one of that day takes goes first."""
    found: list[SymbolName] = []
    holder: dict[str, str] = {}
    by_day: dict[date, list[CorporateAction]] = defaultdict(list)
    for change in changes:
        if change.action_kind == NAME_CHANGE and change.new_symbol and change.new_symbol != change.symbol:
            by_day[change.effective_day].append(change)
    for day, of_day in sorted(by_day.items()):
        moved: dict[str, str] = {}
        for change in sorted(of_day, key=lambda one: one.action_id):
            instrument_id = holder.pop(change.symbol, "")
            if not instrument_id:
                instrument_id = f"{change.symbol}@{day}"
                found.append(
                    SymbolName(exchange, instrument_id, SINCE_EVER, change.symbol, origin=NAME_CHANGE)
                )
            found.append(SymbolName(exchange, instrument_id, day, change.new_symbol, origin=NAME_CHANGE))
            moved[change.new_symbol] = instrument_id
        holder |= moved
    return found


def refresh_all(settings: Settings, now_ns: int, symbols: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """``refresh`` for each of the settings' venues that tells names: rows added by store, by venue. Raises
    ``VenueError`` at the end for names that are refused, and ``StoreError``."""
    added, refused = {}, []
    for exchange in map(load_exchange, settings.venues.names):
        if exchange.names_path or exchange.actions_paths:
            access = VenueAccess.from_settings(settings, exchange)
            added[exchange.name], lines = refresh(settings, access, now_ns, symbols)
            refused += lines
    if refused:
        raise VenueError("; ".join(refused[:REFUSED_SHOWN_MAX]))
    return added


def refresh(
    settings: Settings, access: VenueAccess, now_ns: int, symbols: Sequence[str] = ()
) -> tuple[dict[str, int], list[str]]:
    """Ask a venue, and add what is new to every store; how many rows each got, and a line for each instrument that is
    refused. ``symbols``: of these too, beside those that are known and the venue's own. Raises ``VenueError`` for an
    answer that is none, and ``StoreError``."""
    exchange = access.exchange
    known = read(settings, SYMBOL_NAMES, [exchange.name], SymbolName)
    if exchange.names_path:
        asked = sorted({*symbols, *exchange.default_symbols, *(one.symbol for one in known if one.symbol)})
        told = asyncio.run(_fetch(access, asked))
        told += _untold(known, {one.instrument_id for one in told})
    else:
        told = chained(exchange.name, read(settings, CORPORATE_ACTIONS, [exchange.name], CorporateAction))
    names, refused = accepted(told, known)
    return record(settings, SYMBOL_NAMES, names, [exchange.name], now_ns, _is_told(names)), refused


def _untold(known: Iterable[SymbolName], told: Collection[str]) -> list[SymbolName]:
    """Of instruments that no answer is about: they stay as they are."""
    return [name for name in known if name.instrument_id not in told]


def _is_told(names: Iterable[SymbolName]) -> Callable[[SymbolName], bool]:
    """What a vendor tells of an instrument is all of it: a row that it names no more holds no more."""
    told = {name.instrument_id for name in names}
    return lambda row: row.instrument_id in told


async def _fetch(access: VenueAccess, symbols: Iterable[str]) -> list[SymbolName]:
    """What the venue tells of who has these names now; of two answers about one instrument the later."""
    found: dict[str, list[SymbolName]] = {}
    exchange: type[Exchange] = access.exchange
    async with access:
        for symbol in symbols:
            request = Request(exchange.names_path.format(symbol=quote(symbol, safe="")), Kind.STATUS, symbol)
            try:
                answer = await access.history.fetch(request)
            except Refused as refusal:
                if refusal.fault.code == UNKNOWN_SYMBOL:
                    continue
                raise
            try:
                rows = exchange.read_names(answer.payload)
            except ValueError as error:
                raise VenueError(f"{exchange.name}: no names of {symbol}: {error}") from None
            for row in rows:
                found[row.instrument_id] = list(rows)
    return [row for rows in found.values() for row in rows]
