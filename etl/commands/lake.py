"""``etl lake``: the lake's tables, and what is done to them by hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module
from etl.errors import UsageError
from etl.model.times import NS_PER_MS, text_of

app = typer.Typer(help="The lake's tables.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


@app.callback()
def lake() -> None:
    """The lake's tables."""


@app.command()
def migrate(
    delete_former: Annotated[
        bool, typer.Option("--delete-former", help="Delete the old files of a lake that is migrated.")
    ] = False,
    json: Json = False,
) -> None:
    """Rewrite a lake of before 2026-11-30 as Delta tables; a killed run goes on where it was, old files stay."""
    from etl.lake import migrate as migration

    settings = settings_module.load()
    if delete_former:
        count = migration.delete_former(settings)
        print(
            msgspec.json.encode({"deleted": count}).decode() if json else f"lake: {count} old files deleted"
        )
        return
    done = migration.migrate(settings)
    if json:
        print(msgspec.json.encode(done).decode())
        return
    print(
        f"lake: {done.days} days rewritten, {done.days_done_before} were;"
        f" {done.files_before} files became {done.files_after}, {done.rows_before:,} rows {done.rows_after:,}"
    )


@app.command()
def upload(json: Json = False) -> None:
    """Local first: bring the lake at `lake_upload_url` what this one has; what a commit there names leaves this one."""
    from etl.lake.upload import upload as run

    done = run(settings_module.load(), time.time_ns())
    if json:
        print(msgspec.json.encode(done).decode())
        return
    print(f"lake: {done.files} files of {done.bytes:,} bytes uploaded, {done.deleted} old files deleted")


@app.command("export-hive")
def export_hive(
    to: Annotated[str, typer.Option(help="A folder, or a bucket as ETL_LAKE_URL has it.")],
    table: Annotated[str, typer.Option(help="Only this table; raw is left out else.")] = "",
    exchange: Annotated[str, typer.Option(help="Only this exchange.")] = "",
    delete_gone: Annotated[
        bool, typer.Option("--delete-gone", help="Delete the files of days that the lake has no more.")
    ] = False,
    json: Json = False,
) -> None:
    """The tables as folders source=/market=/date= of Parquet, one row per identity; again, only what is new."""
    from etl.lake.hive import export_hive as run

    _require_table(table)
    done = run(settings_module.load(), to, table, exchange, delete_gone)
    if json:
        print(msgspec.json.encode(done).decode())
        return
    print(
        f"lake: {done.days} days; {done.written} files written, {done.kept} were there, {done.deleted} deleted"
    )
    for folder in done.gone:
        print(f"lake: {folder}: {'deleted' if delete_gone else 'stays'}; the lake has that day no more")


@app.command("ls")
def list_tables(json: Json = False) -> None:
    """The tables: files, rows, bytes and dates, from their logs alone."""
    from etl.lake import report
    from etl.lake.catalog import Catalog
    from etl.lake.storage import open_storage

    found = report.tables(Catalog(open_storage(settings_module.load())).read())
    _show(
        ("table", "version", "files", "rows", "bytes", "exchanges", "from", "to"),
        [
            (it.table, it.version, it.files, it.rows, it.bytes, it.exchanges, it.first_date, it.last_date)
            for it in found
        ],
        found,
        json,
    )


@app.command()
def stat(json: Json = False) -> None:
    """Each table and exchange: files, rows, bytes, bytes a row, first and last time, from the logs alone."""
    from etl.lake import report
    from etl.lake.catalog import Catalog
    from etl.lake.storage import open_storage

    found = report.venues(Catalog(open_storage(settings_module.load())).read())
    _show(
        ("table", "exchange", "files", "rows", "bytes", "bytes/row", "first", "last"),
        [
            (
                *(it.table, it.exchange, it.files, it.rows, it.bytes, it.bytes_per_row),
                *(text_of(it.first_time_ns), text_of(it.last_time_ns)),
            )
            for it in found
        ],
        found,
        json,
    )


@app.command()
def cost(json: Json = False) -> None:
    """What the lake costs a month by list price, now and as it grows; `lake_usd_gb_month` is a price of your own."""
    from etl.lake import cost as prices
    from etl.lake.catalog import Catalog
    from etl.lake.storage import open_storage

    settings = settings_module.load()
    state = Catalog(open_storage(settings)).read()
    grown = prices.growth(list(state.files.values()), datetime.now(UTC).date())
    found = prices.costs(grown, settings.lake.usd_gb_month)
    if json:
        print(msgspec.json.encode({"growth": grown, "costs": found}).decode())
        return
    print(f"{grown.bytes:,} bytes, {grown.bytes_a_day:,} more a day (mean of {grown.days} days)")
    _show(
        ("store", "USD/GB/month", "USD/month", "in 30 days", "in 365 days", "price of"),
        [
            (
                *(it.store, it.usd_gb_month, it.usd_month, it.usd_month_in_30_days, it.usd_month_in_365_days),
                f"{it.as_of} {it.source}",
            )
            for it in found
        ],
        found,
        json,
    )


@app.command()
def coverage(
    table: Annotated[str, typer.Option(help="Only this table.")] = "",
    exchange: Annotated[str, typer.Option(help="Only this exchange.")] = "",
    start: Annotated[str, typer.Option("--from", help="From this date on, YYYY-MM-DD.")] = "",
    end: Annotated[str, typer.Option("--to", help="Before this date.")] = "",
    symbols: Annotated[
        str, typer.Option(help="Of these symbols, as of the last `etl compact`: BTC-USDT,ETH-*; * for all.")
    ] = "",
    json: Json = False,
) -> None:
    """What is there of each table, exchange and day: files, rows, bytes, first and last time, symbols."""
    from etl.lake import report
    from etl.lake.catalog import Catalog
    from etl.lake.storage import open_storage

    _require_table(table)
    storage = open_storage(settings_module.load())
    state = Catalog(storage).read()
    if symbols:
        named = report.symbol_coverage(storage, state, symbols.split(","), table, exchange, start, end)
        _show(
            ("exchange", "date", "symbol", "kind", "rows", "bytes", "first", "last", "current"),
            [
                (
                    *(it.exchange, it.date, it.symbol, it.kind, it.rows, it.bytes),
                    *(text_of(it.first_time_ns), text_of(it.last_time_ns), "yes" if it.is_current else "no"),
                )
                for it in named
            ],
            named,
            json,
        )
        return
    found = report.coverage(state, table, exchange, start, end)
    _show(
        ("table", "exchange", "date", "files", "rows", "bytes", "first", "last", "symbols"),
        [
            (
                *(it.table, it.exchange, it.date, it.files, it.rows, it.bytes),
                *(text_of(it.first_time_ns), text_of(it.last_time_ns), f"{it.symbol_min} to {it.symbol_max}"),
            )
            for it in found
        ],
        found,
        json,
    )


@app.command()
def history(table: str, json: Json = False) -> None:
    """The commits of a table, oldest first: what each added and removed, and the offsets that it reached."""
    from etl.lake import report
    from etl.lake.storage import open_storage

    _require_table(table)
    found = list(report.history(open_storage(settings_module.load()), table))
    _show(
        ("version", "time", "operation", "files added", "rows added", "files removed", "progress"),
        [
            (
                *(it.version, text_of(it.time_ms * NS_PER_MS), it.operation),
                *(it.files_added, it.rows_added, it.files_removed),
                ", ".join(f"{name} {value}" for name, value in it.progress.items()),
            )
            for it in found
        ],
        found,
        json,
    )


@app.command()
def vacuum(json: Json = False) -> None:
    """Delete files that were replaced, once their grace is over, and those that no commit ever named, after a day."""
    from etl.lake.compaction import vacuum as run

    deleted = run(settings_module.load(), time.time_ns())
    print(
        msgspec.json.encode({"deleted": deleted}).decode() if json else f"lake: {deleted} old files deleted"
    )


@app.command()
def pin(name: str, json: Json = False) -> None:
    """Keep all tables as they are now under NAME: no vacuum deletes what it needs."""
    from etl.lake.research import Lake

    made = Lake(settings_module.load()).pin(name)
    print(msgspec.json.encode(made).decode() if json else f"lake: {name} keeps {len(made.versions)} tables")


@app.command()
def unpin(name: str) -> None:
    """Give a pin up; a later vacuum deletes what only it kept."""
    from etl.lake.research import Lake

    Lake(settings_module.load()).unpin(name)
    print(f"lake: {name} is given up")


@app.command("pins")
def list_pins(json: Json = False) -> None:
    """The pins: when they were made, up to when they are complete, the version of each table."""
    from etl.lake.pins import pins
    from etl.lake.storage import open_storage

    found = pins(open_storage(settings_module.load()))
    _show(
        ("name", "made", "complete until", "versions"),
        [
            (
                *(
                    it.name,
                    text_of(it.made_ns),
                    text_of(it.complete_until_ns) if it.complete_until_ns else "-",
                ),
                ", ".join(f"{table} {version}" for table, version in it.versions.items()),
            )
            for it in found
        ],
        found,
        json,
    )


def _require_table(table: str) -> None:
    from etl.lake.layout import TABLES

    if table and table not in TABLES:
        raise UsageError(f"lake: {table}: no such table; there are {', '.join(TABLES)}")


def _show(
    heads: Sequence[str], rows: Sequence[Sequence[object]], found: Sequence[object], json: bool
) -> None:
    if json:
        for item in found:
            print(msgspec.json.encode(item).decode())
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else escape(str(cell)) for cell in row))
    Console().print(table)
