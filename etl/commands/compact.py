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
    """Merge the lake's files of each day, one row per identity, then make its coverage and its bars of trades anew
    where something came; replaced files go after a grace time."""
    from etl.lake.compaction import compact as run
    from etl.lake.derived import derive
    from etl.lake.upload import of_destination

    settings = of_destination(settings_module.load())
    compacted, derived = run(settings, time.time_ns()), derive(settings)
    if json:
        print(msgspec.json.encode({**msgspec.to_builtins(compacted), "derived": derived}).decode())
        return
    print(
        f"lake: {compacted.days} days, {compacted.files_before} files became {compacted.files_after};"
        f" {compacted.deleted} old files deleted; coverage and bars of {derived.days} days made"
    )
