"""Which prices of a symbol are normal on one connection: by its statistics, and by what its trades confirmed since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from etl.model.codes import Code
from etl.model.records import Severity, Trade
from etl.validation.findings import Finding
from etl.validation.specs import ValidationSpec
from etl.validation.statistics import LevelWatch, PriceBand, SymbolStatistics, band_of

_LEVEL_CODES = (Code.PRICE_DEVIATES, Code.PRICE_FAR_OUT)


class Bands:
    """``by_symbol`` has those that are known; ``spec`` is that of trades."""

    def __init__(self, spec: ValidationSpec) -> None:
        self.by_symbol: dict[str, PriceBand] = {}
        self.released: list[Trade] = []
        """Trades once quarantined whose level the trades after them confirmed: publish them, and clear."""
        self._spec = spec
        self._statistics: dict[str, SymbolStatistics] = {}
        self.levels: dict[str, LevelWatch] = {}

    def learn(self, statistics: Iterable[SymbolStatistics]) -> None:
        """Take new symbol statistics; they hold from the next record on."""
        for item in statistics:
            self._statistics[item.symbol] = item
            self.by_symbol[item.symbol] = band_of(item, self._spec)

    def forget(self, symbol: str) -> None:
        """A contract that is over."""
        for known in (self._statistics, self.by_symbol, self.levels):
            known.pop(symbol, None)

    def follow(self, trade: Trade, price: float, findings: Sequence[Finding]) -> Sequence[Finding]:
        """What is left of the findings of a trade once the bands have followed it."""
        return self._follow_level(trade, price, findings)

    def _follow_level(self, trade: Trade, price: float, findings: Sequence[Finding]) -> Sequence[Finding]:
        """Hold what is far out; when enough trades confirm a new level, judge by it from now on."""
        outside = [finding for finding in findings if finding.code in _LEVEL_CODES]
        if not outside:
            if not findings:
                self.levels.pop(trade.symbol, None)
            return findings
        others = [finding for finding in findings if finding.code not in _LEVEL_CODES]
        if any(finding.severity is Severity.HARD for finding in others):
            return findings
        watch = self.levels.setdefault(trade.symbol, LevelWatch())
        is_held = outside[0].severity is Severity.HARD
        if not watch.outside(price, trade if is_held else None, self._spec):
            return findings
        del self.levels[trade.symbol]
        self.by_symbol[trade.symbol] = band_of(self._statistics[trade.symbol], self._spec, level=price)
        self.released += [held for held in watch.release() if held is not trade]
        return others
