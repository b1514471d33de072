"""Whether a venue's sequence has started again: newer records that keep coming with older ids. Pure, bounded."""

from __future__ import annotations

from etl.model.records import Record
from etl.sequencing.spans import Span

RESET_MESSAGES = 3
"""Newer messages with older, rising ids that prove it: fewer may be doubles or latecomers with a wrong time."""


class Restart:
    """The evidence of one channel."""

    __slots__ = ("_backward_ids",)

    def __init__(self) -> None:
        self._backward_ids: list[tuple[Record, Span]] = []

    def __bool__(self) -> bool:
        return bool(self._backward_ids)

    def add(self, record: Record, span: Span) -> bool:
        """Take a newer record with older ids; whether that is proof."""
        if self._backward_ids and span[1] <= self._backward_ids[-1][1][1]:
            self._backward_ids.clear()
        self._backward_ids.append((record, span))
        return len(self._backward_ids) >= RESET_MESSAGES

    def take(self) -> list[tuple[Record, Span]]:
        """The records with which the new sequence begins."""
        begun, self._backward_ids = self._backward_ids, []
        return begun

    def clear(self) -> None:
        self._backward_ids.clear()
