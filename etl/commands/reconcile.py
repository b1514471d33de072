"""``etl reconcile``: what the simulated venues sent against what each store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etl import settings as settings_module
from etl.reconcile.report import Report

app = typer.Typer()

COLUMNS = (
    "frames_sent",
    "events_sent",
    "raw",
    "normalized",
    "quarantined",
    "ignored",
    "clickhouse",
    "timescale",
    "lake",
    "missed",
    "missed_undeclared",
    "lost",
    "duplicated",
    "physical_duplicates",
)
VENUES_ABREAST = 3
"""More to a table, and the 80 columns of a log cut names and figures short."""


@app.command()
def reconcile(
    report: Annotated[Path | None, typer.Option(help="write the report to this file too")] = None,
    duration: Annotated[float, typer.Option(help="seconds of streaming, for events_per_s")] = 0.0,
    stores: Annotated[str, typer.Option(help="which stores to judge; default: those that are kept")] = "",
    json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Compare by identity; exit code 1 unless nothing is lost, doubled, or missing without a declared gap."""
    import msgspec

    from etl.errors import UsageError
    from etl.reconcile import reconcile as reconciliation
    from etl.reconcile.holdings import STORES
    from etl.reconcile.report import write_report

    settings = settings_module.load()
    names = tuple(part.strip() for part in stores.split(",") if part.strip()) or settings.stores
    unknown = set(names) - set(STORES)
    if unknown:
        raise UsageError(f"--stores {', '.join(sorted(unknown))}: there are {', '.join(STORES)}")
    found = reconciliation.reconcile(settings, names, duration)
    if report is not None:
        write_report(found, report)
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        _print_table(found)
    raise typer.Exit(0 if found.ok else 1)


def _print_table(found: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    names = list(found.venues)
    for start in range(0, len(names), VENUES_ABREAST):
        venues = {name: found.venues[name] for name in names[start : start + VENUES_ABREAST]}
        table = Table("", *venues, box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for name in COLUMNS:
            table.add_row(name, *(f"{getattr(venue, name):,}" for venue in venues.values()))
        table.add_row("session", *(venue.session for venue in venues.values()))
        console.print(table)
    for name, latency in found.latency_ms.items():
        if latency.p50 is not None and latency.p99 is not None:
            console.print(f"{name}: p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms")
    for line in found.notes:
        console.print(line, highlight=False)
    for reason in found.reasons():
        console.print(f"not ok: {reason}", style="red", highlight=False)
    for example in found.examples:
        identity = f"{example.exchange} {example.symbol} {example.kind} {example.record_key}"
        console.print(f"  {example.what}: {identity}", highlight=False)
    if found.ok:
        console.print(
            "ok: nothing lost, nothing doubled, nothing missing without a declared gap", style="green"
        )
