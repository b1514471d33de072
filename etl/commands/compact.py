"""``etl compact``: few large files instead of many small ones."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module

app = typer.Typer()


@app.command()
def compact(
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Merge the lake's files of each day, one row per identity; replaced files go after a grace time."""
    from etl.lake.compaction import compact as run

    compacted = run(settings_module.load(), time.time_ns())
    if json:
        print(msgspec.json.encode(compacted).decode())
        return
    print(
        f"lake: {compacted.days} days, {compacted.files_before} files became {compacted.files_after};"
        f" {compacted.deleted} old files deleted"
    )
