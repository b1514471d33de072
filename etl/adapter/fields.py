"""What the fields of a venue's message become: decimal text, times, the market's day, a content key. Pure.

Each refuses what it cannot read with ``FieldFault``, so that one bad field costs one event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import islice, pairwise
from typing import Annotated, TypeVar, cast
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Raw

from etl.adapter.contract import Rejected
from etl.adapter.mended import mended
from etl.model.codes import Code
from etl.model.decimals import plain
from etl.model.records import Frame
from etl.model.times import NS_PER_HOUR, NS_PER_MS, NS_PER_S, NS_PER_US

INT64_MAX = (1 << 63) - 1
KNOWN_TEXTS_MAX = 65_536
CONTENTS_MAX = 65_536
QUOTES_IN_SHARES_FROM_NS = 1_762_146_000_000_000_000
"""2025-11-03 in New York: US quote sizes were round lots before, and are shares since."""

NAME_CHARACTERS_MAX = 64
MS_MAX = INT64_MAX // NS_PER_MS
_US_MIN, _US_MAX = 10**15, INT64_MAX // NS_PER_US

ABSENT = Raw()
"""Stands for a member that an object lacks."""
_Listing = TypeVar("_Listing")

Id = Annotated[int, Meta(ge=0, le=INT64_MAX)]
Name = Annotated[str, Meta(min_length=1)]
Levels = list[tuple[str, str]]
"""For wire types: an id or count of the venue's, an instrument's name, levels of (price, size). A time is a plain
``int`` there, and refused by the function that knows its unit."""
Columns = tuple[tuple[str, ...], tuple[str, ...]]
"""Prices and sizes of one side of a book."""

_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}")
_FRACTION_NS = [int(10 ** (9 - digits)) for digits in range(10)]
_IDS = frozenset({"i", "id"})
"""A null id is no absence: without it the event would get another identity."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEW_YORK = ZoneInfo("America/New_York")
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class FieldFault(ValueError):
    """A field that makes its event unreadable; ``code`` says how."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class DecimalTexts(dict[str | bytes, str | None]):
    """JSON text of a number → its plain decimal text, ``None`` for null or absent. Remembers what it has seen
    (prices and sizes repeat: 0.16 µs against 0.5 µs for checking anew), within ``KNOWN_TEXTS_MAX``. By the bytes of a
    ``Raw`` it costs 12 ns less than by their text."""

    def __missing__(self, said: str | bytes) -> str | None:
        text = said if isinstance(said, str) else str(said, "ascii")
        number = text[1:-1] if text[:1] == '"' else text
        if number in ("", "null"):
            decimal = None
        else:
            decimal = plain(number)
            if decimal is None:
                raise FieldFault(Code.DECIMAL_MALFORMED, f"not a decimal number: {text[:40]}")
        if len(self) >= KNOWN_TEXTS_MAX:
            self.clear()
        self[said] = decimal
        return decimal


_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+"
ARE_TWO = re.compile(f"{_NUMBER} {_NUMBER}").fullmatch
ARE_FOUR = re.compile(f"{_NUMBER} {_NUMBER} {_NUMBER} {_NUMBER}").fullmatch
_ARE_ALL = re.compile(f"(?:{_NUMBER} )*+").fullmatch


def decimals(*texts: str) -> list[str]:
    """Plain decimal texts of a venue's decimal strings. Raises ``FieldFault`` for what is no number."""
    plains = [plain(text) for text in texts]
    if None in plains:
        raise FieldFault(Code.DECIMAL_MALFORMED, f"{texts[plains.index(None)]!r:.80}")
    return cast("list[str]", plains)


def two(price: str, size: str) -> Sequence[str]:
    """Both as plain decimal text. One match over both costs 0.17 µs; looked up in ``DecimalTexts`` they cost 0.15 to
    0.3 µs, by how often they repeat, and a little memory."""
    if ARE_TWO(f"{price} {size}"):
        return price, size
    return decimals(price, size)


def sides(bid: str, bid_size: str, ask: str, ask_size: str) -> Sequence[str | None]:
    """A quote's two sides as plain decimal text; ``None`` where price and size of 0 stand for no order at all."""
    if not ARE_FOUR(f"{bid} {bid_size} {ask} {ask_size}"):
        bid, bid_size, ask, ask_size = decimals(bid, bid_size, ask, ask_size)
    if bid[0] != "0" and ask[0] != "0":
        return bid, bid_size, ask, ask_size
    left = (None, None) if is_no_order(bid, bid_size) else (bid, bid_size)
    right = (None, None) if is_no_order(ask, ask_size) else (ask, ask_size)
    return *left, *right


def columns(levels: Sequence[tuple[str, ...]]) -> Columns:
    """Prices and sizes of a book's levels, their first two members, as plain decimal text. One match over all of them
    costs 0.1 µs a level, one by one 0.5."""
    if not levels:
        return (), ()
    prices, sizes, *_ = zip(*levels, strict=True)
    joined = " ".join((*prices, *sizes, ""))
    if not _ARE_ALL(joined) or joined.count(" ") != 2 * len(levels):
        return tuple(decimals(*prices)), tuple(decimals(*sizes))
    return prices, sizes


def canonical(decimal: str | None) -> str:
    """The one spelling of a value, for content keys: sources differ in trailing zeros. "" for ``None``."""
    if decimal is None:
        return ""
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal


def is_no_order(price: str, size: str | None) -> bool:
    """A quote's side of price 0 and size 0, or without size, stands for no order at all."""
    return not price.strip("0.") and not (size or "").strip("0.")


def content_hash(content: str) -> str:
    """16 hexadecimal digits, for the keys of statuses and statistics."""
    return blake2b(content.encode(), digest_size=8).hexdigest()


def whole(text: str) -> int:
    """A number that a venue tells as text: an id, a count, a time."""
    if text.isascii() and text.isdecimal() and len(text) <= 19 and (number := int(text)) <= INT64_MAX:
        return number
    raise FieldFault(Code.FIELD_MALFORMED, f"no whole number: {text!r:.40}")


def time_ns(count: int, unit_ns: int) -> int:
    """``count`` units since 1970 in ns."""
    ns = count * unit_ns
    if not 0 < ns <= INT64_MAX:
        raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {count}")
    return ns


def time_of_any_unit_ns(count: int) -> int:
    """For fields whose unit the venue changed or never settled: s, ms, µs or ns by magnitude (each unit's
    plausible times lie a thousandfold apart)."""
    for unit_ns, below in ((NS_PER_S, 10**11), (NS_PER_MS, 10**14), (1000, 10**17)):
        if count < below:
            return time_ns(count, unit_ns)
    return time_ns(count, 1)


def ms_or_us_ns(count: int) -> int:
    """A time of up to 13 digits (ms) or of 16 (µs) in ns, for venues that send the one or the other; between them lies
    nothing that they could mean."""
    if 0 < count <= MS_MAX:
        return count * NS_PER_MS
    if _US_MIN <= count <= _US_MAX:
        return count * NS_PER_US
    raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {count}")


def rfc3339_ns(text: str) -> int:
    """``2021-02-22T15:51:45.335689322Z``, 0 to 9 fraction digits, in ns; ``t`` and ``z`` are as good (5.6 there)."""
    fraction = text[20:-1]
    digits = len(fraction)
    if text[19:20] == "." and text[-1] == "Z" and digits <= 9 and fraction.isascii() and fraction.isdecimal():
        return _second_ns(text[:19]) + int(fraction) * _FRACTION_NS[digits]
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise FieldFault(Code.FIELD_MALFORMED, f"not an RFC 3339 time: {text[:40]}")
    return _second_ns(match[1]) + int((match[2] or "").ljust(9, "0")) - _offset_ns(match[3])


def _offset_ns(zone: str) -> int:
    if zone in ("Z", "z"):
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise FieldFault(Code.FIELD_MALFORMED, f"no time zone: {zone}")
    seconds = (hours * 60 + minutes) * 60
    return (-seconds if zone[0] == "-" else seconds) * NS_PER_S


@lru_cache(maxsize=4096)
def _second_ns(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text) if _SECOND.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise FieldFault(Code.FIELD_MALFORMED, f"not an RFC 3339 time: {text}")
    seconds = (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
    if not 0 < seconds < INT64_MAX // NS_PER_S:
        raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {text}")
    return seconds * NS_PER_S


def new_york_day(ns: int) -> str:
    """The date in New York at ``ns``, ``2026-11-02``: US trade ids and sequences start anew with it."""
    return new_york_day_of_hour(ns // NS_PER_HOUR)


@lru_cache(maxsize=4096)
def new_york_day_of_hour(hour: int) -> str:
    """The same by hours since 1970, for hot paths: both the day and daylight saving time change on a whole one."""
    return (_EPOCH + timedelta(hours=hour)).astimezone(_NEW_YORK).date().isoformat()


@lru_cache(maxsize=4096)
def date_ns(day: str) -> int:
    """Midnight UTC of ``2026-11-02``: a key time for what is known by its day only."""
    return (datetime.fromisoformat(day).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) * 1000


class CodeTexts(dict[str | bytes, tuple[str, ...]]):
    """JSON text of a code, a list of codes, null or nothing → the codes; remembers within ``KNOWN_TEXTS_MAX``."""

    def __missing__(self, said: str | bytes) -> tuple[str, ...]:
        text = said if isinstance(said, str) else str(said, "ascii")
        try:
            codes = msgspec.json.decode(text or "null", type=list[int | str] | int | str | None)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise FieldFault(Code.FIELD_MALFORMED, f"codes: {error}") from None
        listed = codes if isinstance(codes, list) else [] if codes in (None, "") else [codes]
        found = tuple(map(str, listed))
        if len(self) >= KNOWN_TEXTS_MAX:
            self.clear()
        self[said] = found
        return found


class ContentCounts:
    """Turns contents into keys where the venue gives no id: ``content/n``, n = identical ones before.

    Remembers at least the last ``CONTENTS_MAX // 2`` contents; a content names its time, so older ones
    do not come back.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def key(self, scope: str, content: str) -> str:
        """``scope`` (kind and symbol) is what the count is within; it is not part of the key."""
        counts, name = self._counts, f"{scope} {content}"
        count = counts.get(name)
        if count is not None:
            counts[name] = count + 1
            return f"{content}/{count}"
        counts[name] = 1
        if len(counts) > CONTENTS_MAX:
            for oldest in list(islice(counts, CONTENTS_MAX // 2)):
                del counts[oldest]
        return content + "/0"


def fault_of(error: Exception) -> FieldFault:
    """What msgspec found wrong with one event, as a code."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return FieldFault(Code.UNDECODABLE, text)
    if "missing required field" in text or "`array` of at least length" in text:
        return FieldFault(Code.FIELD_MISSING, text)
    if "of length" in text:  # of the types above only a name and a level have one
        return FieldFault(Code.SYMBOL_MISSING if "`str`" in text else Code.LEVELS_UNEVEN, text)
    if "`int` >=" in text or "`int` <=" in text:
        return FieldFault(Code.INTEGER_OVERFLOW, text)
    return FieldFault(Code.FIELD_MALFORMED, text)


UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be."""
UNREADABLE = (*UNDECODABLE, FieldFault)


def readable(frame: Frame) -> Frame:
    r"""``frame``, or where its JSON holds words that JSON has not (``NaN``, ``Infinity``, ``007``, ``0x1F``), with
    these as text, and with half a surrogate pair (``\ud800``) as a byte that no text has: so they cost the event that
    they stand in, and not those beside it. A frame with more than ``MENDED_WORDS_MAX`` of them stays as it is."""
    if frame.payload.lstrip()[:1] not in (b"[", b"{"):
        return frame
    try:
        msgspec.json.decode(frame.payload, type=Raw)
        return frame
    except UNDECODABLE:
        return msgspec.structs.replace(frame, payload=mended(frame.payload))


def is_name(venue_symbol: str) -> bool:
    """Whether this can be an instrument's name in any spelling."""
    return venue_symbol.isprintable() and " " not in venue_symbol and len(venue_symbol) <= NAME_CHARACTERS_MAX


def require_name(venue_symbol: str) -> None:
    """Raises ``FieldFault`` for what is none."""
    if not is_name(venue_symbol):
        raise FieldFault(Code.SYMBOL_MALFORMED, f"{venue_symbol[:NAME_CHARACTERS_MAX]!r}")


members = msgspec.json.Decoder(dict[str, Raw]).decode
"""The members of an object, undecoded. Raises one of ``UNDECODABLE``."""


def decoded(raw: bytes | Raw, decode: Callable[[bytes | Raw], _Listing]) -> _Listing:
    """``raw`` by ``decode``; a member that is null where the type has none is taken for absent. Raises one of
    ``UNDECODABLE``."""
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        present = {
            name: value for name, value in inside(raw).items() if bytes(value) != b"null" or name in _IDS
        }
        if b"null" not in bytes(raw) or not present:
            raise
        try:
            return decode(msgspec.json.encode(present))
        except UNDECODABLE:
            raise error from None


def inside(raw: bytes | Raw) -> dict[str, Raw]:
    """The members of ``raw``; none if it is no object."""
    try:
        return members(raw)
    except UNDECODABLE:
        return {}


def listing(payload: bytes, wire: type[_Listing]) -> _Listing:
    """A page of an instrument list. Raises ``ValueError`` if it is none."""
    try:
        return msgspec.json.decode(payload, type=wire)
    except UNDECODABLE as error:
        raise ValueError(f"not an instrument list: {error}") from None


def text_of(raw: Raw) -> str:
    """The string in ``raw``; "" if it is anything else."""
    value = bytes(raw)
    try:
        return msgspec.json.decode(value, type=str) if value[:1] == b'"' else ""
    except UNDECODABLE:
        return ""


def rejected(error: Exception, index: int, venue_symbol: str) -> Rejected:
    """The event at ``index``, which raised ``error`` (one of ``UNREADABLE``), as an outcome."""
    fault = error if isinstance(error, FieldFault) else fault_of(error)
    return Rejected(fault.code, str(fault), index, venue_symbol)


def inferred_interval(starts_ns: Iterable[Iterable[int]]) -> str:
    """For bars whose request was not kept, by the starts of each symbol's: the shortest step between them. Single
    bars that start on a whole hour are taken for a day's, others for a minute's."""
    by_symbol = [sorted(set(starts)) for starts in starts_ns]
    steps = [after - before for starts in by_symbol for before, after in pairwise(starts)]
    if not steps:
        return "1d" if all(start % NS_PER_HOUR == 0 for starts in by_symbol for start in starts) else "1m"
    return next((name for step_ns, name in _STEPS if min(steps) >= step_ns), "1s")


_STEPS = ((23 * NS_PER_HOUR, "1d"), (NS_PER_HOUR, "1h"), (300 * NS_PER_S, "5m"), (60 * NS_PER_S, "1m"))
"""A day lasts 23 hours when daylight saving time begins."""
