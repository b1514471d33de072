"""Members of events that no venue file knows: so a venue's next change is seen on its first day. Pure.

What is known stands in ``etl/exchanges/known_fields.json``: read or not, each member that the fixtures have. Looked at
is a sample of the frames of streams, each decoded in full, which costs 5 to 15 µs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from etl.adapter.fields import UNDECODABLE

Known = Mapping[str, frozenset[str]]
"""Event → its members; those inside of a member, or of the rows in it, are ``outer.inner``."""
EVENTS_LOOKED_MAX = 64
"""Of one frame, and rows of one event."""
UNKNOWN_FIELDS_MAX = 200
"""Distinct ones that are counted: each is a time series."""
_NAMES = ("ev", "e", "T", "type")
"""Where an event may name its type, the more telling first."""


def members_of(payload: bytes) -> Iterator[tuple[str, str]]:
    """(event, member) of the events of a frame; of what names no type, the name of its stream or channel stands for
    it."""
    try:
        message = msgspec.json.decode(payload)
    except UNDECODABLE:
        return
    if isinstance(message, dict):
        message = message.get("params", message)  # of a notification by JSON-RPC
    family = ""
    tags: tuple[str, ...] = _NAMES
    if isinstance(message, dict) and (found := _family(message)):
        if "data" in message:
            family, message = found, message["data"]
        elif "events" in message:  # their type says how they come, not what they are
            family, tags, message = found, (), message["events"]
        elif "result" in message and message.get("event") == "update":  # any other is an answer
            family, message = found, message["result"]
    for event in islice(message if isinstance(message, list) else [message], EVENTS_LOOKED_MAX):
        if not isinstance(event, dict):
            continue
        if name := next((text for tag in tags if isinstance(text := event.get(tag), str)), family):
            yield from ((name, member) for member in _members(event))


def _family(envelope: Mapping[str, Any]) -> str:
    """``{"stream":"btcusdt@kline_1m",…}`` → ``kline``, ``{"arg":{"channel":"books",…},…}`` → ``books``,
    ``{"channel":"trade",…}`` → ``trade``, ``{"channel":"book.BTC-PERPETUAL.raw",…}`` → ``book``,
    ``{"channel":"spot.trades","result":…}`` → ``spot.trades``, ``{"topic":"kline.1.BTCUSDT",…}`` → ``kline``,
    ``{"topic":"/market/level2:BTC-USDT",…}`` → ``/market/level2``."""
    stream, topic, named = envelope.get("stream"), envelope.get("topic"), envelope.get("arg", envelope)
    if isinstance(named, dict) and isinstance(channel := named.get("channel"), str):
        return channel if "result" in named else channel.partition(".")[0]
    if isinstance(topic, str):
        return topic.partition(":" if topic[:1] == "/" else ".")[0]
    return stream.partition("@")[2].partition("@")[0].partition("_")[0] if isinstance(stream, str) else ""


def _members(event: Mapping[str, Any]) -> Iterator[str]:
    """Each once; of a list of rows those of all rows that are looked at."""
    for name, value in event.items():
        yield name
        rows = islice(value, EVENTS_LOOKED_MAX) if isinstance(value, list) else (value,)
        inner = {member: None for row in rows if isinstance(row, dict) for member in row}
        yield from (f"{name}.{member}" for member in inner)


class UnknownFields:
    """Counts into ``counts`` what ``known`` lacks. An event of no known type is another matter: it is quarantined."""

    def __init__(self, known: Known, counts: Counter[tuple[str, str]]) -> None:
        self._known = known
        self._counts = counts

    def look(self, payload: bytes) -> None:
        for event, member in members_of(payload):
            known = self._known.get(event)
            if known is None or member in known:
                continue
            if (event, member) in self._counts or len(self._counts) < UNKNOWN_FIELDS_MAX:
                self._counts[event, member] += 1
