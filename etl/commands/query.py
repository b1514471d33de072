"""``etl query SQL``: one SELECT on a store, from a terminal or a program."""

from __future__ import annotations

import csv
import sys
import warnings
from enum import Enum
from typing import Annotated, Any

import msgspec
import typer

from etl import settings as settings_module
from etl.errors import UsageError

app = typer.Typer()


class Store(Enum):
    CLICKHOUSE = "clickhouse"
    TIMESCALE = "timescale"
    LAKE = "lake"


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT; - reads it from standard input.")],
    store: Annotated[Store, typer.Option(help="Where to ask.")] = Store.CLICKHOUSE,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON array with an object per row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a line of names.")] = False,
    scan: Annotated[
        bool, typer.Option("--scan", help="Of the lake: only say which files, rows and bytes it would read.")
    ] = False,
) -> None:
    """Ask a store. Decimals are exact, times are UTC; nothing can be written."""
    from etl.stores.query import lake_scan, plain
    from etl.stores.query import query as ask

    if json and as_csv:
        raise UsageError("etl query: --json or --csv, not both")
    settings, text = settings_module.load(), sys.stdin.read() if sql == "-" else sql
    if scan:
        if store is not Store.LAKE:
            raise UsageError("etl query: --scan is of --store lake")
        found = lake_scan(settings, text)
        print(msgspec.json.encode(found).decode() if json else f"lake: at most {found}")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning
        answer = ask(settings, store.value, text)
    rows = [[plain(value) for value in row] for row in answer.rows]
    if json:
        objects = [dict(zip(answer.names, row, strict=True)) for row in rows]
        print(msgspec.json.encode(objects).decode())
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([answer.names, *rows])
    else:
        _print_table(answer.names, rows)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(message, file=sys.stderr)


def _print_table(names: list[str], rows: list[list[object]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(escape, names))
    for row in rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row))
    Console().print(table)
