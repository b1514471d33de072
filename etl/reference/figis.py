"""FIGIs of the stocks that other vendors tell of, into ``instruments`` of every store as the source's own rows.

What a vendor says of a stock is that vendor's row and stays so; ``differences`` tells where two do not say the same.
Tickers are asked for as they are today: of every stock that a list names, of names that an instrument has now, and of
the feeds' default symbols. Shares of which the files of an exchange tell the ISIN are asked for by that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from etl.adapter.contract import Exchange, Request
from etl.adapter.reference import Question
from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.model.records import Kind
from etl.model.reference import INSTRUMENTS, SYMBOL_NAMES, InstrumentState, SymbolName
from etl.reference.instrument_states import DELISTED
from etl.reference.recorded import read, record
from etl.reference.symbol_names import spans
from etl.settings import Settings
from etl.sources.access import VenueAccess


class Difference(Struct, frozen=True):
    """What two vendors say of a stock's FIGI."""

    symbol: str
    said: dict[str, str]


def refresh_all(settings: Settings, now_ns: int) -> tuple[dict[str, int], list[str]]:
    """``refresh`` for each of the settings' venues that tells FIGIs: how many it told, by venue, and a line for each
    question that was answered with a fault."""
    exchanges = [load_exchange(venue) for venue in settings.venues.names]
    told, faults = {}, list[str]()
    for source in exchanges:
        if source.figis_path:
            access = VenueAccess.from_settings(settings, source)
            told[source.name], lines = refresh(settings, access, questions(settings, exchanges), now_ns)
            faults += lines
    return told, faults


def refresh(
    settings: Settings, access: VenueAccess, asked: Sequence[Question], now_ns: int
) -> tuple[int, list[str]]:
    """Ask for all, and add what is new to every store; what is known no more is withdrawn, what was answered with a
    fault stays as it is. Raises ``VenueError`` for an answer that is none, and ``StoreError``."""
    name = access.exchange.name
    rows, answered, faults = list[InstrumentState](), set[str](), list[str]()
    for question, told in asyncio.run(_fetch(access, asked)):
        if isinstance(told, str):
            faults.append(f"{name}: {question.key}: {told}")
            continue
        answered.add(question.key)
        if told is not None:
            rows.append(told)
    record(settings, INSTRUMENTS, rows, [name], now_ns, lambda row: row.venue_symbol in answered)
    return len(rows), faults


def questions(settings: Settings, exchanges: Iterable[type[Exchange]]) -> list[Question]:
    """Each ticker once, whoever has it, and each ISIN of a market under the first of its symbols. Raises
    ``StoreError``."""
    found: dict[str, Question] = {}
    for exchange in exchanges:
        of_exchange = (
            _by_isin(settings, exchange) if exchange.listed_in_files else _by_ticker(settings, exchange)
        )
        for one in sorted(of_exchange, key=lambda one: one.symbol):
            found.setdefault(one.key, one)
    return [found[key] for key in sorted(found)]


def _by_isin(settings: Settings, exchange: type[Exchange]) -> Iterator[Question]:
    for row in read(settings, INSTRUMENTS, [exchange.name], InstrumentState):
        if row.isin:
            yield Question(row.symbol, "", row.market, row.isin)


def _by_ticker(settings: Settings, exchange: type[Exchange]) -> Iterator[Question]:
    market = exchange.ticker_market
    if not market:
        return
    listed = read(settings, INSTRUMENTS, [exchange.name], InstrumentState)
    names = spans(read(settings, SYMBOL_NAMES, [exchange.name], SymbolName))
    symbols = {row.symbol for row in listed if row.status != DELISTED}
    symbols |= {one.symbol for one in names if one.until_day is None}
    for symbol in symbols.union(exchange.default_symbols):
        yield Question(symbol, symbol, market)


def differences(rows: Iterable[InstrumentState], first: str, second: str) -> list[Difference]:
    """Where both tell a FIGI of what is listed under one symbol, and not the same."""
    told: dict[str, dict[str, str]] = {first: {}, second: {}}
    for row in rows:
        if row.figi and row.status != DELISTED and row.exchange in told:
            told[row.exchange][row.symbol] = row.figi
    return [
        Difference(symbol, {vendor: figis[symbol] for vendor, figis in told.items()})
        for symbol in sorted(told[first].keys() & told[second].keys())
        if told[first][symbol] != told[second][symbol]
    ]


async def _fetch(
    access: VenueAccess, asked: Sequence[Question]
) -> list[tuple[Question, InstrumentState | str | None]]:
    exchange = access.exchange
    found: list[tuple[Question, InstrumentState | str | None]] = []
    async with access:
        for place in range(0, len(asked), exchange.figis_max):
            some = asked[place : place + exchange.figis_max]
            body = exchange.figis_body(some)
            answer = await access.history.fetch(Request(exchange.figis_path, Kind.STATUS, "", body=body))
            try:
                found += zip(some, exchange.read_figis(answer.payload, some), strict=True)
            except ValueError as error:
                raise VenueError(f"{exchange.name}: no answer about FIGIs: {error}") from None
    return found
