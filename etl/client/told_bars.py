"""Bars that a stream has had: where a connection was made again, the gateway may tell the last ones once more."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from etl.model.derived import AnyDerived, TradeBar

HELD_BARS = 16
"""Of one instrument and length."""


class ToldBars:
    def __init__(self) -> None:
        self._bars: dict[tuple[str, str, str], dict[int, TradeBar]] = {}

    def new(self, derived: Iterable[AnyDerived]) -> list[AnyDerived]:
        """What was not told in the same words."""
        return [one for one in derived if not isinstance(one, TradeBar) or self._is_new(one)]

    def _is_new(self, bar: TradeBar) -> bool:
        held = self._bars.setdefault((bar.exchange, bar.symbol, bar.interval), {})
        former = held.get(bar.time_ns)
        if former is None and len(held) == HELD_BARS and bar.time_ns < min(held):
            return False  # too old for a revision: it was told, and forgotten here
        if former is not None and structs.replace(bar, bar_state=former.bar_state, late_trades=0) == former:
            return False
        held[bar.time_ns] = structs.replace(bar, late_trades=0)
        if len(held) > HELD_BARS:
            del held[min(held)]
        return True
