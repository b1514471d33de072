"""``etl restore``: a backup into stores that are empty, or may be replaced."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def restore(
    source: Annotated[str, typer.Option("--from", help="Where `etl backup` wrote.")],
    only: Annotated[
        str, typer.Option(help="Of state, airflow, clickhouse, timescale, lake, topics; all if left out.")
    ] = "",
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Give up what the stores, the lake and the state folder hold now."),
    ] = False,
) -> None:
    """Restore a backup; nothing else may run meanwhile: docs/backup.md."""
    from etl import settings as settings_module
    from etl.backup.restore import restore as restore_backup
    from etl.embedded.state_lock import is_in_use
    from etl.errors import UsageError
    from etl.up.servers import with_servers

    settings = settings_module.load()
    if is_in_use(settings.state_path):
        raise UsageError(f"{settings.state_path} is in use by `etl up`: stop it first")
    words = tuple(filter(None, map(str.strip, only.split(","))))
    with_servers(
        settings,
        lambda: restore_backup(settings, source, words, replace, lambda line: print(line, flush=True)),
    )
