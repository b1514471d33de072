"""The express step: check, continuity, encoding and publishing of one record in compiled code. Pure.

A record of a common kind that every rule is silent about, and that its channel and its book go on with, is published by
``_step.c`` as the plain way would; of any other nothing is touched. The tables below say where in the plain way's own
state the step reads and writes: state is never handed over, because there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntFlag
from types import MemberDescriptorType
from typing import Any

from etl.express.encoders import Encoders, slot_of
from etl.express.proofs import NUMBERS, packed, proofs_of
from etl.model.records import (
    AggTrade,
    Bar,
    BarState,
    Book,
    BookAction,
    Gap,
    Liquidation,
    Quote,
    Record,
    Source,
    Trade,
)
from etl.sequencing.continuity import Continuity
from etl.sequencing.counted import Contiguous, Counted
from etl.sequencing.join import Join
from etl.sequencing.spans import back_pointer_span, contiguous_span, range_span
from etl.sequencing.timed import Timed
from etl.sequencing.track import Track
from etl.validation import Checker, rules
from etl.validation.checker import INTERVAL_NS, OFFSET_STEP_NS, ClockOffset
from etl.validation.identities import RecentIdentities
from etl.validation.specs import ValidationSpec
from etl.validation.statistics import UNKNOWN, PriceBand
from etl.wire.codec import ENCODERS

Step = Callable[[object, int], bool]
"""Whether an outcome, received at this time, is a record that is published; if not, nothing was done."""


class _Flag(IntFlag):
    """By the numbers of ``enum flag`` in ``_step.h``."""

    DECLARES_TIME = 1
    IS_PRINT = 2
    IS_TRADE = 4
    IS_BOOK = 8
    IS_BAR = 16


_FLAGS: Mapping[type[Record], _Flag] = {
    Trade: _Flag.IS_PRINT | _Flag.IS_TRADE,
    AggTrade: _Flag.IS_PRINT,
    Liquidation: _Flag.IS_PRINT,
    Quote: _Flag(0),
    Book: _Flag.IS_BOOK,
    Bar: _Flag.IS_BAR,
}
_OWN: Mapping[type[Record], tuple[str, ...]] = {
    Trade: ("last_price", "volume"),
    Book: ("book_action", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes"),
    Bar: ("interval", "bar_state"),
}
"""What is read beside the unit of size, in the order of ``enum own_slot`` and its like."""

_PRINT = {"last_price": "price", "volume": "size"}
_DECIMALS: Mapping[type[Record], Mapping[str, str]] = {
    Trade: _PRINT,
    AggTrade: _PRINT,
    Liquidation: _PRINT,
    Quote: {name: name for name in ("bid", "bid_size", "ask", "ask_size")},
    Book: {},
    Bar: {
        **{
            name: name
            for name in ("open", "high", "low", "close", "vwap", "quote_volume", "taker_buy_volume")
        },
        "volume": "size",
    },
}
"""Texts, and the numbers of the view that they are."""

_SLOTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (
        Record,
        (
            "symbol", "channel", "event_time_ns", "receive_time_ns", "source", "record_key", "key_time_ns", "sequence",
            "first_sequence", "previous_sequence", "publish_time_ns", "participant_time_ns", "flags",
        ),
    ),
    (Track, ("newest",)),
    (Counted, ("_last", "_is_quiet", "_span", "_bar_ns")),
    (Timed, ("_open",)),
    (
        Join,
        (
            "is_joined", "is_suspect", "sequence", "_time_ns", "_snapshot_ns", "_held", "_backward_ids", "_id_counts",
            "_is_fresh",
        ),
    ),
    (ClockOffset, ("offset_ns",)),
    (RecentIdentities, ("_recent", "_older", "_window")),
    (PriceBand, ("price_step", "price_figures", "soft_low", "soft_high", "hard_low", "hard_high")),
)  # fmt: skip
"""In the order of ``enum slot`` in ``_step.h``."""


def step(
    encoders: Encoders,
    checker: Checker,
    continuity: Continuity,
    joins: dict[str, Join],
    keys: dict[str, bytes],
    last_event_ns: dict[str, int],
    published: list[int],
    topic: str,
    publish: Callable[..., None],
) -> Step | None:
    """Of one connection; ``None`` where the encoders are plain. ``joins`` are the books' by symbol,
    ``keys`` the messages' by symbol, ``published`` counts by kind, ``publish`` takes (topic, key, message)."""
    if encoders is ENCODERS:
        return None
    from etl.express import _step

    followed, bands = continuity.followed, checker.bands
    objects = (
        Record, Gap, Contiguous, Counted, Timed, Join, PriceBand, ClockOffset, RecentIdentities,
        contiguous_span, range_span, back_pointer_span, Source.STREAM, Source.REPLAY, BookAction.SNAPSHOT,
        BookAction.RELATIVE, BarState.OPEN, UNKNOWN,
        checker.clock, checker.identities,
        INTERVAL_NS, bands.by_symbol, bands.levels, bands.steps, followed.tracks, followed.broken_books.gaps, joins,
        keys, last_event_ns,
        published, topic, publish,
    )  # fmt: skip
    return _step.make(
        tuple(_kinds(encoders, checker)),
        tuple(slot_of(owner, name) for owner, names in _SLOTS for name in names),
        objects,
        checker.judge_lateness,
        OFFSET_STEP_NS,
        rules.ROUNDING,
        rules.TICK_TOLERANCE,
        rules.VOLUME_TOLERANCE,
    )


def _kinds(encoders: Encoders, checker: Checker) -> Iterator[tuple[Any, ...]]:
    """A row for each kind all of whose rules have a proof, and all of whose decimals are read."""
    for record_type, flags in _FLAGS.items():
        spec = checker.specs[record_type.kind]
        comparisons, decimals = proofs_of(spec), _DECIMALS[record_type]
        if comparisons is None or not set(spec.decimals) <= {*decimals, *_OWN.get(record_type, ())}:
            continue
        if spec.event_time_declared:
            flags |= _Flag.DECLARES_TIME
        yield (
            record_type,
            encoders[record_type],
            int(record_type.kind),
            int(flags),
            *_bounds(spec),
            tuple(slot_of(record_type, name) for name in ("size_unit", *_OWN.get(record_type, ()))),
            tuple((limit.soft, limit.hard) for limit in spec.sizes),
            tuple(_decimals(record_type, decimals)),
            packed(comparisons),
        )


def _bounds(spec: ValidationSpec) -> tuple[int, int, int, int, float]:
    times_ns = spec.event_time_min_ns, spec.future_hard_ns, spec.skew_soft_ns, spec.stale_soft_ns
    return *times_ns, spec.price_max


def _decimals(
    record_type: type[Record], decimals: Mapping[str, str]
) -> Iterator[tuple[MemberDescriptorType, int]]:
    for name, number in decimals.items():
        yield slot_of(record_type, name), NUMBERS.index(number)
