"""``etl status``: what the running platform does now."""

from __future__ import annotations

import time
from typing import Annotated

import typer

app = typer.Typer()

RATE_WINDOW_S = 1.0


@app.command()
def status(
    state: Annotated[str, typer.Option(help="State directory of the running platform.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Parts, venues and sinks of the running `etl up`, with rates over one second."""
    import msgspec
    from rich.console import Console

    from etl import settings as settings_module
    from etl.embedded.status import read_status
    from etl.monitoring import processes, terminal

    settings = settings_module.load()
    if state:
        settings = settings_module.changed(settings, state_dir=state)
    parts = read_status(settings.state_path).parts
    before = processes.take(parts, settings.bind_host)
    time.sleep(RATE_WINDOW_S)
    snapshot = processes.between(before, processes.take(parts, settings.bind_host))
    if json:
        document = {"parts": parts, "venues": snapshot.venues, "sinks": snapshot.sinks}
        print(msgspec.json.encode(document).decode())
    else:
        Console().print(terminal.tables(parts, snapshot))
