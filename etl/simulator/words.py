"""How a venue writes an event: literal JSON with named places, and what is put into them.

    Form("trade", "$number", '{"e":"trade","E":$ms,"s":"$symbol","t":$number,"p":"$price","q":"$size"}', NS_PER_MS)

A form also says what the event *is*: its kind, its ``record_key`` and its time. So whoever writes an event tells the
truth of it in the same breath, and no payload is ever read back.

Words are made when a template asks for them. The table below has those that any venue can use; a venue adds its own
(``words = WORDS | {"market": …}``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from etl.model.times import NS_PER_MS, NS_PER_S, NS_PER_US
from etl.simulator.market import Instrument, decimal_text
from etl.simulator.truth import TruthEvent

NEW_YORK = ZoneInfo("America/New_York")
CONTENT_DIGEST_BYTES = 8
WORTH_DIGITS = 8


class Template:
    """Text with ``$word`` places, or ``${word}`` where letters follow."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._format = re.sub(
            r"\$(?:(\w+)|\{(\w+)\})", lambda found: f"%({found[1] or found[2]})s", text.replace("%", "%%")
        )

    def __call__(self, words: Mapping[str, Any]) -> str:
        return self._format % words


class Form:
    """One kind of event on one stream or in one row.

    ``key`` makes its identity, ``text`` its bytes; ``time_unit_ns`` is what its time is cut to, 0 = it has none;
    ``says`` is what the word ``digest`` is a hash of, where the content is the identity.
    """

    def __init__(self, kind: str, key: str, text: str, time_unit_ns: int, says: str = "") -> None:
        self.kind = kind
        self.text = Template(text)
        self._key = Template(key)
        self._unit_ns = time_unit_ns
        self._says = Template(says)

    def event(self, words: Words) -> TruthEvent:
        if self._says.text:
            says = self._says(words).encode()
            words["digest"] = hashlib.blake2b(says, digest_size=CONTENT_DIGEST_BYTES).hexdigest()
        time_ns = words["time_ns"] // self._unit_ns * self._unit_ns if self._unit_ns else 0
        return TruthEvent(self.kind, words["unified"], self._key(words), time_ns)


class Words(dict[str, Any]):
    """The words of one fact, each made once; ``given`` are those of its instrument (``symbol``, ``lower``, ``unified``)
    and stream. ``fact`` is the market's, or, out of a recording, the words it was written in."""

    __slots__ = ("fact", "instrument", "table", "write")

    def __init__(
        self,
        table: Mapping[str, Callable[[Words], Any]],
        write: Callable[[int, int], str],
        instrument: Instrument,
        fact: Any,
        given: Mapping[str, Any],
    ) -> None:
        super().__init__(given)
        self.table = table
        self.write = write
        self.instrument = instrument
        self.fact = fact
        if isinstance(fact, dict):
            self.update(fact)

    def __missing__(self, name: str) -> Any:
        value = self[name] = self.table[name](self)
        return value

    def price(self, ticks: int) -> str:
        return self.write(ticks, self.instrument.price_digits)

    def size(self, lots: int) -> str:
        return self.write(lots, self.instrument.size_digits)

    def worth(self, turnover: int) -> str:
        return decimal_text(turnover, self.instrument.price_digits + self.instrument.size_digits)


def prices(name: str) -> Callable[[Words], str]:
    return lambda words: words.price(getattr(words.fact, name))


def sizes(name: str) -> Callable[[Words], str]:
    return lambda words: words.size(getattr(words.fact, name))


def worths(name: str) -> Callable[[Words], str]:
    return lambda words: words.worth(getattr(words.fact, name))


def facts(name: str) -> Callable[[Words], Any]:
    return lambda words: getattr(words.fact, name)


def levels(name: str, *, is_ascending: bool = False) -> Callable[[Words], str]:
    """``[["61837.63","0.1"],…``, without the outer brackets; the best first, or as the prices rise."""

    def write(words: Words) -> str:
        pairs: Sequence[tuple[int, int]] = getattr(words.fact, name)
        pairs = sorted(pairs) if is_ascending else pairs
        return ",".join([f'["{words.price(price)}","{words.size(lots)}"]' for price, lots in pairs])

    return write


def _worth(words: Words) -> str:
    return f"{Decimal(words['price']) * Decimal(words['size']):.{WORTH_DIGITS}f}"


@lru_cache(maxsize=64)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def time_text(time_ns: int) -> str:
    """RFC 3339 with as many fraction digits as are needed."""
    second, fraction = divmod(time_ns, NS_PER_S)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{_second_text(second)}{digits}Z"


def read_time(text: str) -> int:
    """RFC 3339 or a date → ns. Raises ``ValueError``."""
    whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    second = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return second * NS_PER_S + int(fraction.ljust(9, "0")[:9] or 0)


@lru_cache(maxsize=64)
def _day_of_hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3_600, UTC).astimezone(NEW_YORK).date().isoformat()


def new_york_day(time_ns: int) -> str:
    """A day begins on a whole hour there, whatever the season."""
    return _day_of_hour(time_ns // (3_600 * NS_PER_S))


WORDS: dict[str, Callable[[Words], Any]] = {
    # any fact
    "time_ns": facts("time_ns"),
    "us": lambda words: words["time_ns"] // NS_PER_US,
    "ms": lambda words: words["time_ns"] // NS_PER_MS,
    "time": lambda words: time_text(words["time_ns"]),
    "day": lambda words: new_york_day(words["time_ns"]),
    # a print
    "number": facts("number"),
    "sequence": facts("sequence"),
    "price": prices("price"),
    "size": sizes("size"),
    "worth": _worth,
    "maker": lambda words: "false" if words.fact.buyer_takes else "true",
    # the best prices
    "bid": prices("bid"),
    "bid_size": sizes("bid_size"),
    "ask": prices("ask"),
    "ask_size": sizes("ask_size"),
    # the book: a change, or all of it
    "first": facts("first"),
    "last": facts("last"),
    "previous": facts("previous"),
    "bids": levels("bids"),
    "asks": levels("asks"),
    # a bar
    "start_ns": facts("start_ns"),
    "start_ms": lambda words: words.fact.start_ns // NS_PER_MS,
    "end_ms": lambda words: words.fact.end_ns // NS_PER_MS,
    "last_ms": lambda words: words.fact.end_ns // NS_PER_MS - 1,
    "open": prices("open"),
    "high": prices("high"),
    "low": prices("low"),
    "close": prices("close"),
    "volume": sizes("volume"),
    "bought": sizes("bought"),
    "turnover": worths("turnover"),
    "turnover_bought": worths("turnover_bought"),
    "count": facts("count"),
    "first_number": facts("first_number"),
    "last_number": facts("last_number"),
    "closed": lambda words: "true" if words["is_closed"] else "false",
}
