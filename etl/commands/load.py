"""``etl load timescale``: bring TimescaleDB up to what the topic holds now."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module

app = typer.Typer(help="Drain the normalized topic into a store, up to now.", no_args_is_help=True)


@app.callback()
def load() -> None:
    """Drain the normalized topic into a store, up to now."""


@app.command()
def timescale(
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Exactly once: rows and offsets in one transaction, so that it may be killed and run again."""
    from etl.sinks.load import load_timescale

    loaded = load_timescale(settings_module.load())
    if json:
        print(msgspec.json.encode(loaded).decode())
        return
    tables = ", ".join(f"{rows:,} {table}" for table, rows in sorted(loaded.rows.items())) or "nothing new"
    print(f"timescale: {tables}; {loaded.refused} refused, {loaded.days_refreshed} days of candles refreshed")
