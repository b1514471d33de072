"""``etl migrate``: bring the tables of the stores to this version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Annotated

import typer

from etl import settings as settings_module

app = typer.Typer(help="Create or update the tables; safe to repeat.")


class Store(Enum):
    CLICKHOUSE = "clickhouse"
    TIMESCALE = "timescale"


@app.command()
def migrate(
    store: Annotated[
        Store | None, typer.Argument(help="Only this store; those that are kept if left out.")
    ] = None,
    print_for_cluster: Annotated[
        str,
        typer.Option(
            metavar="CLUSTER", help="Print ClickHouse's for this cluster, and apply nothing: docs/scale.md"
        ),
    ] = "",
) -> None:
    """Apply the numbered files in sql/ that were not applied yet."""
    from etl.stores.migrate import migrate_clickhouse, migrate_timescale

    settings = settings_module.load()
    if print_for_cluster:
        _print(settings, print_for_cluster)
        return
    wanted = {
        name: apply
        for name, apply in ((Store.CLICKHOUSE, migrate_clickhouse), (Store.TIMESCALE, migrate_timescale))
        if store is name or (store is None and settings.keeps(name.value))
    }
    # at once, for a new platform waits for both
    with ThreadPoolExecutor(len(Store)) as threads:
        running = {name: threads.submit(apply, settings) for name, apply in wanted.items()}
    for name, done in running.items():
        print(f"{name.value}: {', '.join(done.result()) or 'up to date'}")


def _print(settings: settings_module.Settings, cluster: str) -> None:
    from etl.stores.clickhouse_http import in_database, parse_address
    from etl.stores.cluster import for_cluster
    from etl.stores.migrate import SQL_DIR, read_migrations

    address = parse_address(settings.clickhouse_address)
    for statement in for_cluster(read_migrations(SQL_DIR / "clickhouse"), cluster, address.database):
        print(in_database(statement, address))
