"""Which prices of a symbol are normal on one connection: by its statistics, and by what its trades confirmed since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from etl.model.codes import Code
from etl.model.records import Severity, Trade
from etl.validation.findings import Finding
from etl.validation.specs import ValidationSpec
from etl.validation.statistics import UNKNOWN, LevelWatch, PriceBand, SymbolStatistics, band_of
from etl.validation.steps import StepWatch
from etl.validation.views import INFINITY, NAN

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
        self.steps: dict[str, StepWatch] = {}
        self._finer: dict[str, tuple[float, float]] = {}
        """The step of the list, and the one that trades have shown instead."""

    def learn(self, statistics: Iterable[SymbolStatistics]) -> None:
        """Take new symbol statistics; they hold from the next record on."""
        for item in statistics:
            self._statistics[item.symbol] = item
            self._judge_by(item)

    def forget(self, symbol: str) -> None:
        """A contract that is over."""
        for known in (self._statistics, self.by_symbol, self.levels, self.steps, self._finer):
            known.pop(symbol, None)

    def follow(self, trade: Trade, price: float, findings: Sequence[Finding]) -> Sequence[Finding]:
        """What is left of the findings of a trade once the bands have followed it."""
        if all(finding.severity is not Severity.HARD for finding in findings):
            self._follow_step(trade, any(finding.code == Code.PRICE_OFF_TICK for finding in findings))
        return self._follow_level(trade, price, findings)

    def _judge_by(self, item: SymbolStatistics, level: float | None = None) -> None:
        band = band_of(item, self._spec, level)
        listed, shown = self._finer.get(item.symbol, (NAN, NAN))
        self.by_symbol[item.symbol] = replace(band, price_step=shown) if listed == item.price_step else band

    def _follow_step(self, trade: Trade, is_off: bool) -> None:
        """When enough trades are off the step of the list, judge by the finer one that they show from now on."""
        band = self.by_symbol.get(trade.symbol, UNKNOWN)
        if trade.last_price is None or not (is_off or trade.symbol in self.steps):
            return
        watch = self.steps.get(trade.symbol) or StepWatch(band.price_step)
        ahead = watch.observe(trade.last_price, is_off)
        if ahead >= self._spec.confirmations and band.price_figures == INFINITY:
            self._finer[trade.symbol] = self._statistics[trade.symbol].price_step or NAN, watch.step
            self.by_symbol[trade.symbol] = replace(band, price_step=watch.step)
        if 0 < ahead < self._spec.confirmations:
            self.steps[trade.symbol] = watch
        else:
            self.steps.pop(trade.symbol, None)

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
        self._judge_by(self._statistics[trade.symbol], price)
        self.released += [held for held in watch.release() if held is not trade]
        return others
