"""``etl export``: bring the Parquet lake up to what the topic holds now."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module

app = typer.Typer()


@app.command()
def export(
    until: Annotated[
        datetime | None,
        typer.Option(help="Only what was published before this time (UTC); now, if left out."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Write the normalized topic into the Parquet lake, up to now; a killed export goes on where it was."""
    from etl.sinks.export import export as run

    until_ns = None if until is None else int(until.replace(tzinfo=UTC).timestamp()) * 1_000_000_000
    settings = settings_module.load()
    exported = run(settings, until_ns)
    if settings.lake.upload_url:
        from etl.lake.upload import upload

        upload(settings, time.time_ns())
    if json:
        print(msgspec.json.encode(exported).decode())
        return
    tables = ", ".join(f"{rows:,} {table}" for table, rows in sorted(exported.rows.items())) or "nothing new"
    print(f"lake: {tables}; {exported.files} files, {exported.bytes:,} bytes; {exported.refused} refused")
