"""``etl actions refresh | show | differences``: splits, dividends and mergers, as the vendors tell them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module
from etl.model.times import NS_PER_S
from etl.reference.corporate_actions import DAYS_BACK, known, refresh_all
from etl.reference.corporate_actions import differences as compare

app = typer.Typer(no_args_is_help=True, help=__doc__)
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]


@app.command()
def refresh(
    days_back: Annotated[
        int, typer.Option(min=1, help="How far to go back; years, the first time.")
    ] = DAYS_BACK,
) -> None:
    """Ask the settings' vendors, and add what is new to every store."""
    now_ns = time.time_ns()
    today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
    print(msgspec.json.encode(refresh_all(settings_module.load(), today, now_ns, days_back)).decode())


@app.command()
def show(symbol: str, as_json: AsJson = False) -> None:
    """What is known of a stock, the oldest first, a line for each vendor's row."""
    settings = settings_module.load()
    for one in known(settings, settings.venues.names):
        if one.symbol != symbol:
            continue
        if as_json:
            print(msgspec.json.encode(one).decode())
            continue
        shares = f"{one.shares_before}:{one.shares_after}" if one.shares_after is not None else ""
        cash = f"{one.cash_amount} {one.currency}" if one.cash_amount is not None else ""
        facts = " ".join(filter(None, (shares, cash, one.new_symbol)))
        print(f"{one.effective_day}  {one.exchange:<12} {one.action_kind:<16} {facts}")


@app.command()
def differences(
    first: Annotated[str, typer.Argument()] = "polygon",
    second: Annotated[str, typer.Argument()] = "alpaca",
    as_json: AsJson = False,
) -> None:
    """Where two vendors do not say the same of a stock's day; exit code 1 where there is any."""
    found = compare(known(settings_module.load(), [first, second]), first, second)
    for one in found:
        said = "  ".join(f"{vendor}: {text or 'nothing'}" for vendor, text in one.said.items())
        line = f"{one.effective_day}  {one.symbol:<10} {one.action_kind:<16} {said}"
        print(msgspec.json.encode(one).decode() if as_json else line)
    if found:
        raise typer.Exit(1)
