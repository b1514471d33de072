"""``etl stream VENUE``: the worker of one venue."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def stream(
    venue: Annotated[str, typer.Argument(help="binance, polygon, alpaca, …")],
    symbols: Annotated[str, typer.Option(help="Venue symbols, comma-separated; default: the venue's")] = "",
    channels: Annotated[str, typer.Option(help="Channels, comma-separated; default: the venue's")] = "",
    shard: Annotated[str, typer.Option(help="i/n: this worker's share of the symbols, from 0")] = "0/1",
    live: Annotated[bool, typer.Option("--live", help="The venue itself instead of its simulator")] = False,
) -> None:
    """Websocket to Kafka until SIGTERM or Ctrl-C; metrics on ETL_METRICS_PORT."""

    from etl.errors import UsageError
    from etl.exchanges import has_stream
    from etl.ingest.worker import run
    from etl.settings import changed, load

    if not has_stream(venue):
        raise UsageError(
            f"{venue} has no stream: it is asked by etl backfill, or by the jobs that refresh its tables"
        )
    settings = load()
    if live:
        settings = changed(settings, live=True)
    run(settings, venue, symbols=_listed(symbols), channels=_listed(channels), shard=shard)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
