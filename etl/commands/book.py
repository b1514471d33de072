"""``etl book VENUE SYMBOL --at TIME``: the order book as it was, from ClickHouse or the lake."""

from __future__ import annotations

from enum import Enum
from itertools import zip_longest
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module
from etl.model.times import parse_ns, text_of

app = typer.Typer()


class Store(Enum):
    CLICKHOUSE = "clickhouse"
    LAKE = "lake"


@app.command()
def book(
    venue: Annotated[str, typer.Argument(help="The feed, as in binance_usdm.")],
    symbol: Annotated[str, typer.Argument(help="The unified symbol, as in BTC-USDT.")],
    at: Annotated[str, typer.Option(help="ISO 8601, UTC where it names no zone, or integer ns.")],
    store: Annotated[Store, typer.Option(help="Where to ask.")] = Store.CLICKHOUSE,
    channel: Annotated[str, typer.Option(help="Which book, where the symbol has several.")] = "",
    levels: Annotated[int, typer.Option(min=0, help="Of each side, 0 = all.")] = 10,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print an object, sizes and prices as exact text.")
    ] = False,
) -> None:
    """The book at an instant: the last snapshot before it with the changes since, and what is known to be missing."""
    from etl.stores.book import BookAt, book_at

    at_ns = int(at) if at.isdecimal() and at.isascii() else parse_ns(at)
    found: BookAt = book_at(settings_module.load(), store.value, venue, symbol, at_ns, channel, levels)
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    print(f"{venue} {symbol} {found.channel}, as of {text_of(found.time_ns)}, update {found.sequence or '-'}")
    for (bid, bid_size), (ask, ask_size) in zip_longest(found.bids, found.asks, fillvalue=("", "")):
        print(f"{bid_size:>20} {bid:>16}   {ask:<16} {ask_size:<20}".rstrip())
    for doubt in found.doubts:
        print(f"not whole: {doubt}")
