"""The end of a run under attack: every store catches up and is judged by identity against the venues' truth."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from etl.bench.report import say
from etl.embedded.supervisor import Supervisor
from etl.reconcile.reconcile import reconcile
from etl.reconcile.report import Report
from etl.settings import Settings
from etl.up import closing

ZERO = ("lost", "duplicated", "missed_undeclared", "unaccounted")
"""The figures of a verdict that must be 0."""


def is_good(result: Mapping[str, Any]) -> bool:
    return not any(result[name] for name in ZERO)


async def reconciled(
    settings: Settings, supervisor: Supervisor, environment: Mapping[str, str], seconds: float
) -> Report:
    """Stop the venues, let every store catch up, compare. Raises ``EtlError``."""
    say("the venues stop")
    await closing.stop_venues(settings)
    await closing.caught_up(settings, supervisor.states.values)
    await closing.load_by_command(settings, environment)
    return await asyncio.to_thread(reconcile, settings, duration_s=seconds)


def verdict(report: Report, seconds: float) -> dict[str, Any]:
    """The figures of all venues together; examples of what is wrong are said."""
    for example in report.examples:
        say(f"{example.what}: {example.exchange} {example.kind} {example.symbol} {example.record_key}")
    venues = report.venues.values()
    events = sum(venue.events_sent for venue in venues)
    undeclared = sum(venue.missed_undeclared for venue in venues)
    return {
        "events": events,
        "seconds": round(seconds, 1),
        "offered_per_s": round(events / seconds),
        "lost": sum(venue.lost for venue in venues),
        "duplicated": sum(venue.duplicated for venue in venues),
        "missed_undeclared": undeclared,
        "unaccounted": sum(venue.unaccounted for venue in venues),
        "lost_by_store": _by_store(venue.store_lost for venue in venues),
        "duplicated_by_store": _by_store(venue.store_duplicated for venue in venues),
        "declared_missing": sum(venue.missed for venue in venues) - undeclared,
        "physical_duplicates": sum(venue.physical_duplicates for venue in venues),
        "ahead_of_raw": sum(venue.ahead_of_raw for venue in venues),
    }


def _by_store(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
