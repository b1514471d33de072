"""Every code that a rejected event can carry, with its meaning: one list for wire, tables and docs."""

from __future__ import annotations

from enum import StrEnum


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
    DECIMAL_MALFORMED = "decimal_malformed", "a price or size is not a plain decimal number"
    INTEGER_OVERFLOW = "integer_overflow", "an id or count is negative or does not fit into 64 bits"
    TIME_OUT_OF_RANGE = "time_out_of_range", "a time is not positive, or outside int64 nanoseconds"
    LEVELS_UNEVEN = "levels_uneven", "a book's level has no price or no size"
    RANGE_REVERSED = "range_reversed", "the first sequence of a range is greater than its last"
