"""The rules. Each is one short named function that is true where its input is bad.

A rule reads the fields of a *view*: of one record (numbers) or of a batch (NumPy arrays); the arithmetic is the
same, so the same function serves both. An absent number is NaN and an absent bound is infinite, so that every
comparison with it is false. Prices and sizes are float64 here and only here: a rule compares, it never stores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct

from etl.model.codes import Code
from etl.model.records import Severity
from etl.validation.views import INFINITY, NAN

View = Any
"""``views.py``: TradeView, QuoteView, BookView, BarView, of scalars or of arrays."""

INT64_MAX = (1 << 63) - 1
TICK_TOLERANCE = 1e-6
"""Share of a step by which float division may miss a whole number."""
PRICE_MIN = 1e-18
"""Of what has a logarithm."""
VOLUME_TOLERANCE = 1e-3
"""Venues round a bar's volumes; units and scales that are wrong lie further off."""
FUNDING_AHEAD_NS = 31 * 86_400_000_000_000
ROUNDING = 1.5 * 2.0**52
"""Added and taken away it rounds a float64 below 2**51 to a whole number, in numbers and arrays alike."""


class Rule(Struct, frozen=True):
    code: Code
    severity: Severity
    bad: Callable[[View], Any]

    @property
    def name(self) -> str:
        return self.bad.__name__


# --- times ------------------------------------------------------------------------------------------------


def event_time_missing(v: View) -> Any:
    return v.event_time_declared & (v.event_time_ns == 0)


def event_time_before_market(v: View) -> Any:
    return (v.event_time_ns != 0) & (v.event_time_ns < v.event_time_min_ns)


def event_time_in_future(v: View) -> Any:
    return v.event_time_ns > v.event_time_max_ns


def time_implausible(v: View) -> Any:
    published, took = v.publish_time_ns, v.participant_time_ns
    early = (published != 0) & (published < v.event_time_min_ns) | (took != 0) & (took < v.event_time_min_ns)
    return early | (published > v.event_time_max_ns) | (took > v.event_time_max_ns)


def clock_skew(v: View) -> Any:
    return (v.event_time_ns > v.skew_max_ns) & (v.event_time_ns <= v.event_time_max_ns)


def event_time_stale(v: View) -> Any:
    return (v.event_time_ns != 0) & (v.event_time_ns < v.stale_before_ns)


# --- prices and sizes -------------------------------------------------------------------------------------


def price_missing(v: View) -> Any:
    return v.price != v.price


def price_not_positive(v: View) -> Any:
    return v.price <= 0


def price_implausible(v: View) -> Any:
    return v.price > v.price_max


def price_off_tick(v: View) -> Any:
    if v.price_step is NAN:
        return False
    is_off = _is_off(v.price, v.price_step if v.price_figures is INFINITY else _step_at(v))
    if v.price_step_former is NAN:
        return is_off
    return is_off & ((v.event_time_ns >= v.price_step_since_ns) | _is_off(v.price, v.price_step_former))


def _is_off(price: Any, step: Any) -> Any:
    steps = price / step
    return abs(steps - ((steps + ROUNDING) - ROUNDING)) > TICK_TOLERANCE * (1 + steps * 1e-9)


def _step_at(v: View) -> Any:
    """A price of few significant figures has a step that grows with it, up to 1: whole numbers are always allowed."""
    whole_digits = np.floor(np.log10(np.maximum(v.price, PRICE_MIN))) + 1
    return np.maximum(v.price_step, np.minimum(1.0, 10.0 ** (whole_digits - v.price_figures)))


def price_deviates(v: View) -> Any:
    low = (v.price < v.price_soft_low) & (v.price >= v.price_hard_low)
    return low | (v.price > v.price_soft_high) & (v.price <= v.price_hard_high)


def price_far_out(v: View) -> Any:
    return (v.price > 0) & ((v.price < v.price_hard_low) | (v.price > v.price_hard_high))


def size_missing(v: View) -> Any:
    return v.size != v.size


def size_negative(v: View) -> Any:
    return v.size < 0


def size_zero(v: View) -> Any:
    return v.size == 0


def size_odd(v: View) -> Any:
    return (v.size > v.size_soft_max) & (v.size <= v.size_hard_max)


def size_implausible(v: View) -> Any:
    return v.size > v.size_hard_max


# --- quotes -----------------------------------------------------------------------------------------------


def quote_price_not_positive(v: View) -> Any:
    is_zero = ((v.bid == 0) & (v.bid_size > 0)) | ((v.ask == 0) & (v.ask_size > 0))
    return (v.bid < 0) | (v.ask < 0) | is_zero & (v.price_may_be_zero == False)  # noqa: E712  also of an array


def quote_price_implausible(v: View) -> Any:
    return (v.bid > v.price_max) | (v.ask > v.price_max)


def quote_size_negative(v: View) -> Any:
    return (v.bid_size < 0) | (v.ask_size < 0)


def quote_size_implausible(v: View) -> Any:
    return (v.bid_size > v.size_hard_max) | (v.ask_size > v.size_hard_max)


def quote_empty(v: View) -> Any:
    return (v.bid != v.bid) & (v.ask != v.ask)


def quote_crossed(v: View) -> Any:
    return (v.bid > v.ask) & (v.ask > 0)


def quote_locked(v: View) -> Any:
    return (v.bid == v.ask) & (v.ask > 0)


# --- books ------------------------------------------------------------------------------------------------


def book_price_not_positive(v: View) -> Any:
    return v.price_min <= 0


def book_price_implausible(v: View) -> Any:
    return v.price_top > v.price_max


def book_size_negative(v: View) -> Any:
    return v.size_min < 0


def book_size_implausible(v: View) -> Any:
    return v.size_top > v.size_hard_max


def book_uneven(v: View) -> Any:
    return v.uneven


def book_crossed(v: View) -> Any:
    return v.is_snapshot & (v.best_bid >= v.best_ask)


# --- bars -------------------------------------------------------------------------------------------------


def bar_price_missing(v: View) -> Any:
    missing_open_or_close = (v.open != v.open) | (v.close != v.close)
    return missing_open_or_close | (v.high != v.high) | (v.low != v.low)


def bar_price_not_positive(v: View) -> Any:
    return (v.open <= 0) | (v.high <= 0) | (v.low <= 0) | (v.close <= 0)


def bar_price_implausible(v: View) -> Any:
    return v.high > v.price_max


def ohlc_inconsistent(v: View) -> Any:
    above = (v.high < v.open) | (v.high < v.close) | (v.high < v.low)
    return above | (v.low > v.open) | (v.low > v.close)


def volume_negative(v: View) -> Any:
    return v.size < 0


def interval_missing(v: View) -> Any:
    return v.interval_ns == 0


def bar_misaligned(v: View) -> Any:
    return (v.interval_ns > 0) & (v.event_time_ns % (v.interval_ns + (v.interval_ns == 0)) != 0)


def bar_average_negative(v: View) -> Any:
    return v.vwap < 0


def bar_volume_negative(v: View) -> Any:
    return (v.quote_volume < 0) | (v.taker_buy_volume < 0)


def volume_inconsistent(v: View) -> Any:
    """A volume in the quote's unit is some price between low and high times the volume."""
    least, most = v.low * v.size * (1 - VOLUME_TOLERANCE), v.high * v.size * (1 + VOLUME_TOLERANCE)
    sound = (v.size >= 0) & (v.low > 0) & (v.low <= v.high)  # else another rule says so
    return sound & ((v.taker_buy_volume > v.size) | (v.quote_volume < least) | (v.quote_volume > most))


# --- observations -----------------------------------------------------------------------------------------


def observation_undated(v: View) -> Any:
    return v.observation_day != v.observation_day


# --- what comes seldom -------------------------------------------------------------------------------------


def bands_not_positive(v: View) -> Any:
    return (v.limit_down < 0) | (v.limit_up < 0)


def bands_reversed(v: View) -> Any:
    return v.limit_down > v.limit_up


def mark_not_positive(v: View) -> Any:
    return (v.mark_price <= 0) | (v.index_price < 0)


def mark_implausible(v: View) -> Any:
    return (v.mark_price > v.price_max) | (v.index_price > v.price_max)


def open_interest_negative(v: View) -> Any:
    return v.open_interest < 0


def funding_implausible(v: View) -> Any:
    return (v.funding_rate > 1) | (v.funding_rate < -1)


def funding_time_implausible(v: View) -> Any:
    next_ns = v.next_funding_time_ns
    return (next_ns != 0) & (
        (next_ns < v.event_time_min_ns) | (next_ns > v.event_time_max_ns + FUNDING_AHEAD_NS)
    )
