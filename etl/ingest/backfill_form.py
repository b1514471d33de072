"""What the form of backfill_market_data asks for, as jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from etl.adapter.carried import apart
from etl.ingest.backfill import announce
from etl.ingest.backfill_estimate import Estimate, estimate
from etl.ingest.backfill_jobs import Job, make_job, shown, slices
from etl.ingest.bulk import require_bulk
from etl.model.times import parse_ns
from etl.settings import Settings

JOBS_MAX = 256


def plan_run(
    settings: Settings,
    form: Mapping[str, Any],
    interval_ns: tuple[int, int],
    kinds: Sequence[str],
    name: str,
    jobs_max: int = JOBS_MAX,
) -> list[Job]:
    """What the DAG's run ``name`` fetches: a job for each symbol, or several together, and day; none if ``form`` asks
    for the estimate only.

    ``form`` has venue, symbols, start, end, archive, bulk and dry_run; an empty bound is that of ``interval_ns``. The
    estimate is printed. Spaces around what was typed mean nothing. Raises ``EtlError``: a ``UsageError`` for what no
    retry makes right.
    """
    texts = ((form[name] or "").strip() for name in ("start", "end"))
    bounds = zip(texts, interval_ns, strict=True)
    start_ns, end_ns = (parse_ns(text) if text else bound for text, bound in bounds)
    job = make_job(settings, form["venue"].strip(), form["symbols"], kinds, start_ns, end_ns, form["archive"])
    if form["bulk"]:
        require_bulk(job)
    print_estimates(asyncio.run(estimate(settings, job, form["bulk"])))
    if form["dry_run"]:
        return []
    jobs = slices(job, jobs_max)
    announce(settings, jobs, name)
    return jobs


def print_estimates(estimates: Sequence[Estimate]) -> None:
    for one in estimates:
        print(
            f"{shown(apart(one.symbol)):<12} {one.kind:<10} about {one.requests:>8} requests {one.rows:>12} rows "
            f"{one.seconds:>8.0f} s"
        )
        if one.store_bytes:
            sizes = ", ".join(
                f"{store} {size / (1 << 30):,.1f} GiB" for store, size in one.store_bytes.items()
            )
            print(f"{'':<12} {'':<10} {sizes}")
