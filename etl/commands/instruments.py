"""``etl instruments search | show | at | refresh | differences``: what is traded where, and what was."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module
from etl.errors import UsageError, VenueError
from etl.model.reference import INSTRUMENTS, SYMBOL_NAMES, InstrumentState, SymbolName
from etl.model.times import parse_ns, text_of
from etl.reference.figis import differences as compare
from etl.reference.instrument_states import found
from etl.reference.recorded import history, read
from etl.reference.refreshed import FAULTS_SHOWN_MAX, refresh_instruments
from etl.reference.symbol_names import day_of, holding, name_of, spans
from etl.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__)
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]
Venue = Annotated[str, typer.Option(help="Only this venue; all of the settings' if left out.")]


@app.command()
def search(text: str, exchange: Venue = "", as_json: AsJson = False) -> None:
    """Instruments in whose names the text occurs, a line each."""
    settings = settings_module.load()
    rows = read(settings, INSTRUMENTS, _exchanges(settings, exchange), InstrumentState)
    for row in found(rows, text):
        _print(row, as_json)


@app.command()
def show(exchange: str, symbol: str, as_json: AsJson = False) -> None:
    """What was told of an instrument, the oldest first, and since when; by its unified or its venue symbol."""
    rows = [
        (recorded_ns, row)
        for recorded_ns, row in _history(exchange)
        if symbol in (row.symbol, row.venue_symbol)
    ]
    if not rows:
        raise UsageError(f"{exchange}: no instrument {symbol} is known: run etl instruments refresh")
    for recorded_ns, row in rows:
        _print(row, as_json, recorded_ns)


@app.command()
def at(exchange: str, symbol: str, moment: str, as_json: AsJson = False) -> None:
    """What was known of an instrument at a time (ISO, UTC); of a stock, whose name it was then, and its name today."""
    until_ns = parse_ns(moment)
    if print_names(settings_module.load(), exchange, symbol, until_ns, as_json):
        return
    rows = [
        (recorded_ns, row)
        for recorded_ns, row in _history(exchange)
        if symbol in (row.symbol, row.venue_symbol) and recorded_ns <= until_ns
    ]
    if not rows:
        raise UsageError(f"{exchange}: nothing was known of {symbol} at {moment}")
    recorded_ns, row = rows[-1]
    _print(row, as_json, recorded_ns)


@app.command()
def refresh(as_json: AsJson = False) -> None:
    """Bring the table `instruments` of every store up to the lists that are known; those of stocks are fetched, and
    their ISINs and FIGIs."""
    settings = settings_module.load()
    done = refresh_instruments(settings, time.time_ns())
    told = ", ".join(f"{store}: {rows} rows added" for store, rows in done.rows_added.items())
    print(msgspec.json.encode(done.rows_added).decode() if as_json else told)
    if done.faults:
        raise VenueError("; ".join(done.faults[:FAULTS_SHOWN_MAX]))


@app.command()
def differences(
    first: Annotated[str, typer.Argument()] = "polygon",
    second: Annotated[str, typer.Argument()] = "openfigi",
    as_json: AsJson = False,
) -> None:
    """Where two vendors do not tell the same FIGI of a stock; exit code 1 where there is any."""
    rows = read(settings_module.load(), INSTRUMENTS, [first, second], InstrumentState)
    different = compare(rows, first, second)
    for one in different:
        line = f"{one.symbol:<10} {'  '.join(f'{vendor}: {figi}' for vendor, figi in one.said.items())}"
        print(msgspec.json.encode(one).decode() if as_json else line)
    if different:
        raise typer.Exit(1)


def print_names(settings: Settings, exchange: str, symbol: str, moment_ns: int, as_json: bool) -> bool:
    """Whether anything is known of names of this venue's instruments."""
    day, known = day_of(moment_ns), list(spans(read(settings, SYMBOL_NAMES, [exchange], SymbolName)))
    held = holding(known, symbol, day)
    if held is None:
        if any(span.symbol == symbol for span in known):
            raise UsageError(f"{exchange}: nobody that is known was called {symbol} on {day}")
        return False
    current = name_of(known, held.instrument_id, day_of(time.time_ns()))
    until = f"until {held.until_day}" if held.until_day else "on"
    if as_json:
        print(msgspec.json.encode({**msgspec.to_builtins(held), "current_symbol": current}).decode())
    else:
        print(
            f"{exchange:<16} {symbol:<26} {held.instrument_id:<22} from {held.first_day} {until}, "
            f"today {current or 'without a name'}"
        )
    return True


def _history(exchange: str) -> list[tuple[int, InstrumentState]]:
    return history(settings_module.load(), INSTRUMENTS, [exchange], InstrumentState)


def _exchanges(settings: Settings, exchange: str) -> list[str]:
    return [exchange] if exchange else list(settings.venues.names)


def _print(row: InstrumentState, as_json: bool, recorded_ns: int = 0) -> None:
    if as_json:
        told = msgspec.to_builtins(row) | ({"recorded_ns": recorded_ns} if recorded_ns else {})
        print(msgspec.json.encode(told).decode())
        return
    since = f"since {text_of(recorded_ns)}  " if recorded_ns else ""
    facts = {
        "tick": row.price_step,
        "lot": row.size_step,
        "contract": row.contract_size,
        "settle": row.settle,
        "expires": text_of(row.expires_ns) if row.expires_ns else "",
        "status": row.status,
        "listed": row.listed_day or "",
        "delisted": row.delisted_day or "",
        "isin": row.isin,
        "figi": row.figi,
    }
    told_facts = "  ".join(f"{name} {value}" for name, value in facts.items() if value)
    print(
        f"{since}{row.exchange:<16} {row.symbol:<26} {row.venue_symbol:<22} {row.instrument_class:<10} {told_facts}"
    )
