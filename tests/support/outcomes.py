"""What a parser gave, for tests that expect nothing but records."""

from __future__ import annotations

from collections.abc import Iterable

from etl.adapter.contract import Outcome
from etl.model.records import Record


def records_of(outcomes: Iterable[Outcome]) -> list[Record]:
    """All of ``outcomes``, each of which must be a record."""
    records = []
    for outcome in outcomes:
        assert isinstance(outcome, Record), outcome
        records.append(outcome)
    return records
