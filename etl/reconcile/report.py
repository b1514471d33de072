"""What a reconciliation says. The words are those of contract.md, section 6."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

FAULTS = ("lost", "duplicated", "missed_undeclared", "unaccounted", "unknown_frames")
"""Counts of a venue that must be 0."""


class VenueReport(Struct, kw_only=True):
    """Counts of one venue. ``frames_sent`` and ``raw`` are frames, all else events. ``unexpected`` are records that
    no venue sent; ``store_lost`` and ``store_duplicated`` say where."""

    session: str = "synthetic"
    frames_sent: int = 0
    events_sent: int = 0
    raw: int = 0
    normalized: int = 0
    quarantined: int = 0
    ignored: int = 0
    clickhouse: int = 0
    timescale: int = 0
    lake: int = 0
    missed: int = 0
    missed_undeclared: int = 0
    lost: int = 0
    duplicated: int = 0
    physical_duplicates: int = 0
    unexpected: int = 0
    unknown_frames: int = 0
    """Frames on the raw topic that are not, byte for byte, what the venue sent."""
    ahead_of_raw: int = 0
    """Records whose frame never reached the raw topic: a kill fell between the two. They are not missed."""
    unaccounted: int = 0
    """events_sent - missed - quarantined - ignored - normalized; anything but 0 is a fault."""
    declared_excess_ids: int = 0
    """Ids of trades that a gap declares missing and that no venue gave out, source holes aside; and ids of a book's
    changes that a gap declares missing and that came."""
    gaps: dict[str, int] = {}
    """Declared gaps by their last state."""
    store_lost: dict[str, int] = {}
    store_duplicated: dict[str, int] = {}
    kinds: dict[str, int] = {}
    """Distinct identities sent, by kind."""
    missed_kinds: dict[str, int] = {}


class Percentiles(Struct):
    p50: float | None = None
    p99: float | None = None


class Example(Struct):
    """An identity that shows a fault. ``what`` is ``lost in …``, ``duplicated in …`` or ``missed_undeclared``."""

    exchange: str
    what: str
    kind: str
    symbol: str
    record_key: str


class Report(Struct, kw_only=True):
    ok: bool
    duration_s: float
    venues: dict[str, VenueReport]
    latency_ms: dict[str, Percentiles]
    events_per_s: float
    stores: list[str] = []
    examples: list[Example] = []
    notes: list[str] = []

    def reasons(self) -> list[str]:
        """Why it is not ok, one line each."""
        return [
            f"{name}: {getattr(venue, field):,} {field}"
            for name, venue in self.venues.items()
            for field in FAULTS
            if getattr(venue, field)
        ]


def write_report(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
