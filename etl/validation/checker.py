"""The check of one record on ingestion.

Two steps, because nearly every record is good: a *screen* of a few comparisons proves that no rule can fire; only
what does not pass it is laid out as a view and judged rule by rule. A property test holds the screen to the rules:
what it lets through, no rule objects to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from etl.adapter.contract import Exchange
from etl.model.codes import REPLAYED
from etl.model.records import (
    AggTrade,
    Bar,
    Book,
    BookAction,
    Correction,
    Kind,
    Liquidation,
    Observation,
    Quote,
    Record,
    Severity,
    SizeUnit,
    Stats,
    Status,
    Trade,
)
from etl.model.times import interval_ns
from etl.validation.bands import Bands
from etl.validation.decimals import decimal_fault, four_numbers, number, numbers
from etl.validation.findings import Finding
from etl.validation.identities import RecentIdentities
from etl.validation.rules import INT64_MAX
from etl.validation.specs import ValidationSpec, specs_for
from etl.validation.statistics import UNKNOWN, SymbolStatistics
from etl.validation.views import (
    INFINITY,
    NAN,
    BarView,
    BookView,
    CorrectionView,
    ObservationView,
    QuoteView,
    StatsView,
    StatusView,
    Times,
    TimeValues,
    TradeView,
    day_number,
)

INTERVAL_NS = {name: interval_ns(name) for name in ("1s", "1m", "5m", "1h")}
NOT_ALIGNED = -1
"""Intervals not judged for alignment: a day begins where the venue says."""
OFFSET_SAMPLES_MIN = 32
OFFSET_STEP_NS = 2_000_000
"""The estimate moves by this much toward each sample, so it settles on the median and no outlier drags it."""

_NONE: tuple[Finding, ...] = ()
_DECIMAL_RULE = "decimal_fits"


class ClockOffset:
    """Venue clock minus ours for one connection: a running median of (event time − receive time)."""

    __slots__ = ("_samples", "offset_ns")

    def __init__(self) -> None:
        self.offset_ns: int | None = None
        self._samples: list[int] = []

    def observe(self, difference_ns: int) -> None:
        if self.offset_ns is not None:
            self.offset_ns += OFFSET_STEP_NS if difference_ns > self.offset_ns else -OFFSET_STEP_NS
            return
        self._samples.append(difference_ns)
        if len(self._samples) >= OFFSET_SAMPLES_MIN:
            self.offset_ns = sorted(self._samples)[OFFSET_SAMPLES_MIN // 2]
            self._samples.clear()


class Checker:
    """One connection's checks, with what it has to remember: clock offset, recent identities, price levels.

    ``judge_lateness`` is off for served recordings and history, whose times lie in the past by intent. Records that a
    venue repeats on subscribing (flag ``REPLAYED``) are never late, and teach the clock nothing.
    """

    def __init__(
        self,
        exchange: type[Exchange],
        statistics: Iterable[SymbolStatistics] = (),
        judge_lateness: bool = True,
    ) -> None:
        self.specs = specs_for(exchange)
        self.judge_lateness = judge_lateness
        self.bands = Bands(self.specs[Kind.TRADE])
        self.clock = ClockOffset()
        self.identities = RecentIdentities(self.specs[Kind.TRADE].identity_window)
        self._same_identity = self.identities.check
        # Lists indexed by the enum's number: hashing an enum member costs 100 ns a look-up.
        self._spec_of: list[ValidationSpec] = _indexed(self.specs, default=self.specs[Kind.GAP])
        self._check_of: list[Callable[[Any], Sequence[Finding]]] = _indexed(
            {
                Kind.TRADE: self._check_trade,
                Kind.QUOTE: self._check_quote,
                Kind.BOOK: self._check_book,
                Kind.BAR: self._check_bar,
                Kind.AGG_TRADE: self._check_trade,
                Kind.LIQUIDATION: self._check_trade,
            },
            default=self._check_other,
        )
        self.bands.learn(statistics)

    def check(self, record: Record) -> Sequence[Finding]:
        """Every rule that ``record`` breaks, in the order of its spec; empty for a good one."""
        try:
            return self._check_of[record.kind](record)
        except ValueError:
            return self._decimal_findings(record)

    # --- kinds ----------------------------------------------------------------------------------------

    def _check_trade(self, record: Trade | AggTrade | Liquidation) -> Sequence[Finding]:
        spec = self._spec_of[record.kind]
        price = number(record.last_price)
        size = number(record.volume)
        bands = self.bands
        band = bands.by_symbol.get(record.symbol, UNKNOWN)
        limit = spec.sizes[record.size_unit]
        findings: Sequence[Finding] = _NONE
        if not (
            self._on_time(record, spec)
            and 0 < price <= spec.price_max
            and band.soft_low <= price <= band.soft_high
            and 0 < size <= limit.soft
            and band.price_step != band.price_step
        ):
            view = TradeView(
                *self._times(record, spec),
                price,
                size,
                spec.price_max,
                limit.soft,
                limit.hard,
                band.price_step,
                band.price_figures,
                band.soft_low,
                band.soft_high,
                band.hard_low,
                band.hard_high,
                band.price_step_former,
                band.price_step_since_ns,
            )
            findings = self._judge(record, spec, view)
        if isinstance(record, Trade):
            findings = self._same_identity(record, findings)
            if findings or bands.levels or bands.steps:
                findings = bands.follow(record, price, findings)
        return findings

    def _check_quote(self, record: Quote) -> Sequence[Finding]:
        spec = self._spec_of[record.kind]
        bid, bid_size, ask, ask_size = four_numbers(record.bid, record.bid_size, record.ask, record.ask_size)
        limit = spec.sizes[record.size_unit]
        if (
            self._on_time(record, spec)
            and 0 < bid < ask <= spec.price_max
            and 0 <= bid_size <= limit.hard
            and 0 <= ask_size <= limit.hard
        ):
            return _NONE
        view = QuoteView(
            *self._times(record, spec), bid, bid_size, ask, ask_size, spec.price_max, limit.hard,
            record.size_unit is SizeUnit.CONTRACT,
        )  # fmt: skip
        return self._judge(record, spec, view)

    def _check_book(self, record: Book) -> Sequence[Finding]:
        spec = self._spec_of[record.kind]
        bids, asks = numbers(record.bid_prices), numbers(record.ask_prices)
        sizes = _sizes_of(record)
        prices = bids + asks
        uneven = len(bids) != len(record.bid_sizes) or len(asks) != len(record.ask_sizes)
        size_hard_max = spec.sizes[record.size_unit].hard
        if (
            prices
            and not uneven
            and record.book_action is not BookAction.SNAPSHOT
            and self._on_time(record, spec)
            and min(prices) > 0
            and max(prices) <= spec.price_max
            and min(sizes) >= 0
            and max(sizes) <= size_hard_max
        ):
            return _NONE
        view = BookView(
            *self._times(record, spec),
            price_min=min(prices, default=INFINITY),
            price_top=max(prices, default=-INFINITY),
            size_min=min(sizes, default=INFINITY),
            size_top=max(sizes, default=-INFINITY),
            best_bid=max(bids, default=NAN),
            best_ask=min(asks, default=NAN),
            is_snapshot=record.book_action is BookAction.SNAPSHOT,
            uneven=uneven,
            price_max=spec.price_max,
            size_hard_max=size_hard_max,
        )
        return self._judge(record, spec, view)

    def _check_bar(self, record: Bar) -> Sequence[Finding]:
        spec = self._spec_of[record.kind]
        view = BarView(
            *self._times(record, spec),
            number(record.open),
            number(record.high),
            number(record.low),
            number(record.close),
            number(record.volume),
            INTERVAL_NS.get(record.interval, NOT_ALIGNED) if record.interval else 0,
            spec.price_max,
            spec.sizes[record.size_unit].hard,
            number(record.vwap),
            number(record.quote_volume),
            number(record.taker_buy_volume),
        )
        return self._judge(record, spec, view)

    def _check_other(self, record: Record) -> Sequence[Finding]:
        spec = self._spec_of[record.kind]
        for name in spec.decimals:
            text = getattr(record, name)
            if text is not None and decimal_fault(text):
                return self._decimal_findings(record)
        if not spec.rules:
            return _NONE
        self._on_time(record, spec)  # the clock learns
        return self._judge(record, spec, _other_view(record, spec, self._times(record, spec)))

    # --- shared ---------------------------------------------------------------------------------------

    def _on_time(self, record: Record, spec: ValidationSpec) -> bool:
        """True if no time rule can fire; also where the clock offset learns."""
        event_time_ns = record.event_time_ns
        publish_time_ns, participant_time_ns = record.publish_time_ns, record.participant_time_ns
        if event_time_ns == 0:
            return not spec.event_time_declared and not publish_time_ns and not participant_time_ns
        receive_time_ns = record.receive_time_ns
        difference_ns = event_time_ns - receive_time_ns
        if not spec.event_time_min_ns <= event_time_ns <= INT64_MAX or difference_ns > spec.future_hard_ns:
            return False
        newest_ns = receive_time_ns + spec.future_hard_ns
        if publish_time_ns and not spec.event_time_min_ns <= publish_time_ns <= newest_ns:
            return False
        if participant_time_ns and not spec.event_time_min_ns <= participant_time_ns <= newest_ns:
            return False
        if not self.judge_lateness or (record.flags and REPLAYED in record.flags):
            return receive_time_ns != 0 or event_time_ns <= spec.event_time_max_ns
        clock = self.clock
        if spec.kind is not Kind.BAR:
            clock.observe(difference_ns)
        offset_ns = clock.offset_ns
        if offset_ns is None:
            return receive_time_ns != 0 or event_time_ns <= spec.event_time_max_ns
        return -spec.stale_soft_ns <= difference_ns - offset_ns <= spec.skew_soft_ns

    def _times(self, record: Record, spec: ValidationSpec) -> TimeValues:
        receive_time_ns = record.receive_time_ns
        event_time_max_ns = (
            receive_time_ns + spec.future_hard_ns if receive_time_ns else spec.event_time_max_ns
        )
        offset_ns = self.clock.offset_ns
        skew_max_ns, stale_before_ns = INFINITY, -INFINITY
        is_judged = self.judge_lateness and REPLAYED not in record.flags
        if is_judged and offset_ns is not None and receive_time_ns:
            skew_max_ns = receive_time_ns + offset_ns + spec.skew_soft_ns
            stale_before_ns = receive_time_ns + offset_ns - spec.stale_soft_ns
        return (
            record.event_time_ns,
            spec.event_time_declared,
            spec.event_time_min_ns,
            event_time_max_ns,
            skew_max_ns,
            stale_before_ns,
            record.publish_time_ns,
            record.participant_time_ns,
        )

    def _judge(self, record: Record, spec: ValidationSpec, view: Times) -> Sequence[Finding]:
        return self._decimal_findings(record) or [
            Finding(str(rule.code), rule.severity, rule.name, reason_of(view, record))
            for rule in spec.rules
            if rule.bad(view)
        ]

    def _decimal_findings(self, record: Record) -> Sequence[Finding]:
        for name in self._spec_of[record.kind].decimals:
            value = getattr(record, name)
            for text in value if isinstance(value, tuple) else (value,):
                if text is not None and (code := decimal_fault(text)):
                    return [Finding(str(code), Severity.HARD, _DECIMAL_RULE, f"{name}={text[:60]!r}")]
        return _NONE


def _indexed(by_kind: dict[Kind, Any], default: Any) -> list[Any]:
    return [by_kind.get(kind, default) for kind in (Kind.GAP, *Kind)]


def _other_view(record: Record, spec: ValidationSpec, times: TimeValues) -> Times:
    if isinstance(record, Correction):
        return CorrectionView(*times, number(record.last_price), number(record.volume))
    if isinstance(record, Status):
        return StatusView(*times, number(record.limit_down), number(record.limit_up))
    if isinstance(record, Stats):
        values = (record.mark_price, record.index_price, record.open_interest, record.funding_rate)
        mark, index, interest, rate = map(number, values)
        return StatsView(*times, mark, index, interest, rate, record.next_funding_time_ns, spec.price_max)
    if isinstance(record, Observation):
        return ObservationView(*times, day_number(record.observation_date))
    return Times(*times)


def reason_of(view: Times, record: Record) -> str:
    """The numbers that a reader of the quarantine wants to see, in one line."""
    numbers = ", ".join(
        f"{name}={value}"
        for name in ("price", "size", "bid", "ask", "bid_size", "ask_size", "open", "high", "low", "close")
        if (value := getattr(view, name, None)) is not None and value == value
    )
    return f"event_time_ns={record.event_time_ns} receive_time_ns={record.receive_time_ns} {numbers}".rstrip()


def _sizes_of(record: Book) -> list[float]:
    """Of all levels; what a change takes away is below zero, and judged by how much it is."""
    sizes = numbers(record.bid_sizes + record.ask_sizes)
    return [*map(abs, sizes)] if record.book_action is BookAction.RELATIVE else sizes
