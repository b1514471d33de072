"""What is normal for a symbol: the previous daily close, and how far a day moves from it. Pure."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from etl.model.records import Trade
from etl.validation.specs import ValidationSpec
from etl.validation.views import INFINITY, NAN


class SymbolStatistics(Struct, frozen=True):
    """Of 30 days of daily bars: ``close`` of the last, mean and standard deviation of the daily return.

    ``split_factor`` multiplies ``close`` where the symbol split after it; ``price_step`` and ``price_figures`` are the
    instrument's, if known; ``price_step_former`` is the step before the list of ``price_step_since_ns``.
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
    price_figures: int | None = None
    price_step_former: float | None = None
    price_step_since_ns: int = 0


class PriceBand(Struct, frozen=True, gc=False):
    """Inside soft: normal. Between soft and hard: flagged. Outside hard: quarantined until confirmed.

    Before ``price_step_since_ns`` a price may be of ``price_step_former`` too: between two lists nobody says when a
    step moved."""

    soft_low: float = -INFINITY
    soft_high: float = INFINITY
    hard_low: float = -INFINITY
    hard_high: float = INFINITY
    price_step: float = NAN
    price_figures: float = INFINITY
    price_step_former: float = NAN
    price_step_since_ns: int = 0


UNKNOWN = PriceBand()
DAYS_MIN = 20
"""With fewer daily bars than this a symbol is unknown: no deviation is judged, nothing is hard. Five days give a
deviation so uncertain that one clean trade in a thousand came out beyond ten of them."""


def band_of(statistics: SymbolStatistics, spec: ValidationSpec, level: float | None = None) -> PriceBand:
    """The band around the adjusted close, or around ``level``, a new level that trades confirmed."""
    stepped = PriceBand(
        price_step=NAN if statistics.price_step is None else statistics.price_step,
        price_figures=statistics.price_figures or INFINITY,
        price_step_former=NAN if statistics.price_step_former is None else statistics.price_step_former,
        price_step_since_ns=statistics.price_step_since_ns,
    )
    if statistics.days < DAYS_MIN or not statistics.close > 0:
        return stepped
    center = level if level is not None else statistics.close * statistics.split_factor
    middle = center * (1 + (statistics.return_mean if level is None else 0.0))
    reach = center * max(statistics.return_deviation, spec.deviation_floor)
    return replace(
        stepped,
        soft_low=middle - spec.deviation_soft * reach,
        soft_high=middle + spec.deviation_soft * reach,
        hard_low=middle - spec.deviation_hard * reach,
        hard_high=middle + spec.deviation_hard * reach,
    )


class LevelWatch:
    """Trades of one symbol outside its soft bound: each waits for the trades after it to confirm its level. Those
    beyond the hard bound are held meanwhile."""

    __slots__ = ("_count", "_held", "_level")

    def __init__(self) -> None:
        self._held: list[Trade] = []
        self._level = 0.0
        self._count = 0

    def outside(self, price: float, held: Trade | None, spec: ValidationSpec) -> bool:
        """Note a trade at ``price``, and hold it if it is given; true once ``spec.confirmations`` in a row agree."""
        if not self._count or abs(price - self._level) > spec.confirmation_share * self._level:
            self._held.clear()
            self._level, self._count = price, 0
        self._count += 1
        if held is not None and len(self._held) < spec.confirmations:
            self._held.append(held)
        return self._count >= spec.confirmations

    def release(self) -> list[Trade]:
        """What was held at the confirmed level."""
        held, self._held = self._held, []
        return held
