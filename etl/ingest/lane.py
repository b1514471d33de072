"""What one stream carries over all its connections: as it was asked for, or contracts as they come and go."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakSet

from msgspec.structs import replace

from etl.adapter.contract import Subscription
from etl.ingest.watchdog import Watchdog
from etl.sources.websocket import Connection, carry


class Lane:
    """``subscription`` is what the next connection asks for, and those that are open carry."""

    def __init__(self, subscription: Subscription, watchdog: Watchdog) -> None:
        self.subscription = subscription
        self.watchdog = watchdog
        self._connections: WeakSet[Connection] = WeakSet()
        """One, or two while one takes over from the other."""

    def connected_by(self, connection: Connection) -> None:
        self._connections.add(connection)

    def change(self, joins: Sequence[str], leaves: Sequence[str]) -> None:
        """Venue symbols that it carries from now on, or no more."""
        kept = [symbol for symbol in self.subscription.symbols if symbol not in set(leaves)]
        self.subscription = replace(self.subscription, symbols=(*kept, *joins))
        self.watchdog.carry(self.subscription)
        changes = [replace(self.subscription, symbols=tuple(symbols)) for symbols in (joins, leaves)]
        for connection in self._connections:
            carry(connection, self.subscription, *changes)

    def forget(self, names: Sequence[tuple[str, str]]) -> None:
        """Contracts, by symbol and venue symbol, that are over."""
        for connection in self._connections:
            connection.intake.forget(names)
