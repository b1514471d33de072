"""What the rules look at: one record's numbers, or the arrays of a batch. Built in one place for each kind.

A view's fields are float64 (prices, sizes; NaN = absent), int (times) or bool; in a batch each is an array or a
number that holds for all rows.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from msgspec import Struct

Number = Any

NAN = float("nan")
INFINITY = float("inf")
_FIRST_DAY = date(1970, 1, 1)


def day_number(text: str) -> float:
    """Days from 1970 on of ``YYYY-MM-DD``, NaN of another text."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return NAN
    return float((day - _FIRST_DAY).days) if day.isoformat() == text else NAN


TimeValues = tuple[Number, Number, Number, Number, Number, Number, Number, Number]
"""The fields of ``Times``, in their order."""


class Times(Struct, frozen=True, gc=False):
    """The bounds are absolute: the connection's clock offset is already in ``skew_max`` and ``stale_before``."""

    event_time_ns: Number
    event_time_declared: Number
    event_time_min_ns: Number
    event_time_max_ns: Number
    skew_max_ns: Number
    stale_before_ns: Number
    publish_time_ns: Number
    participant_time_ns: Number


class TradeView(Times, frozen=True, gc=False):
    price: Number
    size: Number
    price_max: Number
    size_soft_max: Number
    size_hard_max: Number
    price_step: Number = NAN
    price_figures: Number = INFINITY
    price_soft_low: Number = -INFINITY
    price_soft_high: Number = INFINITY
    price_hard_low: Number = -INFINITY
    price_hard_high: Number = INFINITY
    price_step_former: Number = NAN
    price_step_since_ns: Number = 0


class QuoteView(Times, frozen=True, gc=False):
    bid: Number
    bid_size: Number
    ask: Number
    ask_size: Number
    price_max: Number
    size_hard_max: Number
    price_may_be_zero: Number = False
    """An option's bid may be worth nothing; elsewhere a price of zero with a size is corrupt."""


class BookView(Times, frozen=True, gc=False):
    price_min: Number
    price_top: Number
    size_min: Number
    size_top: Number
    best_bid: Number
    best_ask: Number
    is_snapshot: Number
    uneven: Number
    price_max: Number
    size_hard_max: Number


class BarView(Times, frozen=True, gc=False):
    open: Number
    high: Number
    low: Number
    close: Number
    size: Number
    interval_ns: Number
    price_max: Number
    size_hard_max: Number
    vwap: Number = NAN
    quote_volume: Number = NAN
    taker_buy_volume: Number = NAN


class CorrectionView(Times, frozen=True, gc=False):
    price: Number
    size: Number


class StatusView(Times, frozen=True, gc=False):
    limit_down: Number
    limit_up: Number


class ObservationView(Times, frozen=True, gc=False):
    observation_day: Number
    """Days since 1970, NaN where the date is none."""


class StatsView(Times, frozen=True, gc=False):
    mark_price: Number
    index_price: Number
    open_interest: Number
    funding_rate: Number
    next_funding_time_ns: Number
    price_max: Number
