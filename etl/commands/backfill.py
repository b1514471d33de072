"""``etl backfill VENUE``: history by request, or from the venue's archive, into the topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from etl.ingest.backfill_jobs import Job
    from etl.settings import Settings

app = typer.Typer()


@app.command()
def backfill(
    venue: Annotated[str, typer.Argument(help="binance, polygon, alpaca, …")],
    start: Annotated[str, typer.Option("--from", help="ISO 8601, UTC where it names no zone")],
    end: Annotated[str, typer.Option("--to", help="Exclusive")],
    symbols: Annotated[str, typer.Option(help="Venue symbols, comma-separated; default: the venue's")] = "",
    kinds: Annotated[
        str, typer.Option(help="trade, quote, bar, agg_trade, book; comma-separated")
    ] = "trade,bar",
    archive: Annotated[bool, typer.Option("--archive", help="The venue's daily files, whole days")] = False,
    bulk: Annotated[
        bool, typer.Option("--bulk", help="Bars of an archive by whole columns, straight into the stores")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would take")] = False,
    live: Annotated[bool, typer.Option("--live", help="The venue itself instead of its simulator")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Fetch a range; a killed run goes on where it was, and what the stores hold already comes to nothing new.

    Example: etl backfill binance --symbols BTCUSDT --kinds trade,bar --from 2026-01-30 --to 2026-01-31
    """
    import asyncio
    import json

    import msgspec

    from etl import settings as settings_module
    from etl.ingest.backfill_estimate import estimate
    from etl.ingest.backfill_form import print_estimates
    from etl.ingest.backfill_jobs import make_job
    from etl.ingest.bulk import require_bulk
    from etl.model.times import parse_ns

    settings = settings_module.load()
    if live:
        settings = settings_module.changed(settings, live=True)
    span = parse_ns(start), parse_ns(end)
    job = make_job(settings, venue, _listed(symbols), _listed(kinds), *span, archive)
    if bulk:
        require_bulk(job)
    estimates = asyncio.run(estimate(settings, job, bulk))
    if not as_json:
        print_estimates(estimates)
    if dry_run:
        if as_json:
            print(json.dumps([msgspec.to_builtins(one) for one in estimates]))
        return
    summary: Any = _run(settings, job, bulk, quiet=as_json)
    if as_json:
        print(json.dumps(msgspec.to_builtins(summary)))
    else:
        print(f"{summary.rows} rows in {summary.pages} pages; {summary.holes} holes declared")


def _run(settings: Settings, job: Job, in_bulk: bool, quiet: bool) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from etl.adapter.carried import apart
    from etl.ingest import backfill, bulk
    from etl.ingest.backfill_coverage import Fetched
    from etl.ingest.backfill_jobs import Chunk, plan, shown

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
    with Progress(*columns, disable=quiet) as bar:
        task = bar.add_task("", total=len(plan(job)))

        def note(chunk: Chunk, fetched: Fetched) -> None:
            text = f"{shown(apart(chunk.symbol))} {chunk.kind}: {fetched.rows} rows"
            bar.update(task, advance=1, description=text)

        run = bulk.run if in_bulk else backfill.run
        return run(settings, job, note)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
