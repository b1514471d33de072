"""``etl monitor``: one round of the freshness monitor, as its DAG does every minute."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def monitor(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Look at everything, keep the incidents, send the mails that are due."""
    import time

    import msgspec

    from etl import settings
    from etl.monitoring.loop import run_round

    found = run_round(settings.load(), time.time_ns())
    if as_json:
        print(json.dumps(msgspec.to_builtins(found)))
        return
    for title in found.open:
        print(title)
    print(f"{len(found.open)} open, {found.mails_due} mails due")
