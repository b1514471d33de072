"""``etl convert``: what the lake holds in the form that another program reads."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Form(StrEnum):
    HFTBACKTEST = "hftbacktest"


@app.command()
def convert(
    form: Annotated[Form, typer.Argument(help="of which program")],
    out: Annotated[Path, typer.Argument(help="file to write, .npz")],
    venue: Annotated[str, typer.Option(help="as in the settings: binance")],
    symbol: Annotated[str, typer.Option(help="BTC-USDT")],
    from_: Annotated[str, typer.Option("--from", help="ISO 8601, UTC where it names no zone")],
    to: Annotated[str, typer.Option("--to", help="the first moment that is not wanted")],
    channel: Annotated[str, typer.Option(help="of the book, where the symbol has several")] = "",
    book: Annotated[bool, typer.Option("--book/--no-book", help="trades alone")] = True,
    lake: Annotated[str, typer.Option(help="folder or address; else that of the settings")] = "",
) -> None:
    """Trades and book of a symbol for hftbacktest: an array of events, in the venue's order and in ours."""
    from etl.lake import Lake
    from etl.lake.hftbacktest import events, write

    found = events(Lake(lake or None), venue, symbol, from_, to, channel=channel, with_book=book)
    write(out, found)
    print(f"{out}: {len(found):,} events")
