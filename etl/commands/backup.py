"""``etl backup``: everything, as of one moment, into a folder or bucket."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def backup(
    to: Annotated[str, typer.Option("--to", help="An empty folder, or s3://bucket/prefix, gs:// or az://.")],
    only: Annotated[
        str, typer.Option(help="Of state, airflow, clickhouse, timescale, lake, topics; all if left out.")
    ] = "",
) -> None:
    """Back up stores, lake, topics, state folder and Airflow, while they run: docs/backup.md."""
    from etl import settings as settings_module
    from etl.backup.backup import back_up
    from etl.up.servers import with_servers

    settings = settings_module.load()
    words = tuple(filter(None, map(str.strip, only.split(","))))
    manifest = with_servers(
        settings, lambda: back_up(settings, to, words, lambda line: print(line, flush=True))
    )
    size = sum(each.bytes for each in manifest.objects)
    print(f"{to}: {len(manifest.objects):,} objects, {size:,} bytes, of {', '.join(manifest.contents)}")
    if settings.airflow.database_url and not words:
        print(
            "without Airflow's metadata: ETL_AIRFLOW_DATABASE_URL is a server with backups of its own (pg_dump)"
        )
