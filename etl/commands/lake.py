"""``etl lake``: the lake's tables, and what is done to them by hand."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module

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
