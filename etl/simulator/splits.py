"""Corporate actions of stocks that are not traded here: the prices of those that are do not jump."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from etl.model.times import NS_PER_S
from etl.simulator.words import Template


class StockSplit(Struct, frozen=True):
    """``before`` shares became ``after``."""

    symbol: str
    before: int
    after: int
    age_days: int


SPLITS = (StockSplit("SPLT", 1, 4, 10), StockSplit("RVRS", 10, 1, 20))


class StockDividend(Struct, frozen=True):
    """``amount`` dollars a share, as text."""

    symbol: str
    amount: str
    age_days: int


DIVIDENDS = (StockDividend("SPLT", "0.25", 5), StockDividend("RVRS", "1.035", 15))


class StockExchange(Struct, frozen=True):
    """For ``before`` shares of ``symbol`` come ``after`` of ``other``."""

    symbol: str
    other: str
    before: str
    after: str
    age_days: int


SPIN_OFFS = (StockExchange("PRNT", "CHLD", "4", "1", 12),)
MERGERS = (StockExchange("TRGT", "PRNT", "1", "0.5", 8),)


def exchanges_between(
    row: str, of: Iterable[StockExchange], now_ns: int, from_day: str, to_day: str
) -> list[str]:
    """Those of these days, oldest first, each as ``row`` has it (``$day $symbol $other $before $after``)."""
    today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
    template, found = Template(row), []
    for one in sorted(of, key=lambda one: -one.age_days):
        day = (today - timedelta(days=one.age_days)).isoformat()
        if from_day <= day <= to_day:
            words = {"symbol": one.symbol, "other": one.other, "before": one.before, "after": one.after}
            found.append(template({"day": day, **words}))
    return found


def dividends_between(row: str, now_ns: int, from_day: str, to_day: str) -> list[str]:
    """The dividends of these days, oldest first, each as ``row`` has it (``$day $symbol $amount``)."""
    today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
    template, found = Template(row), []
    for one in sorted(DIVIDENDS, key=lambda one: -one.age_days):
        day = (today - timedelta(days=one.age_days)).isoformat()
        if from_day <= day <= to_day:
            found.append(template({"day": day, "symbol": one.symbol, "amount": one.amount}))
    return found


def splits_between(row: str, now_ns: int, from_day: str, to_day: str) -> list[tuple[StockSplit, str]]:
    """The splits of these days, oldest first, each as ``row`` has it (``$day $symbol $before $after``)."""
    today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
    template, found = Template(row), []
    for split in sorted(SPLITS, key=lambda split: -split.age_days):
        day = (today - timedelta(days=split.age_days)).isoformat()
        if from_day <= day <= to_day:
            words = {"day": day, "symbol": split.symbol, "before": split.before, "after": split.after}
            found.append((split, template(words)))
    return found
