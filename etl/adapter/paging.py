"""The pages of a history, by the way that the venue tells where the next begins. Pure.

    next_url    the answer has the whole address
    by_token    the answer has a token, which becomes a parameter
    After       the last row's id or time becomes a parameter
    Before      the same for pages that go back in time

Each gives the next page's request, or ``None`` after the last, and raises ``VenueError`` where a page says that there
is more and not where. ``refusal_of`` tells an answer that is no page at all: only a page that was read says the end.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from msgspec import Raw, Struct

from etl.adapter.contract import Exchange, Fault, FaultKind, Ignored, Rejected, Request
from etl.adapter.fields import UNDECODABLE, FieldFault
from etl.errors import VenueError
from etl.model.addresses import shown
from etl.model.codes import Code
from etl.model.records import Frame, Kind

NOT_A_ROW = (KeyError, IndexError, TypeError, ValueError, FieldFault)
SAMPLE_BYTES_MIN = 64 << 10
"""Longer answers are judged by their syntax and the first rows of their arrays: a page would be parsed twice otherwise,
which costs a third of what it costs to take it in."""
SAMPLE_ROWS = 3
SAMPLE_DEPTH = 4
"""Arrays lie no deeper in an answer: ``{"trades":{"AAPL":[…]}}``."""
OTHER_ANSWERS = frozenset({"snapshot", "exchange_info", "subscription_reply"})
"""What venues answer to other questions, by the names under which it is ignored."""


def refusal_of(parser: Exchange, request: Request, frame: Frame) -> Fault | None:
    """What ``frame``, an answer with status 200, says instead of what ``request`` asked for; ``None`` where it says
    that. What is empty, cut, HTML or of no known shape may be another the next time: ``TRANSIENT``."""
    try:
        frame.payload.decode()
        msgspec.json.decode(frame.payload, type=Raw)
    except UNDECODABLE as error:
        return Fault(FaultKind.TRANSIENT, Code.UNDECODABLE, f"an answer that is no JSON: {error}")
    outcomes = parser.parse(msgspec.structs.replace(frame, payload=_sample(frame.payload)))
    said = next((one for one in outcomes if isinstance(one, Fault) and one.kind is not FaultKind.READY), None)
    if said is not None or request.kind is Kind.STATUS:  # lists have readers of their own
        return said
    first = outcomes[0] if len(outcomes) == 1 else None
    if isinstance(first, Rejected) and not first.venue_symbol:  # as a whole: a row names its instrument
        return Fault(FaultKind.TRANSIENT, first.code, first.reason)
    if isinstance(first, Ignored) and first.name in OTHER_ANSWERS:
        return Fault(
            FaultKind.TRANSIENT, Code.UNKNOWN_MESSAGE, f"{first.name}, an answer to another question"
        )
    return None


def _sample(text: bytes | Raw, depth: int = SAMPLE_DEPTH) -> bytes:
    """JSON of the same shape, with the first rows of arrays only where it is long."""
    if len(text) < SAMPLE_BYTES_MIN or not depth:
        return bytes(text)
    try:
        parts = msgspec.json.decode(text, type=list[Raw] | dict[str, Raw])
    except msgspec.ValidationError:  # a long text
        return bytes(text)
    if isinstance(parts, list):
        return msgspec.json.encode([Raw(_sample(part, depth - 1)) for part in parts[:SAMPLE_ROWS]])
    return msgspec.json.encode({name: Raw(_sample(part, depth - 1)) for name, part in parts.items()})


def query_of(address: str) -> tuple[str, dict[str, str]]:
    """Path and parameters of an address or of a request's path."""
    path, _, query = address.partition("?")
    return path, dict(parse_qsl(query))


def with_query(request: Request, parameters: Mapping[str, object], without: Container[str] = ()) -> Request:
    """``request`` with other parameters; ``without`` names those that go."""
    path, query = query_of(request.path)
    kept: dict[str, object] = {name: value for name, value in query.items() if name not in without}
    return msgspec.structs.replace(request, path=f"{path}?{urlencode(kept | dict(parameters))}")


def rows_of(payload: bytes, *members: str) -> list[Any]:
    """The array below ``members`` of an answer. Raises ``VenueError`` where there is none: that is no last page."""
    try:
        answer = msgspec.json.decode(payload)
        for member in members:
            answer = answer[member]
    except (*UNDECODABLE, *NOT_A_ROW):
        answer = None
    if not isinstance(answer, list):
        raise VenueError(f"an answer without rows: {payload[:80]!r}")
    return answer


def _other(following: Request, request: Request) -> Request:
    """A page that names itself as the next would never end, and is no end either."""
    if following.path == request.path:
        raise VenueError(f"{request.path}: the page names itself as the next")
    return following


def _is_short(request: Request, rows: Sequence[Any], limit: str) -> bool:
    """Whether there were fewer rows than the request's ``limit``; none at all, or no limit, is the last page too."""
    rows_max = query_of(request.path)[1].get(limit, "")
    return not rows or not rows_max.isdigit() or len(rows) < int(rows_max)


def next_url(request: Request, url: str | None, without: Container[str] = ()) -> Request | None:
    """``without``: parameters (small letters) that must not get into a request's path, such as a key."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:  # its text repeats the address, and a key may stand in it
        raise VenueError(f"{request.path}: the next page lies at {shown(url)}, which is no address") from None
    if not parts.path.startswith("/"):  # behind the host it would make another host
        raise VenueError(f"{request.path}: the next page lies at {shown(url)}, which is no path")
    query = [(name, value) for name, value in parse_qsl(parts.query) if name.lower() not in without]
    path = f"{parts.path}?{urlencode(query)}" if query else parts.path
    return _other(msgspec.structs.replace(request, path=path), request)


def by_token(request: Request, parameter: str, token: str | None) -> Request | None:
    return _other(with_query(request, {parameter: token}), request) if token else None


class After(Struct, frozen=True):
    """The next page begins behind the last row: at its ``place`` (a member, or a position: an id, a time) plus
    ``step``, which is 0 where rows of one time may lie on both pages (identities tell them apart). ``time`` is the
    member that ``time_ns`` reads. A page with fewer rows than the request's ``limit``, or one that reaches its
    ``end_ns``, is the last. ``without``: parameters of the first page only."""

    parameter: str
    place: str | int
    time: str | int
    time_ns: Callable[[Any], int]
    without: tuple[str, ...] = ()
    step: int = 1
    limit: str = "limit"

    def following(self, request: Request, rows: Sequence[Any]) -> Request | None:
        if _is_short(request, rows, self.limit):
            return None
        for row in reversed(rows):  # one that is garbled ends no history
            try:
                place, time_ns = int(row[self.place]) + self.step, self.time_ns(row[self.time])
            except NOT_A_ROW:
                continue
            if request.end_ns and time_ns >= request.end_ns:
                return None
            return with_query(request, {self.parameter: place}, self.without)
        raise VenueError(f"{request.path}: no row of a full page tells where the next one begins")


class Before(Struct, frozen=True):
    """As ``After``, from the newest row to the oldest: a page that reaches the request's ``start_ns`` is the last. The
    next page ends at the last row's ``place``, or, where a ``step`` is given, that far before this number."""

    parameter: str
    place: str | int
    time: str | int
    time_ns: Callable[[Any], int]
    limit: str = "limit"
    step: int = 0

    def following(self, request: Request, rows: Sequence[Any]) -> Request | None:
        if _is_short(request, rows, self.limit):
            return None
        for row in reversed(rows):
            try:
                place, time_ns = row[self.place], self.time_ns(row[self.time])
                place = int(place) - self.step if self.step else place
            except NOT_A_ROW:
                continue
            if time_ns < request.start_ns:
                return None
            return with_query(request, {self.parameter: place})
        raise VenueError(f"{request.path}: no row of a full page tells where the next one begins")


def id_pages(first_id: int, last_id: int, rows_max: int) -> Iterator[tuple[int, int]]:
    """First id and number of rows of the pages that hold exactly these ids."""
    for start in range(first_id, last_id + 1, rows_max):
        yield start, min(rows_max, last_id + 1 - start)
