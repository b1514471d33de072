"""What proves that a rule of ``etl/validation/rules.py`` is silent, rule by rule: comparisons of the numbers that
it looks at. Pure.

As in a rule, a number that is absent is NaN; every comparison but ``PRESENT`` holds of it. A kind of which one rule has
no proof here has no fast way at all (``proofs_of``). ``_check.c`` compares, and proves the rules of times by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from etl.validation import rules
from etl.validation.specs import ValidationSpec


class How(IntEnum):
    """By the numbers of ``enum how`` in ``_check.c``."""

    LESS = 0
    AT_MOST = 1
    PRESENT = 2
    DIFFERENT = 3
    ON_STEP = 4


NUMBERS = (
    "zero", "infinite", "price_max", "size_soft_max", "size_hard_max", "price", "size",
    "price_step", "price_figures", "price_soft_low", "price_soft_high", "price_hard_low", "price_hard_high",
    "bid", "bid_size", "ask", "ask_size",
    "price_min", "price_top", "size_min", "size_top", "best_bid", "best_ask", "uneven",
    "open", "high", "low", "close", "vwap", "quote_volume", "taker_buy_volume", "interval_ns", "misaligned",
    "quote_least", "quote_most",
)  # fmt: skip
"""The fields of the views, in the order of ``enum number`` in ``_step.h``; and what the rules make of them."""

Comparison = tuple[How, str, str]
_LESS, _AT_MOST, _PRESENT, _DIFFERENT, _ON_STEP = How


def _present(*names: str) -> tuple[Comparison, ...]:
    return tuple((_PRESENT, name, name) for name in names)


def _positive(*names: str) -> tuple[Comparison, ...]:
    return tuple((_LESS, "zero", name) for name in names)


def _not_negative(*names: str) -> tuple[Comparison, ...]:
    return tuple((_AT_MOST, "zero", name) for name in names)


def _at_most(bound: str, *names: str) -> tuple[Comparison, ...]:
    return tuple((_AT_MOST, name, bound) for name in names)


def _within(least: str, name: str, most: str) -> tuple[Comparison, ...]:
    return (_AT_MOST, least, name), (_AT_MOST, name, most)


PROOFS: Mapping[Callable[[Any], Any], tuple[Comparison, ...]] = {
    # ``is_on_time`` in _check.c: the record's times are within all bounds of the spec and of the clock
    rules.event_time_missing: (),
    rules.event_time_before_market: (),
    rules.event_time_in_future: (),
    rules.time_implausible: (),
    rules.clock_skew: (),
    rules.event_time_stale: (),
    # prices and sizes
    rules.price_missing: _present("price"),
    rules.price_not_positive: _positive("price"),
    rules.price_implausible: _at_most("price_max", "price"),
    rules.price_far_out: _within("price_hard_low", "price", "price_hard_high"),
    rules.price_deviates: _within("price_soft_low", "price", "price_soft_high"),
    rules.price_off_tick: ((_AT_MOST, "infinite", "price_figures"), (_ON_STEP, "price", "price_step")),
    rules.size_missing: _present("size"),
    rules.size_negative: _not_negative("size"),
    rules.size_implausible: _at_most("size_hard_max", "size"),
    rules.size_zero: _positive("size"),
    rules.size_odd: _at_most("size_soft_max", "size"),
    # quotes
    rules.quote_price_not_positive: _positive("bid", "ask"),
    rules.quote_price_implausible: _at_most("price_max", "bid", "ask"),
    rules.quote_size_negative: _not_negative("bid_size", "ask_size"),
    rules.quote_size_implausible: _at_most("size_hard_max", "bid_size", "ask_size"),
    rules.quote_empty: _present("bid"),
    rules.quote_crossed: ((_LESS, "bid", "ask"),),
    rules.quote_locked: ((_LESS, "bid", "ask"),),
    # books; the best prices are those of a snapshot, absent elsewhere
    rules.book_uneven: _at_most("zero", "uneven"),
    rules.book_price_not_positive: _positive("price_min"),
    rules.book_price_implausible: _at_most("price_max", "price_top"),
    rules.book_size_negative: _not_negative("size_min"),
    rules.book_size_implausible: _at_most("size_hard_max", "size_top"),
    rules.book_crossed: ((_LESS, "best_bid", "best_ask"),),
    # bars
    rules.interval_missing: ((_DIFFERENT, "interval_ns", "zero"),),
    rules.bar_price_missing: _present("open", "high", "low", "close"),
    rules.bar_price_not_positive: _positive("open", "high", "low", "close"),
    rules.bar_price_implausible: _at_most("price_max", "high"),
    rules.ohlc_inconsistent: (
        *_at_most("high", "open", "close", "low"),
        (_AT_MOST, "low", "open"),
        (_AT_MOST, "low", "close"),
    ),
    rules.volume_negative: _not_negative("size"),
    rules.bar_average_negative: _not_negative("vwap"),
    rules.bar_volume_negative: _not_negative("quote_volume", "taker_buy_volume"),
    rules.volume_inconsistent: (
        (_AT_MOST, "taker_buy_volume", "size"),
        *_within("quote_least", "quote_volume", "quote_most"),
    ),
    rules.bar_misaligned: _at_most("zero", "misaligned"),
}


def proofs_of(spec: ValidationSpec) -> tuple[Comparison, ...] | None:
    """What proves that every rule of ``spec`` is silent, each comparison once; ``None`` where a rule has no proof."""
    if any(rule.bad not in PROOFS for rule in spec.rules):
        return None
    return tuple(dict.fromkeys(comparison for rule in spec.rules for comparison in PROOFS[rule.bad]))


def packed(comparisons: tuple[Comparison, ...]) -> bytes:
    """As ``_step.c`` reads them: three bytes each."""
    number = NUMBERS.index
    return b"".join(bytes((how, number(left), number(right))) for how, left, right in comparisons)
