"""Declared gaps and what of them has not come since: arithmetic of intervals. Pure, bounded."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from etl.model.records import Gap
from etl.sequencing.spans import Span

HOLES_MAX = 256
"""Declared gaps of one channel whose ids are still looked for; beyond, the oldest is no longer."""


class Hole(Struct):
    gap: Gap
    missing: list[Span]


class Holes:
    """Of one channel."""

    __slots__ = ("declared",)

    def __init__(self) -> None:
        self.declared: list[Hole] = []

    def add(self, gap: Gap, span: Span) -> None:
        self.declared.append(Hole(gap, [span]))
        if len(self.declared) > HOLES_MAX:
            del self.declared[0]

    def missing(self, gap: Gap) -> Sequence[Span]:
        """What has not come of ``gap``; nothing where it is not (or no longer) looked for."""
        return next((hole.missing for hole in self.declared if hole.gap.record_key == gap.record_key), ())

    def forget(self, gap: Gap) -> None:
        self.declared = [hole for hole in self.declared if hole.gap.record_key != gap.record_key]

    def fill(self, span: Span) -> Sequence[Gap]:
        """Take ``span`` out of what is missing; the gaps of which nothing is missing any more."""
        filled = []
        for hole in self.declared:
            rest = without(hole.missing, span)
            if rest != hole.missing:
                hole.missing = rest
                if not rest:
                    filled.append(hole.gap)
        if filled:
            self.declared = [hole for hole in self.declared if hole.missing]
        return filled


def without(spans: Sequence[Span], taken: Span) -> list[Span]:
    """``spans`` less the ids of ``taken``."""
    rest = []
    for first, last in spans:
        if taken[1] < first or last < taken[0]:
            rest.append((first, last))
            continue
        if first < taken[0]:
            rest.append((first, taken[0] - 1))
        if taken[1] < last:
            rest.append((taken[1] + 1, last))
    return rest
