"""Every code that a rejected event can carry, with its meaning: one list for wire, tables and docs."""

from __future__ import annotations

from enum import StrEnum

REPLAYED = "replayed"
"""Flag of a record that a venue repeats when it is subscribed to: a good record, whose time says nothing about now."""
CORRECTED = "corrected"
"""Flag of a print that is told as corrected under its first identity: whoever saw it before saw other content."""
UNKNOWN_WORD = "unknown_word"
"""Flag of a record in which the venue says something about it in a word that its file does not know."""

UNCHECKED = "unchecked"
"""Flag of a book whose checksum proves nothing: its levels, or the decimals of their numbers, are not known."""


class Code(StrEnum):
    """``str(code)`` goes on the wire; ``code.meaning`` is the operator's line."""

    meaning: str

    def __new__(cls, text: str, meaning: str) -> Code:
        code = str.__new__(cls, text)
        code._value_ = text
        code.meaning = meaning
        return code

    # the venue files
    UNDECODABLE = "undecodable", "the frame is not what its format demands (not JSON, cut, garbled)"
    UNKNOWN_MESSAGE = "unknown_message", "a message type or shape that the venue file does not know"
    FIELD_MISSING = "field_missing", "a field without which the event has no meaning is absent"
    FIELD_MALFORMED = "field_malformed", "a field has another type than the venue documents"
    SYMBOL_MISSING = "symbol_missing", "neither the frame nor its endpoint names the instrument"
    SYMBOL_MALFORMED = (
        "symbol_malformed",
        "a name with spaces or control characters, or longer than any instrument's",
    )
    SYMBOL_MISMATCH = "symbol_mismatch", "the stream and its event name different instruments"
    DECIMAL_MALFORMED = "decimal_malformed", "a price or size is not a plain decimal number"
    INTEGER_OVERFLOW = "integer_overflow", "an id or count is negative or does not fit into 64 bits"
    TIME_OUT_OF_RANGE = "time_out_of_range", "a time is not positive, or outside int64 nanoseconds"
    LEVELS_UNEVEN = "levels_uneven", "a book's level has no price or no size"
    RANGE_REVERSED = "range_reversed", "the first sequence of a range is greater than its last"

    # the way in
    PARSER_FAILED = "parser_failed", "the venue file itself failed on this frame: a defect of ours"
    UNENCODABLE = "unencodable", "a number or text that the message cannot carry"

    # validation
    DECIMAL_OVERFLOW = (
        "decimal_overflow",
        "more than 19 digits before the point or 30 behind it: not every store holds it exactly",
    )
    EVENT_TIME_MISSING = (
        "event_time_missing",
        "the venue declares an event time for this kind, and this event has none",
    )
    EVENT_TIME_BEFORE_MARKET = (
        "event_time_before_market",
        "older than the venue's market (epoch 0, wrong unit)",
    )
    EVENT_TIME_IN_FUTURE = "event_time_in_future", "more than a day after receipt (year 2299, wrong unit)"
    CLOCK_SKEW = "clock_skew", "further ahead of the connection's clock than the spec allows"
    TIME_IMPLAUSIBLE = (
        "time_implausible",
        "another time of the event (sending, participant's, funding) that cannot be",
    )
    EVENT_TIME_STALE = "event_time_stale", "further behind the connection's clock than the spec allows"
    PRICE_MISSING = "price_missing", "no price where the kind requires one"
    PRICE_NOT_POSITIVE = "price_not_positive", "a price of zero or below"
    PRICE_IMPLAUSIBLE = "price_implausible", "a price above every price that the table admits"
    PRICE_OFF_TICK = "price_off_tick", "a price that is no multiple of the instrument's known step"
    PRICE_DEVIATES = "price_deviates", "a return of 3 to 10 standard deviations from the previous close"
    PRICE_FAR_OUT = (
        "price_far_out",
        "a return beyond 10 standard deviations, not yet confirmed by the trades after it",
    )
    SIZE_MISSING = "size_missing", "no size where the kind requires one"
    SIZE_NEGATIVE = "size_negative", "a size or volume below zero"
    SIZE_ZERO = "size_zero", "a trade of size zero"
    SIZE_ODD = "size_odd", "a size larger than is usual for its unit"
    SIZE_IMPLAUSIBLE = (
        "size_implausible",
        "a size larger than any real one of its unit (sign extension, wrong scale)",
    )
    VOLUME_INCONSISTENT = "volume_inconsistent", "a bar's volumes contradict each other or its prices"
    FUNDING_IMPLAUSIBLE = "funding_implausible", "a funding rate beyond one"
    BANDS_REVERSED = "bands_reversed", "the lower price band lies above the upper"
    IDENTITY_CONFLICT = "identity_conflict", "the identity of a recent record, with other content"
    QUOTE_EMPTY = "quote_empty", "neither a bid nor an ask"
    QUOTE_CROSSED = "quote_crossed", "bid above ask"
    QUOTE_LOCKED = "quote_locked", "bid equal to ask"
    BOOK_CROSSED = "book_crossed", "best bid at or above best ask within one venue's own book"
    OHLC_INCONSISTENT = "ohlc_inconsistent", "open, high, low and close contradict each other"
    INTERVAL_MISSING = "interval_missing", "a bar that does not say how long it is"
    BAR_MISALIGNED = "bar_misaligned", "a bar that does not start on its interval"
