"""``etl gateway``: records for programs and pages, and the tokens that they ask with."""

from __future__ import annotations

from typing import Annotated

import typer

COLLECT_AFTER_OBJECTS = 100_000
"""Messages come thousands at once and go again, none of them in a cycle."""

app = typer.Typer(help="Records for programs and pages, over websocket and HTTP.")
token_app = typer.Typer(help="Who may ask: create, list, revoke.", no_args_is_help=True)
app.add_typer(token_app, name="token")


@app.callback(invoke_without_command=True)
def gateway(context: typer.Context) -> None:
    """Serve streams and ranges until SIGTERM or Ctrl-C; metrics on ETL_METRICS_PORT."""
    if context.invoked_subcommand is not None:
        return
    import asyncio
    import gc
    import logging
    import signal

    import uvloop

    from etl.gateway.server import serve
    from etl.settings import load

    settings = load()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    gc.set_threshold(COLLECT_AFTER_OBJECTS)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(settings, stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@token_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, for the list")],
    exchanges: Annotated[str, typer.Option(help="Comma-separated; default: all")] = "",
    kinds: Annotated[str, typer.Option(help="Comma-separated; default: all")] = "",
    streams: Annotated[int, typer.Option(help="At once", min=0)] = 100,
    requests: Annotated[int, typer.Option(help="Over HTTP, a minute", min=0)] = 600,
) -> None:
    """Make a token, and print it: it is told this once."""
    import time

    from etl.gateway.tokens import Tokens
    from etl.settings import load

    token = Tokens(load()).create(name, time.time_ns(), _words(exchanges), _words(kinds), streams, requests)
    print(token)


@token_app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """All tokens, by id; never the tokens themselves."""
    import json

    from etl.gateway.tokens import Tokens
    from etl.model.times import text_of
    from etl.settings import load

    for grant in Tokens(load()).all():
        exchanges, kinds = ",".join(grant.exchanges) or "all", ",".join(grant.kinds) or "all"
        if as_json:
            told = {"id": grant.id, "name": grant.name, "exchanges": exchanges, "kinds": kinds,
                    "streams": grant.streams_max, "requests_per_minute": grant.requests_per_minute}  # fmt: skip
            print(json.dumps(told))
        else:
            print(f"{grant.id}  {text_of(grant.created_ns)}  {exchanges}  {kinds}  {grant.name}")


@token_app.command()
def revoke(number: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Take a token back: its streams end within a heartbeat."""
    from etl.gateway.tokens import Tokens
    from etl.settings import load

    print(f"revoked: {Tokens(load()).revoke(number).name}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
