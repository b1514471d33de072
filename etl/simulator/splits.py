"""Splits of stocks that are not traded here: the prices of those that are do not jump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from etl.model.times import NS_PER_S


class Split(Struct, frozen=True):
    """``before`` shares became ``after``."""

    symbol: str
    before: int
    after: int
    age_days: int


SPLITS = (Split("SPLT", 1, 4, 10), Split("RVRS", 10, 1, 20))


def splits_between(now_ns: int, from_day: str, to_day: str) -> list[tuple[str, Split]]:
    """The splits of these days, each with its day, oldest first."""
    today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
    dated = sorted(((today - timedelta(days=split.age_days)).isoformat(), split) for split in SPLITS)
    return [(day, split) for day, split in dated if from_day <= day <= to_day]
