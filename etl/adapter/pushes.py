"""Frames whose events are the rows of a member, behind a head that says whose they are.

    {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{…},{…}]}

A head that was met before is not looked into again: what it says of the rows is remembered by its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from etl.adapter.build import STREAMS_KNOWN_MAX, Stream
from etl.adapter.contract import Outcome
from etl.adapter.dispatch import Reader, elements, read_all, read_one
from etl.adapter.fields import UNDECODABLE
from etl.model.records import Frame

HEAD_BYTES_MAX = 160
_Row = TypeVar("_Row")


class _Push(Struct, Generic[_Row], gc=False):
    data: list[_Row]


class Route(Struct, frozen=True, gc=False):
    """What holds for all rows behind a head."""

    stream: Stream
    reader: Reader

    def read(self, frame: Frame, rows: Sequence[Any]) -> list[Outcome]:
        stream, reader = self.stream, self.reader
        return read_all(frame, rows, {reader.wire: reader.read}, stream, lambda _: stream.venue_symbol)


class Pushes:
    """By their heads; the rows are the member ``data``."""

    def __init__(self) -> None:
        self._routes: dict[bytes, tuple[Route, msgspec.json.Decoder[_Push[Any]]]] = {}

    def learn(self, head: str, route: Route) -> None:
        """``head``: all that stands before ``"data":``, as the venue writes it."""
        if len(self._routes) < STREAMS_KNOWN_MAX:
            self._routes[head.encode()] = route, _decoder(route.reader.wire)

    def rows(self, frame: Frame) -> tuple[Route, list[Any]] | None:
        """``None`` where the head was not met before, or anything is wrong with the frame."""
        payload = frame.payload
        found = self._routes.get(payload[: payload.find(b'"data":', 0, HEAD_BYTES_MAX)])
        if found is None:
            return None
        route, decoder = found
        try:
            return route, decoder.decode(payload).data
        except UNDECODABLE:
            return None


def as_rows(array: Raw, route: Route) -> list[Any] | None:
    """The rows, where each is of the reader's type. Raises one of ``UNDECODABLE`` for what is no array."""
    try:
        return msgspec.json.decode(array, type=list[route.reader.wire])  # type: ignore[name-defined]
    except UNDECODABLE:
        elements(array)
        return None


def read_each(frame: Frame, array: Raw, route: Route) -> list[Outcome]:
    """Row by row: a garbled one costs itself alone."""
    stream = route.stream
    return [
        read_one(frame, index, row, route.reader, stream, stream.venue_symbol)
        for index, row in enumerate(elements(array))
    ]


@cache
def _decoder(wire: type[Struct]) -> msgspec.json.Decoder[_Push[Any]]:
    push: Any = _Push[wire]  # type: ignore[valid-type]
    return msgspec.json.Decoder(push)
