"""The pages of a history, by the way that the venue tells where the next begins. Pure.

    next_url    the answer has the whole address
    by_token    the answer has a token, which becomes a parameter
    After       the last row's id or time becomes a parameter
    Before      the same for pages that go back in time

Each gives the next page's request, or ``None`` after the last. What is no page ends the paging.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from msgspec import Struct

from etl.adapter.contract import Request
from etl.adapter.fields import UNDECODABLE, FieldFault

NOT_A_ROW = (KeyError, IndexError, TypeError, ValueError, FieldFault)


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
    """The array below ``members`` of an answer; none if there is no such."""
    try:
        answer = msgspec.json.decode(payload)
        for member in members:
            answer = answer[member]
    except (*UNDECODABLE, *NOT_A_ROW):
        return []
    return answer if isinstance(answer, list) else []


def _other(following: Request, request: Request) -> Request | None:
    """A page that names itself as the next would never end."""
    return following if following.path != request.path else None


def next_url(request: Request, url: str | None, without: Container[str] = ()) -> Request | None:
    """``without``: parameters (small letters) that must not get into a request's path, such as a key."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    query = [(name, value) for name, value in parse_qsl(parts.query) if name.lower() not in without]
    if not query:
        return None
    return _other(msgspec.structs.replace(request, path=f"{parts.path}?{urlencode(query)}"), request)


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
        try:
            place, time_ns = int(rows[-1][self.place]) + self.step, self.time_ns(rows[-1][self.time])
            is_short = len(rows) < int(query_of(request.path)[1][self.limit])
        except NOT_A_ROW:
            return None
        if is_short or (request.end_ns and time_ns >= request.end_ns):
            return None
        return with_query(request, {self.parameter: place}, self.without)


class Before(Struct, frozen=True):
    """As ``After``, from the newest row to the oldest: a page that reaches the request's ``start_ns`` is the last."""

    parameter: str
    place: str | int
    time: str | int
    time_ns: Callable[[Any], int]
    limit: str = "limit"

    def following(self, request: Request, rows: Sequence[Any]) -> Request | None:
        try:
            place, time_ns = rows[-1][self.place], self.time_ns(rows[-1][self.time])
            is_short = len(rows) < int(query_of(request.path)[1][self.limit])
        except NOT_A_ROW:
            return None
        if is_short or time_ns < request.start_ns:
            return None
        return with_query(request, {self.parameter: place})


def id_pages(first_id: int, last_id: int, rows_max: int) -> Iterator[tuple[int, int]]:
    """First id and number of rows of the pages that hold exactly these ids."""
    for start in range(first_id, last_id + 1, rows_max):
        yield start, min(rows_max, last_id + 1 - start)
