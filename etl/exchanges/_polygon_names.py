"""Polygon's ticker events: all names of the instrument that has a ticker now, each from its day until the next.

``{"results":{"name":"Meta Platforms, Inc.","composite_figi":"BBG000MM2P62","cik":"0001326801","events":[
{"type":"ticker_change","date":"2022-06-09","ticker_change":{"ticker":"META"}},
{"type":"ticker_change","date":"2012-05-18","ticker_change":{"ticker":"FB"}}]},"status":"OK"}``. A ticker that
others had before is here with its present holder alone: their days lie before its first.

https://massive.com/docs/rest/stocks/corporate-actions/ticker-events
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec
from msgspec import Struct

from etl.adapter.fields import Name
from etl.model.reference import SymbolName

PATH = "/vX/reference/tickers/{symbol}/events?types=ticker_change"
ORIGIN = "ticker_events"


class _Ticker(Struct):
    ticker: Name


class _Event(Struct):
    date: date
    ticker_change: _Ticker | None = None


class _Holder(Struct):
    name: str = ""
    composite_figi: str = ""
    cik: str = ""
    events: list[_Event] = []


class _Answer(Struct):
    results: _Holder


def read_names(exchange: str, payload: bytes) -> Iterable[SymbolName]:
    """Raises ``ValueError`` for what is none, and for events of nobody: without an id two of a name are one."""
    holder = msgspec.json.decode(payload, type=_Answer).results
    instrument_id = holder.composite_figi or (f"cik:{holder.cik}" if holder.cik else "")
    rows = [
        SymbolName(
            exchange,
            instrument_id,
            event.date,
            event.ticker_change.ticker,
            holder.composite_figi,
            holder.name,
            ORIGIN,
        )
        for event in sorted(holder.events, key=lambda event: event.date)
        if event.ticker_change is not None
    ]
    if rows and not instrument_id:
        raise ValueError(f"{rows[-1].symbol}: neither FIGI nor CIK")
    return rows
