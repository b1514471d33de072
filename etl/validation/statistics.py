"""What is normal for a symbol: the previous daily close, and how far a day moves from it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from etl.records import Trade
from etl.validation.specs import ValidationSpec
from etl.validation.views import INFINITY, NAN


class SymbolStatistics(Struct, frozen=True):
    """Of 30 days of daily bars: ``close`` of the last, mean and standard deviation of the daily return.

    ``split_factor`` multiplies ``close`` where the symbol split after it; ``price_step`` is the instrument's, if known.
    """

    exchange: str
    symbol: str
    close: float
    return_mean: float
    return_deviation: float
    days: int
    as_of_ns: int
    split_factor: float = 1.0
    price_step: float | None = None


class PriceBand(Struct, frozen=True, gc=False):
    """Inside soft: normal. Between soft and hard: flagged. Outside hard: quarantined until confirmed."""

    soft_low: float = -INFINITY
    soft_high: float = INFINITY
    hard_low: float = -INFINITY
    hard_high: float = INFINITY
    price_step: float = NAN


UNKNOWN = PriceBand()
DAYS_MIN = 5
"""With fewer daily bars than this a symbol is unknown: no deviation is judged, nothing is hard."""


def band_of(statistics: SymbolStatistics, spec: ValidationSpec, level: float | None = None) -> PriceBand:
    """The band around the adjusted close, or around ``level``, a new level that trades confirmed."""
    price_step = NAN if statistics.price_step is None else statistics.price_step
    if statistics.days < DAYS_MIN or not statistics.close > 0:
        return PriceBand(price_step=price_step)
    center = level if level is not None else statistics.close * statistics.split_factor
    middle = center * (1 + (statistics.return_mean if level is None else 0.0))
    reach = center * max(statistics.return_deviation, spec.deviation_floor)
    return PriceBand(
        soft_low=middle - spec.deviation_soft * reach,
        soft_high=middle + spec.deviation_soft * reach,
        hard_low=middle - spec.deviation_hard * reach,
        hard_high=middle + spec.deviation_hard * reach,
        price_step=price_step,
    )


class LevelWatch:
    """Trades of one symbol beyond the hard bound, waiting for the trades after them to confirm the level."""

    __slots__ = ("_prices", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Trade] = []
        self._prices: list[float] = []

    def beyond(self, trade: Trade, price: float, spec: ValidationSpec) -> Sequence[Trade]:
        """Note ``trade``; once ``spec.confirmations`` in a row agree, all that waited, else nothing."""
        if self._prices and abs(price - self._prices[0]) > spec.confirmation_share * self._prices[0]:
            self.clear()
        self._waiting.append(trade)
        self._prices.append(price)
        if len(self._waiting) < spec.confirmations:
            return ()
        confirmed = self._waiting
        self._waiting, self._prices = [], []
        return confirmed

    def clear(self) -> None:
        self._waiting.clear()
        self._prices.clear()
