"""What a day of a venue is worth, and the score that says so in one number. Pure."""

from __future__ import annotations

from datetime import date

from msgspec import Struct

HALF_AT_GAPS_PER_MILLION = 1_000.0
"""So many lasting gaps a million events halve a day's score."""


class Quality(Struct, frozen=True, kw_only=True):
    """A venue's day, UTC. ``gaps`` leave starts aside; ``share_repaired`` is of those that a history can fill; latency
    is from receipt to storing, of streamed events, ``None`` where none was streamed; ``quarantined`` events are still
    held back; ``incidents`` were opened on that day. ``coverage`` and ``share_repaired`` are between 0 and 1."""

    exchange: str
    day: date
    events: int
    gaps: int
    gaps_per_million: float
    repaired: int
    open: int
    source_holes: int
    unrepairable: int
    share_repaired: float
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    coverage: float
    quarantined: int = 0
    incidents: int = 0
    score: float = 0.0


def score(one: Quality) -> float:
    """100 × coverage × share of events not held back × 1 / (1 + lasting gaps per million / 1,000).

    Lasting gaps are open or unrepairable: what the platform lost. A hole at the source is the venue's own, and costs
    its coverage alone. Latency is no part: it is the network's and the store's, not the data's.
    """
    if not one.events:
        return 0.0
    clean = one.events / (one.events + one.quarantined)
    lasting_per_million = 1e6 * (one.open + one.unrepairable) / one.events
    return round(100 * one.coverage * clean / (1 + lasting_per_million / HALF_AT_GAPS_PER_MILLION), 2)
