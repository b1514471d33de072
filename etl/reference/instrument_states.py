"""What the venues' lists say of their instruments, into the table ``instruments`` of every store, with its history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

from msgspec import structs

from etl.adapter.contract import Exchange
from etl.exchanges import load as load_exchange
from etl.model.instruments import Instrument, Instruments
from etl.model.records import SizeUnit
from etl.model.reference import INSTRUMENTS, InstrumentState
from etl.model.times import NS_PER_S
from etl.reference.instruments import known
from etl.reference.recorded import read, record
from etl.settings import Settings

DELISTED = "delisted"
PERPETUAL, FUTURE, OPTION, SPOT, EVENT = "perpetual", "future", "option", "spot", "event"
OPTION_SIDES = {"C": "call", "P": "put"}


def refresh(settings: Settings, now_ns: int) -> dict[str, int]:
    """Bring every store up to the newest lists of the settings' venues; rows added, by store. Raises ``StoreError``."""
    exchanges = [load_exchange(name) for name in settings.venues.names]
    listed = [exchange for exchange in exchanges if exchange.listing_requests()]
    names = [exchange.name for exchange in listed]
    before = {
        (row.exchange, row.venue_symbol): row for row in read(settings, INSTRUMENTS, names, InstrumentState)
    }
    today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
    rows = [row for exchange in listed for row in states(exchange, known(settings, exchange), before, today)]
    return record(settings, INSTRUMENTS, rows, names, now_ns)


def states(
    exchange: type[Exchange],
    instruments: Instruments,
    before: Mapping[tuple[str, str], InstrumentState],
    today: date,
) -> Iterator[InstrumentState]:
    """One for each that the list names, and one for each of ``before`` that it names no more. Of a name that a later
    list brings, and nobody says since when, the day on which it was seen stands for it."""
    has_history = any(name == exchange.name for name, _ in before)
    by_symbol = instruments.by_symbol()
    for symbol, venue_symbol in by_symbol.items():
        if (one := instruments.get(venue_symbol)) is None:
            continue
        row = state_of(exchange, one, symbol)
        former = before.get((exchange.name, venue_symbol))
        if row.listed_day is None:
            seen = today if has_history else None
            row = structs.replace(row, listed_day=former.listed_day if former else seen)
        yield row
    named = set(by_symbol.values())
    for (name, venue_symbol), former in before.items():
        if name == exchange.name and venue_symbol not in named:
            delisted = former.delisted_day or today
            yield structs.replace(former, status=DELISTED, delisted_day=delisted)


def state_of(exchange: type[Exchange], one: Instrument, symbol: str) -> InstrumentState:
    """``symbol`` is the unified one, of whose form the class, the coins, expiry and strike are read."""
    row = InstrumentState(
        exchange.name,
        one.venue_symbol,
        symbol,
        settle=one.settle,
        contract_size=one.contract_size,
        size_unit="" if one.size_unit is SizeUnit.NONE else one.size_unit.name.lower(),
        price_step=one.price_step,
        size_step=one.size_step,
        price_figures=one.price_figures,
        expires_ns=one.expires_ns or None,
        status=one.status,
        listed_day=_day(one.listed_ns),
        alias_of=one.alias_of,
    )
    if exchange.series is not None:
        return structs.replace(row, instrument_class=EVENT)
    return _of_form(row, symbol.split("-"))


def _of_form(row: InstrumentState, parts: list[str]) -> InstrumentState:
    """``BTC-USDT``, ``BTC-USDT-PERP``, ``BTC-USDT-20260925``, ``BTC-USDT-20260925-60000-C``; else as it is."""
    if len(parts) == 2:
        return structs.replace(row, instrument_class=SPOT, base=parts[0], quote=parts[1])
    if len(parts) < 3:
        return row
    base, quote, third = parts[:3]
    row = structs.replace(row, base=base, quote=quote, underlying=base)
    if len(parts) == 3 and third == "PERP":
        return structs.replace(row, instrument_class=PERPETUAL)
    expires_ns = row.expires_ns or _midnight_ns(third)
    if len(parts) == 3 and expires_ns:
        return structs.replace(row, instrument_class=FUTURE, expires_ns=expires_ns)
    if (
        len(parts) == 5
        and expires_ns
        and parts[4] in OPTION_SIDES
        and (strike := _decimal(parts[3])) is not None
    ):
        side = OPTION_SIDES[parts[4]]
        return structs.replace(
            row, instrument_class=OPTION, expires_ns=expires_ns, strike=strike, option_side=side
        )
    return structs.replace(row, base="", quote="", underlying="")


def _midnight_ns(text: str) -> int:
    """Of a day such as 20260925; 0 = it is none."""
    try:
        return int(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * NS_PER_S
    except ValueError:
        return 0


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _day(time_ns: int) -> date | None:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).date() if time_ns else None


def collisions(settings: Settings) -> list[str]:
    """A line for each unified symbol that two instruments of a list would have: the second keeps its venue's name."""
    return [
        f"{name}: {symbol} would be {kept} and {refused}; {refused} keeps its own name"
        for name in settings.venues.names
        for symbol, kept, refused in known(settings, load_exchange(name)).collisions
    ]


def found(rows: Iterable[InstrumentState], text: str) -> list[InstrumentState]:
    """Those in whose names ``text`` occurs, the exact ones first; upper and lower case are the same."""
    wanted = text.upper()
    matching = [row for row in rows if wanted in row.symbol.upper() or wanted in row.venue_symbol.upper()]
    return sorted(
        matching, key=lambda row: (wanted not in (row.symbol.upper(), row.venue_symbol.upper()), row.symbol)
    )
