"""What is made for one client, on its way into the outbox."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from etl.errors import EtlError
from etl.gateway.derivation import Derivation
from etl.gateway.entry import Entry
from etl.gateway.messages import Derived
from etl.gateway.outbox import Outbox
from etl.gateway.selection import Selection
from etl.model.derived import AnyDerived


class DerivedFeed:
    """``derivation`` ``None``: nothing is made. What is made of records is told before them, with the cursor before
    them, so that a stream which is cut between goes on before both. ``fail`` hears why it ended.
    """

    def __init__(
        self,
        derivation: Derivation | None,
        allowed: Selection,
        outbox: Outbox,
        fail: Callable[[EtlError], None],
    ) -> None:
        self._derivation = derivation
        self._allowed = allowed
        self._outbox = outbox
        self._fail = fail

    @property
    def is_on(self) -> bool:
        return self._derivation is not None

    def wants(self, route: tuple[bytes, int]) -> bool:
        derivation = self._derivation
        return derivation is not None and derivation.selection.matches(route) and self._allowed.matches(route)

    def take(self, entries: list[Entry], cursor: str, clocks_ns: Mapping[int, int] | None) -> None:
        """``cursor`` stands before them; ``clocks_ns`` as of ``Derivation.take``, or live, by the clock, without."""
        if self._derivation is None:
            return
        try:
            made = self._derivation.take(entries, clocks_ns or {})
            if clocks_ns is None:
                self._derivation.advance(time.time_ns())
            self._tell([*made, *self._derivation.told()], cursor)
        except EtlError as error:
            self._derivation = None
            self._fail(error)

    def pass_over(self, entries: list[Entry]) -> None:
        """Raises ``UsageError``."""
        if self._derivation is not None:
            self._derivation.pass_over(entries)

    def miss(self, partition: int) -> None:
        if self._derivation is not None:
            self._derivation.miss(partition)

    def advance(self, clock_ns: int, cursor: str) -> None:
        if self._derivation is not None:
            self._derivation.advance(clock_ns)
            self._tell(self._derivation.told(), cursor)

    def finish(self, to_ns: int, cursor: str) -> None:
        if self._derivation is not None:
            self._derivation.finish(to_ns)
            self._tell(self._derivation.told(), cursor)

    def _tell(self, made: list[AnyDerived], cursor: str) -> None:
        if made:
            self._outbox.tell(Derived(cursor=cursor, records=made), cursor)
