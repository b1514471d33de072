"""``etl migrate``: bring the tables of the stores to this version."""

from __future__ import annotations

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
) -> None:
    """Apply the numbered files in sql/ that were not applied yet."""
    from etl.stores.migrate import migrate_clickhouse, migrate_timescale

    settings = settings_module.load()
    for name, apply in ((Store.CLICKHOUSE, migrate_clickhouse), (Store.TIMESCALE, migrate_timescale)):
        if store is name or (store is None and settings.keeps(name.value)):
            applied = apply(settings)
            print(f"{name.value}: {', '.join(applied) or 'up to date'}")
