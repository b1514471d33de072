"""``ValidationSpec``: what is valid in each table, and where a venue differs. Read by every writer.

A table or venue without a spec is refused at the start (``spec_for``).
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from etl.adapter.contract import Exchange
from etl.errors import UsageError
from etl.model.codes import Code
from etl.model.records import Kind, Severity, SizeUnit
from etl.model.tables import TABLE_BY_KIND
from etl.validation import rules
from etl.validation.rules import Rule

DAY_NS = 86_400_000_000_000
YEAR_2100_NS = 4_102_444_800_000_000_000


class SizeLimit(Struct, frozen=True):
    """Above ``soft`` a size is odd, above ``hard`` it is no real size of that unit."""

    soft: float
    hard: float


class ValidationSpec(Struct, frozen=True, kw_only=True):
    table: str
    kind: Kind
    rules: tuple[Rule, ...]
    decimals: tuple[str, ...]
    """Fields whose text must be within the digits of ``etl/model/decimals.py``."""
    event_time_declared: bool = True
    """The venue sends an event time for every record of this table; without it epoch rules do not apply."""
    event_time_min_ns: int = 0
    event_time_max_ns: int = YEAR_2100_NS
    """Bound where the time of receipt is not known; else ``future_hard_ns`` after receipt."""
    future_hard_ns: int = DAY_NS
    skew_soft_ns: int = 5_000_000_000
    stale_soft_ns: int = 900_000_000_000
    """Consolidated feeds may report a print late: FINRA allows 10 s, late prints come for minutes."""
    price_max: float = 1e13
    sizes: tuple[SizeLimit, ...] = ()
    """By the number of ``SizeUnit``."""
    deviation_soft: float = 3.0
    deviation_hard: float = 10.0
    deviation_floor: float = 0.002
    """Least standard deviation of a daily return: a stablecoin's own would make every move an outlier."""
    confirmations: int = 5
    """Trades in a row on a new level, within ``confirmation_share`` of each other, that admit it."""
    confirmation_share: float = 0.05
    identity_window: int = 4_096
    """Recent identities per connection that are compared by content."""


_SIZE_OF_UNIT = {
    SizeUnit.NONE: SizeLimit(1e12, 1e15),
    SizeUnit.BASE: SizeLimit(1e12, 1e15),
    SizeUnit.QUOTE: SizeLimit(1e12, 1e15),
    SizeUnit.CONTRACT: SizeLimit(1e9, 1e12),
    SizeUnit.SHARE: SizeLimit(1e8, 1e9),
    SizeUnit.ROUND_LOT: SizeLimit(1e6, 1e7),
}
_SIZES = tuple(_SIZE_OF_UNIT[unit] for unit in SizeUnit)
_BAR_SIZES = tuple(SizeLimit(limit.soft * 1e3, limit.hard * 1e3) for limit in _SIZES)

_HARD, _SOFT = Severity.HARD, Severity.SOFT

_TIME_RULES = (
    Rule(Code.EVENT_TIME_MISSING, _HARD, rules.event_time_missing),
    Rule(Code.EVENT_TIME_BEFORE_MARKET, _HARD, rules.event_time_before_market),
    Rule(Code.EVENT_TIME_IN_FUTURE, _HARD, rules.event_time_in_future),
    Rule(Code.TIME_IMPLAUSIBLE, _HARD, rules.time_implausible),
    Rule(Code.CLOCK_SKEW, _SOFT, rules.clock_skew),
    Rule(Code.EVENT_TIME_STALE, _SOFT, rules.event_time_stale),
)

_TRADE_RULES = (
    *_TIME_RULES,
    Rule(Code.PRICE_MISSING, _HARD, rules.price_missing),
    Rule(Code.PRICE_NOT_POSITIVE, _HARD, rules.price_not_positive),
    Rule(Code.PRICE_IMPLAUSIBLE, _HARD, rules.price_implausible),
    Rule(Code.PRICE_FAR_OUT, _HARD, rules.price_far_out),
    Rule(Code.PRICE_DEVIATES, _SOFT, rules.price_deviates),
    Rule(Code.PRICE_OFF_TICK, _SOFT, rules.price_off_tick),
    Rule(Code.SIZE_MISSING, _HARD, rules.size_missing),
    Rule(Code.SIZE_NEGATIVE, _HARD, rules.size_negative),
    Rule(Code.SIZE_IMPLAUSIBLE, _HARD, rules.size_implausible),
    Rule(Code.SIZE_ZERO, _SOFT, rules.size_zero),
    Rule(Code.SIZE_ODD, _SOFT, rules.size_odd),
)

_QUOTE_RULES = (
    *_TIME_RULES,
    Rule(Code.PRICE_NOT_POSITIVE, _HARD, rules.quote_price_not_positive),
    Rule(Code.PRICE_IMPLAUSIBLE, _HARD, rules.quote_price_implausible),
    Rule(Code.SIZE_NEGATIVE, _HARD, rules.quote_size_negative),
    Rule(Code.SIZE_IMPLAUSIBLE, _HARD, rules.quote_size_implausible),
    Rule(Code.QUOTE_EMPTY, _SOFT, rules.quote_empty),
    Rule(Code.QUOTE_CROSSED, _SOFT, rules.quote_crossed),
    Rule(Code.QUOTE_LOCKED, _SOFT, rules.quote_locked),
)

_BOOK_RULES = (
    *_TIME_RULES,
    Rule(Code.LEVELS_UNEVEN, _HARD, rules.book_uneven),
    Rule(Code.PRICE_NOT_POSITIVE, _HARD, rules.book_price_not_positive),
    Rule(Code.PRICE_IMPLAUSIBLE, _HARD, rules.book_price_implausible),
    Rule(Code.SIZE_NEGATIVE, _HARD, rules.book_size_negative),
    Rule(Code.SIZE_IMPLAUSIBLE, _HARD, rules.book_size_implausible),
    Rule(Code.BOOK_CROSSED, _HARD, rules.book_crossed),
)

_BAR_RULES = (
    *_TIME_RULES,
    Rule(Code.INTERVAL_MISSING, _HARD, rules.interval_missing),
    Rule(Code.PRICE_MISSING, _HARD, rules.bar_price_missing),
    Rule(Code.PRICE_NOT_POSITIVE, _HARD, rules.bar_price_not_positive),
    Rule(Code.PRICE_IMPLAUSIBLE, _HARD, rules.bar_price_implausible),
    Rule(Code.OHLC_INCONSISTENT, _HARD, rules.ohlc_inconsistent),
    Rule(Code.SIZE_NEGATIVE, _HARD, rules.volume_negative),
    Rule(Code.SIZE_IMPLAUSIBLE, _HARD, rules.size_implausible),
    Rule(Code.PRICE_NOT_POSITIVE, _HARD, rules.bar_average_negative),
    Rule(Code.SIZE_NEGATIVE, _HARD, rules.bar_volume_negative),
    Rule(Code.VOLUME_INCONSISTENT, _HARD, rules.volume_inconsistent),
    Rule(Code.BAR_MISALIGNED, _SOFT, rules.bar_misaligned),
)

_CORRECTION_RULES = (
    *_TIME_RULES,
    Rule(Code.PRICE_NOT_POSITIVE, _HARD, rules.price_not_positive),
    Rule(Code.SIZE_NEGATIVE, _HARD, rules.size_negative),
)

_STATUS_RULES = (
    *_TIME_RULES,
    Rule(Code.PRICE_NOT_POSITIVE, _HARD, rules.bands_not_positive),
    Rule(Code.BANDS_REVERSED, _HARD, rules.bands_reversed),
)

_STATS_RULES = (
    *_TIME_RULES,
    Rule(Code.PRICE_NOT_POSITIVE, _HARD, rules.mark_not_positive),
    Rule(Code.PRICE_IMPLAUSIBLE, _HARD, rules.mark_implausible),
    Rule(Code.SIZE_NEGATIVE, _HARD, rules.open_interest_negative),
    Rule(Code.FUNDING_IMPLAUSIBLE, _HARD, rules.funding_implausible),
    Rule(Code.TIME_IMPLAUSIBLE, _HARD, rules.funding_time_implausible),
)

_OBSERVATION_RULES = (
    *_TIME_RULES,
    Rule(Code.FIELD_MALFORMED, _HARD, rules.observation_undated),
)

SPECS: dict[Kind, ValidationSpec] = {
    Kind.TRADE: ValidationSpec(
        table="trades",
        kind=Kind.TRADE,
        rules=_TRADE_RULES,
        decimals=("last_price", "volume"),
        sizes=_SIZES,
    ),
    Kind.QUOTE: ValidationSpec(
        table="quotes",
        kind=Kind.QUOTE,
        rules=_QUOTE_RULES,
        decimals=("bid", "bid_size", "ask", "ask_size"),
        sizes=_SIZES,
    ),
    Kind.BOOK: ValidationSpec(
        table="book_updates",
        kind=Kind.BOOK,
        rules=_BOOK_RULES,
        decimals=("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"),
        sizes=_SIZES,
    ),
    Kind.BAR: ValidationSpec(
        table="bars",
        kind=Kind.BAR,
        rules=_BAR_RULES,
        decimals=("open", "high", "low", "close", "volume", "vwap", "quote_volume", "taker_buy_volume"),
        sizes=_BAR_SIZES,
        future_hard_ns=2 * DAY_NS,
        skew_soft_ns=60_000_000_000,
        stale_soft_ns=7 * DAY_NS,
    ),
    Kind.AGG_TRADE: ValidationSpec(
        table="agg_trades",
        kind=Kind.AGG_TRADE,
        rules=_TRADE_RULES,
        decimals=("last_price", "volume"),
        sizes=_SIZES,
    ),
    Kind.CORRECTION: ValidationSpec(
        table="corrections",
        kind=Kind.CORRECTION,
        rules=_CORRECTION_RULES,
        decimals=("last_price", "volume"),
        event_time_declared=False,
    ),
    Kind.STATUS: ValidationSpec(
        table="statuses",
        kind=Kind.STATUS,
        rules=_STATUS_RULES,
        decimals=("limit_down", "limit_up"),
        event_time_declared=False,
    ),
    Kind.STATS: ValidationSpec(
        table="stats",
        kind=Kind.STATS,
        rules=_STATS_RULES,
        decimals=("mark_price", "index_price", "open_interest", "funding_rate"),
        event_time_declared=False,
    ),
    Kind.LIQUIDATION: ValidationSpec(
        table="liquidations",
        kind=Kind.LIQUIDATION,
        rules=_TRADE_RULES,
        decimals=("last_price", "volume"),
        sizes=_SIZES,
    ),
    Kind.OBSERVATION: ValidationSpec(
        table="observations",
        kind=Kind.OBSERVATION,
        rules=_OBSERVATION_RULES,
        decimals=("value",),
    ),
    Kind.GAP: ValidationSpec(table="gaps", kind=Kind.GAP, rules=(), decimals=(), event_time_declared=False),
}


def specs_for(exchange: type[Exchange]) -> dict[Kind, ValidationSpec]:
    """The spec of every table for one venue. Raises ``UsageError`` where the venue states no bounds."""
    if not exchange.event_time_min_ns:
        raise UsageError(f"{exchange.name}: no validation bounds; state event_time_min_ns in its file")
    return {
        kind: msgspec.structs.replace(
            spec,
            event_time_min_ns=exchange.event_time_min_ns,
            event_time_declared=spec.event_time_declared and kind not in exchange.untimed_kinds,
        )
        for kind, spec in SPECS.items()
    }


assert set(SPECS) == set(TABLE_BY_KIND), "a table without a spec"
