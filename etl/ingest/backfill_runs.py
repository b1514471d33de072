"""Which numbers came: completeness is a question about the set of them, not about their order. Pure.

A ``Run`` is numbers without a hole (ids, or bars counted since 1970), with the times of its ends. Numbers that arrive
in order are one run; those of any other order become few when they are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

PENDING_MAX = 65_536
"""Runs that are kept before they are merged."""


class Run(NamedTuple):
    """``first`` and ``last`` belong to it."""

    first: int
    last: int
    first_ns: int
    last_ns: int


class Runs:
    """Takes one number at a time. What is merged grows with the holes, not with the numbers."""

    def __init__(self) -> None:
        self._pending: list[Run] = []
        self._first = self._last = self._first_ns = self._last_ns = -1

    def add(self, number: int, time_ns: int) -> None:
        if number != self._last + 1 or self._first < 0:
            self._close()
            self._first, self._first_ns = number, time_ns
        self._last, self._last_ns = number, time_ns

    def merged(self) -> list[Run]:
        self._close()
        self._pending = merged(self._pending)
        return list(self._pending)

    def _close(self) -> None:
        if self._first >= 0:
            self._pending.append(Run(self._first, self._last, self._first_ns, self._last_ns))
            self._first = -1
        if len(self._pending) >= PENDING_MAX:
            self._pending = merged(self._pending)


def merged(runs: Iterable[Run]) -> list[Run]:
    """In order, without neighbours that touch or overlap."""
    found: list[Run] = []
    for run in sorted(runs):
        before = found[-1] if found else None
        if before is None or run.first > before.last + 1:
            found.append(run)
        elif run.last > before.last:
            found[-1] = Run(before.first, run.last, before.first_ns, run.last_ns)
    return found


def between(runs: Iterable[Run]) -> Iterator[Run]:
    """What no run has, between the times of the runs around; ``runs`` are merged."""
    for before, after in pairwise(runs):
        times_ns = sorted((before.last_ns, after.first_ns))
        yield Run(before.last + 1, after.first - 1, *times_ns)


def absent(runs: Iterable[Run], first: int, last: int) -> list[Run]:
    """What no run has of the numbers from ``first`` to ``last``, without times; ``runs`` are merged."""
    found = []
    for run in runs:
        if run.first > last:
            break
        if run.first > first:
            found.append(Run(first, run.first - 1, 0, 0))
        first = max(first, run.last + 1)
    return [*found, Run(first, last, 0, 0)] if first <= last else found


def holds(runs: Iterable[Run], first: int, last: int) -> bool:
    """Whether all numbers from ``first`` to ``last`` are in ``runs``, which are merged."""
    return any(run.first <= first and last <= run.last for run in runs)
