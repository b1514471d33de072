"""``etl symbols refresh | show``: names that instruments had, and whose a name was."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module
from etl.model.reference import SYMBOL_NAMES, SymbolName
from etl.reference.recorded import read
from etl.reference.symbol_names import refresh_all, spans

app = typer.Typer(no_args_is_help=True, help=__doc__)
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]


@app.command()
def refresh(
    symbols: Annotated[
        str, typer.Option(help="Names of today to ask of, beside those that are known; comma-separated.")
    ] = "",
) -> None:
    """Ask the settings' vendors, and add what is new to every store."""
    asked = [text.strip() for text in symbols.split(",") if text.strip()]
    print(msgspec.json.encode(refresh_all(settings_module.load(), time.time_ns(), asked)).decode())


@app.command()
def show(exchange: str, symbol: str, as_json: AsJson = False) -> None:
    """Who had a name, and every other name of theirs; a line each, the oldest first."""
    known = list(spans(read(settings_module.load(), SYMBOL_NAMES, [exchange], SymbolName)))
    holders = {span.instrument_id for span in known if span.symbol == symbol}
    for span in sorted(known, key=lambda span: (span.instrument_id, span.first_day)):
        if span.instrument_id not in holders:
            continue
        if as_json:
            print(msgspec.json.encode(span).decode())
        else:
            print(f"{span.instrument_id:<22} {span.symbol:<10} {span.first_day} {span.until_day or ''}")
