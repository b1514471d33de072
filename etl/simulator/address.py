"""Where a venue's frames name their stream, so that of a recording each client gets what it asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from etl.simulator.protobuf import text_of

Place = tuple[str | int, ...]
"""Members and elements on the way to a value: ``("data", 0, "symbol")``."""
TO_ALL = ""
"""The stream of a frame that names no instrument: whoever subscribed to anything gets it."""


class Address(Struct, frozen=True, kw_only=True):
    """``needs`` is what market data has; a frame without it was said to the client that recorded (acknowledgements,
    heartbeats), and so was every frame of a channel in ``spoken``: the simulated venue says its own. ``symbol`` empty:
    the channel's text is the whole name of the stream. ``channels``: their names in frames → in subscriptions, where
    these differ. ``symbols``: where else a symbol may stand."""

    channel: Place
    symbol: Place = ()
    symbols: tuple[Place, ...] = ()
    needs: Place = ()
    spoken: frozenset[str] = frozenset()
    channels: Mapping[str, str] = {}

    def read(self, payload: bytes) -> tuple[str, str] | None:
        """The channel and the symbol ("" = it names none) of market data; ``None`` for what is none."""
        try:
            message = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        channel, symbol = _at(message, self.channel), _at(message, self.symbol)
        for place in self.symbols if symbol is None else ():
            symbol = symbol or _at(message, place)
        if not isinstance(channel, str) or channel in self.spoken:
            return None
        if self.needs and _at(message, self.needs) is None:
            return None
        return self.channels.get(channel, channel), symbol if isinstance(symbol, str) else ""


class NumberedAddress(Address, frozen=True, kw_only=True):
    """Of messages in Protocol Buffers: the text of the field of number ``field`` is the whole name of the stream."""

    channel: Place = ()
    field: int

    def read(self, payload: bytes) -> tuple[str, str] | None:
        name = text_of(payload, self.field)
        return (name, "") if name else None


def _at(message: Any, place: Sequence[str | int]) -> Any:
    """What is there, ``None`` if nothing is."""
    for step in place:
        try:
            message = message[step]
        except (LookupError, TypeError):
            return None
    return message if place else None
