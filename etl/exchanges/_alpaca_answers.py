"""Alpaca's answers to requests: where their rows are, whose, and of which interval.

``{"trades":{"AAPL":[…],"TSLA":null},"next_page_token":…}``, the latest of each symbol ``{"trades":{"AAPL":{…}}}``,
and of one symbol ``{"symbol":"AAPL","trades":[…]}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from etl.adapter.contract import Fault, FaultKind, Ignored, Outcome, Rejected
from etl.adapter.dispatch import Reader
from etl.adapter.fields import (
    ABSENT,
    UNREADABLE,
    decoded,
    inferred_interval,
    inside,
    members,
    rejected,
    rfc3339_ns,
    text_of,
)
from etl.adapter.handshake import kind_of_words, told
from etl.exchanges._alpaca_readers import Readers
from etl.exchanges._alpaca_wire import BarEvent, Page, PastTrade
from etl.model.codes import Code
from etl.model.records import Frame


class Answer(Struct, gc=False):
    T: str = ""
    trades: Raw = ABSENT
    trade: Raw = ABSENT
    quotes: Raw = ABSENT
    quote: Raw = ABSENT
    bars: Raw = ABSENT
    bar: Raw = ABSENT
    orderbooks: Raw = ABSENT
    pricing: Raw = ABSENT
    snapshots: Raw = ABSENT
    symbol: Raw = ABSENT
    next_page_token: str | None = None
    message: str | None = None
    code: int | None = None


class _Start(Struct, gc=False):
    t: str


decode_answer = msgspec.json.Decoder(Answer).decode
_decode_start = msgspec.json.Decoder(_Start).decode
_decode_rows = msgspec.json.Decoder(list[Raw] | None).decode


class AnswerReader:
    """The answers that one connection's parser reads."""

    def __init__(self, readers: Readers) -> None:
        self._voided = readers.voided
        self._readers = readers.of_history()
        self._decoders = {it.wire: msgspec.json.Decoder(it.wire) for it in self._readers.values()}

    def read(self, frame: Frame, answer: Answer, payload: bytes) -> Sequence[Outcome]:
        """Raises one of ``UNDECODABLE`` for what is no page at all."""
        name = next((name for name in self._readers if getattr(answer, name) is not ABSENT), "")
        if not name:
            return [Ignored("snapshot")] if is_snapshot(payload) else _without_rows(answer)
        reader, named = self._readers[name], _SYMBOL.search(frame.endpoint)
        symbol = text_of(answer.symbol) or (unquote(named[1]) if named else "")
        groups = _by_symbol(getattr(answer, name), symbol)
        interval, flags = _interval(frame.endpoint, groups) if reader.wire is BarEvent else ("", ())
        outcomes: list[Outcome] = []
        index, count = 0, sum(len(rows) for _, rows in groups)
        for symbol, rows in groups:
            page = Page(symbol, count, interval, flags)
            outcomes += self._group(frame, index, rows, reader, page)
            index += len(rows)
        return outcomes or [Ignored("empty_page")]

    def _group(
        self, frame: Frame, first_index: int, rows: Sequence[Raw], reader: Reader, page: Page
    ) -> Iterator[Outcome]:
        decode = self._decoders[reader.wire].decode
        for index, row in enumerate(rows, first_index):
            try:
                event = decoded(row, decode)
                yield reader.read(frame, index, event, page)
                if isinstance(event, PastTrade) and (voided := self._voided(frame, index, event, page)):
                    yield voided
            except UNREADABLE as error:
                yield rejected(error, index, text_of(inside(row).get("S", ABSENT)) or page.venue_symbol)


def is_snapshot(payload: bytes) -> bool:
    """Of one stock (``{"symbol":"AAPL","latestTrade":…}``) or of several (``{"AAPL":{"latestTrade":…},"T":{…}}``)."""
    parts = inside(payload)
    return not _SUMMARY.isdisjoint(parts) or any(not _SUMMARY.isdisjoint(inside(it)) for it in parts.values())


def _by_symbol(value: Raw, symbol: str) -> list[tuple[str, list[Raw]]]:
    """``value`` is a row, a list of rows, or either of these for each symbol; null has none."""
    if bytes(value)[:1] != b"{":
        return [(symbol, _decode_rows(value) or [])]
    parts = members(value)
    if bytes(parts.get("t", ABSENT))[:1] == b'"':
        return [(symbol, [value])]
    return [
        (name, [part] if bytes(part)[:1] == b"{" else _decode_rows(part) or [])
        for name, part in parts.items()
    ]


def _interval(endpoint: str, groups: Sequence[tuple[str, Sequence[Raw]]]) -> tuple[str, tuple[str, ...]]:
    if asked := _TIMEFRAME.search(endpoint):
        return asked[1] + _SPANS.get(asked[2].lower(), "mo"), ()
    if "/latest" in endpoint:
        return "1m", ()
    return inferred_interval(_starts(rows) for _, rows in groups), ("interval_inferred",)


def _starts(rows: Sequence[Raw]) -> Iterator[int]:
    for row in rows:
        try:
            yield rfc3339_ns(_decode_start(row).t)
        except UNREADABLE:
            continue  # it gets its code when it is read


def _without_rows(answer: Answer) -> Sequence[Outcome]:
    if answer.snapshots is not ABSENT:
        return [Ignored("snapshot")]
    if answer.message:
        kind = kind_of_words(_REFUSALS, answer.message) or FaultKind.TRANSIENT
        return told("error", 0, Fault(kind, str(answer.code), answer.message))
    return [Rejected(Code.UNKNOWN_MESSAGE, "an answer of unknown shape")]


_SUMMARY = frozenset({"latestTrade", "latestQuote", "minuteBar", "dailyBar", "prevDailyBar"})
_TIMEFRAME = re.compile(r"timeframe=([0-9]+)(Min|T|Hour|H|Day|D|Week|W|Month|M)", re.I)
_SPANS = {"min": "m", "t": "m", "hour": "h", "h": "h", "day": "d", "d": "d", "week": "w", "w": "w"}
_SYMBOL = re.compile(r"/v2/stocks/([^/?{}]+)/(?:trades|quotes|bars)")
_REFUSALS = (
    ("subscription", FaultKind.ENTITLEMENT),
    ("too many requests", FaultKind.RATE_LIMIT),
    ("rate limit", FaultKind.RATE_LIMIT),
    ("forbidden", FaultKind.AUTHENTICATION),
    ("authoriz", FaultKind.AUTHENTICATION),
    ("invalid", FaultKind.REQUEST),
)
"""Words in a refused request's message."""
