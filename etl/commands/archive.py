"""``etl archive raw``: the raw frames into the lake, so that it outlives the topic's retention."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module

app = typer.Typer(help="Keep a topic in the lake, byte for byte.", no_args_is_help=True)


@app.callback()
def archive() -> None:
    """Keep a topic in the lake, byte for byte."""


@app.command()
def raw(
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Write the raw topic into the lake up to now; a killed run goes on where it was."""
    from etl.sinks.export import archive as run

    archived = run(settings_module.load())
    if json:
        print(msgspec.json.encode(archived).decode())
        return
    print(f"tape: {archived.messages:,} frames in {archived.files} files, {archived.bytes:,} bytes")
