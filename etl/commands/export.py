"""``etl export``: bring the Parquet lake up to what the topic holds now."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module

app = typer.Typer()


@app.command()
def export(
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Write the normalized topic into the Parquet lake, up to now; a killed export goes on where it was."""
    from etl.export import export as run

    exported = run(settings_module.load())
    if json:
        print(msgspec.json.encode(exported).decode())
        return
    tables = ", ".join(f"{rows:,} {table}" for table, rows in sorted(exported.rows.items())) or "nothing new"
    print(f"lake: {tables}; {exported.files} files, {exported.bytes:,} bytes; {exported.refused} refused")
