"""Contracts that a simulated venue lists and lets end one after another, by the clock.

    KXBTC15M-1789581-0   the first of those that trade in period 1789581 of the series, each ``life_ns`` long

They begin to trade as they open, whether anybody listens or not, once the series was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

CONTRACT_LIFE_S = 900.0


class Turn(Struct, frozen=True):
    """A contract comes to be listed (a period before it opens), opens, or is over."""

    event: str
    symbol: str
    opens_ns: int
    closes_ns: int


LISTED, OPENED, OVER = "listed", "opened", "over"


class ContractSeries:
    """``width`` contracts in each period; ``life_ns`` may be changed until the series ``begin``s."""

    def __init__(self, prefix: str, width: int) -> None:
        self.prefix = prefix
        self.life_ns = int(CONTRACT_LIFE_S * 1e9)
        self._width = width
        self._period = 0
        """That of the last turn, 0 = nobody has asked."""

    def begin(self, now_ns: int) -> None:
        self._period = self._period or now_ns // self.life_ns - 1

    def turns(self, now_ns: int) -> Iterator[Turn]:
        """What has happened since the last call."""
        while self._period and self._period < now_ns // self.life_ns:
            self._period += 1
            for event, period in ((OVER, -1), (OPENED, 0), (LISTED, 1)):
                yield from self._each(event, self._period + period)

    def listed(self, now_ns: int, is_open: bool) -> list[Turn]:
        """Those that trade now, or those that will next."""
        return list(self._each(LISTED, now_ns // self.life_ns + (not is_open)))

    def trades(self, symbol: str, now_ns: int) -> bool:
        """Whether it may trade now, as far as this series knows."""
        if not symbol.startswith(self.prefix):
            return True
        period, _, number = symbol.removeprefix(self.prefix).partition("-")
        return number.isdecimal() and int(number) < self._width and period == str(now_ns // self.life_ns)

    def _each(self, event: str, period: int) -> Iterator[Turn]:
        for number in range(self._width):
            opens_ns = period * self.life_ns
            yield Turn(event, f"{self.prefix}{period}-{number}", opens_ns, opens_ns + self.life_ns)
