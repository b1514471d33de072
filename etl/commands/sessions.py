"""``etl sessions show | refresh | make``: when markets are open."""

from __future__ import annotations

import sys
import time
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module
from etl.adapter.market_calendar import sessions_until
from etl.errors import UsageError
from etl.exchanges import load as load_exchange
from etl.model.times import NS_PER_S

app = typer.Typer(no_args_is_help=True, help=__doc__)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(
    exchange: str,
    start: Annotated[str, typer.Option(help="First day, ISO; today if left out.")] = "",
    days: Annotated[int, typer.Option(min=1, help="How many days from there on.")] = 7,
    as_json: AsJson = False,
) -> None:
    """The sessions of a venue, a line each, in UTC; no store is asked. The last line says where its calendar ends."""
    first = _day(start) if start else datetime.now(UTC).date()
    for one in sessions_until(load_exchange(exchange).calendar, first, first + timedelta(days=days - 1)):
        if as_json:
            print(msgspec.json.encode(one).decode())
            continue
        opens, closes = (
            datetime.fromtimestamp(ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M")
            for ns in (one.opens_ns, one.closes_ns)
        )
        early = "  closes early" if one.is_early_close else ""
        print(f"{one.day}  {one.session_kind:<15} {opens} to {closes}{early}  ({one.source})")


@app.command()
def refresh(as_json: AsJson = False) -> None:
    """Bring the table `sessions` of every store up to the calendars of the settings' venues."""
    from etl.reference.sessions import refresh as run

    now_ns = time.time_ns()
    added = run(settings_module.load(), datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date(), now_ns)
    print(msgspec.json.encode(added).decode() if as_json else _told(added))


@app.command()
def make(
    calendar: Annotated[str, typer.Argument(help="As exchange_calendars names it: XTKS.")],
    first: Annotated[str, typer.Option(help="First day, ISO.")] = "2014-01-01",
    last: Annotated[str, typer.Option(help="Last day, ISO.")] = "2027-12-31",
) -> None:
    """Print a file for etl/adapter/calendars, out of exchange_calendars; hold it against a second list."""
    from etl.reference.calendar_maker import make as run

    text, warning = run(calendar, _day(first), _day(last))
    print(text, end="")
    if warning:
        print(f"etl: {warning}", file=sys.stderr)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text}: not a day such as 2026-01-31") from None


def _told(added: dict[str, int]) -> str:
    return ", ".join(f"{store}: {rows} rows added" for store, rows in added.items()) or "no store is kept"
