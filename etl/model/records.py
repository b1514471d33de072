"""Frame, and the records that frames give. Frozen, no behaviour.

Decimals are the venue's exact text (``-?\\d+(\\.\\d+)?``), ``None`` where the venue did not say.
Times are UTC nanoseconds, 0 = none. The wire form is ``etl/wire/market_data.proto``: the field names
are the same, and ``tests/wire`` checks that they stay so.

Fields are positional on purpose: a parser of the hot path builds a record by position in 0.1 µs,
by keyword in 1.0 µs. Off the hot path, name them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from msgspec import Struct


class Kind(IntEnum):
    TRADE = 1
    QUOTE = 2
    BOOK = 3
    BAR = 4
    GAP = 5
    AGG_TRADE = 6
    CORRECTION = 7
    STATUS = 8
    STATS = 9
    LIQUIDATION = 10
    OBSERVATION = 11


class Source(IntEnum):
    """Where the frame came from. Live, replay, repair and backfill differ in nothing else."""

    STREAM = 1
    REPLAY = 2
    REPAIR = 3
    BACKFILL = 4


class Side(IntEnum):
    """The taker's side; 0 where the venue does not say."""

    NONE = 0
    BUY = 1
    SELL = 2


class SizeUnit(IntEnum):
    NONE = 0
    BASE = 1
    QUOTE = 2
    CONTRACT = 3
    SHARE = 4
    ROUND_LOT = 5


class BookAction(IntEnum):
    NONE = 0
    SNAPSHOT = 1
    ABSOLUTE = 2
    RELATIVE = 3


class BarState(IntEnum):
    """Ordered: a greater state of the same bar wins."""

    NONE = 0
    OPEN = 1
    CLOSED = 2
    REVISED = 3


class CorrectionKind(IntEnum):
    NONE = 0
    CORRECT = 1
    CANCEL = 2
    ERROR = 3


class GapKind(IntEnum):
    NONE = 0
    DISCONNECT = 1
    SEQUENCE = 2
    CHECKSUM = 3
    STALE = 4
    OVERFLOW = 5
    SOURCE_HOLE = 6
    START = 7
    RESET = 8
    JOIN = 9
    QUARANTINE = 10


class GapState(IntEnum):
    NONE = 0
    OPEN = 1
    REPAIRED = 2
    SOURCE_HOLE = 3
    UNREPAIRABLE = 4


class TradingStatus(IntEnum):
    NONE = 0
    TRADING = 1
    HALTED = 2
    PAUSED = 3
    AUCTION = 4
    CLOSED = 5


class Severity(IntEnum):
    """HARD: kept out of the stores. SOFT: stored with a flag, and noted."""

    NONE = 0
    HARD = 1
    SOFT = 2


class QuarantineOutcome(IntEnum):
    """What became of a quarantined item: a replay publishes it or finds it still bad; trades after a
    far-out one may confirm its level, which releases it."""

    NONE = 0
    HELD = 1
    PUBLISHED = 2
    STILL_BAD = 3
    RELEASED = 4


class Frame(Struct, frozen=True, gc=False):
    """One message exactly as it came: a websocket message, a response body, a line of a recording.

    ``endpoint`` is the URL without credentials (path and query for requests); ``frame_sequence``
    counts from 1 on a connection attempt, ``connection_id`` is that attempt's UUIDv7 as text.
    """

    exchange: str
    connection_id: str
    frame_sequence: int
    endpoint: str
    receive_time_ns: int
    payload: bytes
    source: Source = Source.STREAM


class Record(Struct, frozen=True, gc=False):
    """What every record carries. Identity is (exchange, symbol, kind, record_key)."""

    kind: ClassVar[Kind]

    exchange: str
    symbol: str
    venue_symbol: str
    channel: str
    event_time_ns: int
    receive_time_ns: int
    source: Source
    connection_id: str
    frame_sequence: int
    frame_index: int
    record_key: str
    key_time_ns: int
    parser_version: int
    sequence: int | None = None
    first_sequence: int | None = None
    previous_sequence: int | None = None
    publish_time_ns: int = 0
    participant_time_ns: int = 0
    flags: tuple[str, ...] = ()


class Trade(Record, frozen=True, gc=False):
    kind: ClassVar[Kind] = Kind.TRADE

    last_price: str | None = None
    volume: str | None = None
    side: Side = Side.NONE
    trade_id: str = ""
    size_unit: SizeUnit = SizeUnit.NONE
    market_center: str = ""
    trf_id: str = ""
    conditions: tuple[str, ...] = ()
    tape: str = ""


class AggTrade(Record, frozen=True, gc=False):
    kind: ClassVar[Kind] = Kind.AGG_TRADE

    last_price: str | None = None
    volume: str | None = None
    side: Side = Side.NONE
    trade_id: str = ""
    size_unit: SizeUnit = SizeUnit.NONE
    first_trade_id: str = ""
    last_trade_id: str = ""
    trade_count: int = 0
    conditions: tuple[str, ...] = ()


class Quote(Record, frozen=True, gc=False):
    """Best bid and offer. An absent side is ``None``, not 0."""

    kind: ClassVar[Kind] = Kind.QUOTE

    bid: str | None = None
    bid_size: str | None = None
    ask: str | None = None
    ask_size: str | None = None
    size_unit: SizeUnit = SizeUnit.NONE
    bid_exchange: str = ""
    ask_exchange: str = ""
    conditions: tuple[str, ...] = ()
    indicators: tuple[str, ...] = ()
    tape: str = ""
    market_center: str = ""


class Book(Record, frozen=True, gc=False):
    """A snapshot or a change of an order book. Prices and sizes are parallel; size 0 removes."""

    kind: ClassVar[Kind] = Kind.BOOK

    book_action: BookAction = BookAction.NONE
    bid_prices: tuple[str, ...] = ()
    bid_sizes: tuple[str, ...] = ()
    ask_prices: tuple[str, ...] = ()
    ask_sizes: tuple[str, ...] = ()
    size_unit: SizeUnit = SizeUnit.NONE
    depth: int = 0
    bid_orders: tuple[int, ...] = ()
    ask_orders: tuple[int, ...] = ()


class Bar(Record, frozen=True, gc=False):
    """``event_time_ns`` is the bar's start; ``interval`` is one of ``1s 1m 5m 1h 1d``."""

    kind: ClassVar[Kind] = Kind.BAR

    interval: str = ""
    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None
    volume: str | None = None
    bar_state: BarState = BarState.NONE
    size_unit: SizeUnit = SizeUnit.NONE
    vwap: str | None = None
    quote_volume: str | None = None
    taker_buy_volume: str | None = None
    trade_count: int = 0


class Gap(Record, frozen=True, gc=False):
    """What is known to be missing. Sequences are the first and last missing; times are the last good
    and the first good, both exclusive.

    ``detected_time_ns`` is when it was first declared, by our clock; ``attempts`` is how often the history was asked
    for it, ``repaired_rows`` how many records the best of them gave.
    """

    kind: ClassVar[Kind] = Kind.GAP

    gap_kind: GapKind = GapKind.NONE
    gap_state: GapState = GapState.NONE
    from_sequence: int | None = None
    to_sequence: int | None = None
    from_time_ns: int = 0
    to_time_ns: int = 0
    reason: str = ""
    attempts: int = 0
    repaired_rows: int = 0
    detected_time_ns: int = 0


class Correction(Record, frozen=True, gc=False):
    """Voids or replaces an earlier trade; applied in the stores' views."""

    kind: ClassVar[Kind] = Kind.CORRECTION

    original_trade_id: str = ""
    correction: CorrectionKind = CorrectionKind.NONE
    trade_id: str = ""
    last_price: str | None = None
    volume: str | None = None
    size_unit: SizeUnit = SizeUnit.NONE
    market_center: str = ""
    conditions: tuple[str, ...] = ()
    tape: str = ""


class Status(Record, frozen=True, gc=False):
    kind: ClassVar[Kind] = Kind.STATUS

    status: TradingStatus = TradingStatus.NONE
    status_code: str = ""
    limit_down: str | None = None
    limit_up: str | None = None
    reason: str = ""
    indicators: tuple[str, ...] = ()
    tape: str = ""


class Stats(Record, frozen=True, gc=False):
    """Mark, index, open interest, funding: only what was sent."""

    kind: ClassVar[Kind] = Kind.STATS

    mark_price: str | None = None
    index_price: str | None = None
    open_interest: str | None = None
    funding_rate: str | None = None
    next_funding_time_ns: int = 0


class Liquidation(Record, frozen=True, gc=False):
    kind: ClassVar[Kind] = Kind.LIQUIDATION

    last_price: str | None = None
    volume: str | None = None
    side: Side = Side.NONE
    size_unit: SizeUnit = SizeUnit.NONE


class Observation(Record, frozen=True, gc=False):
    """What a series says of a period, as one vintage told it; ``value`` is ``None`` where the source has none.

    Sources tell the day on which it was said and no hour: ``event_time_ns`` is 0, ``publish_time_ns`` midnight UTC of
    ``vintage_date``. Dates are ``YYYY-MM-DD``, as text: the first day of 1970 would be no time here.
    """

    kind: ClassVar[Kind] = Kind.OBSERVATION

    observation_date: str = ""
    vintage_date: str = ""
    value: str | None = None
    unit: str = ""
    release: str = ""


RECORD_TYPES: tuple[type[Record], ...] = (
    Trade,
    Quote,
    Book,
    Bar,
    Gap,
    AggTrade,
    Correction,
    Status,
    Stats,
    Liquidation,
    Observation,
)


class Quarantined(Struct, frozen=True, gc=False):
    """What was kept out of the stores (hard) or noted beside them (soft), with why and whence.

    ``payload`` is the raw frame; ``record`` the encoded ``MarketData`` where parsing got that far. Its identity
    is (exchange, connection_id, frame_sequence, frame_index, code); the newest ``outcome_time_ns`` holds.
    """

    code: str
    severity: Severity
    reason: str
    exchange: str
    endpoint: str
    receive_time_ns: int
    source: Source
    connection_id: str
    frame_sequence: int
    frame_index: int
    parser_version: int
    payload: bytes = b""
    record: bytes = b""
    symbol: str = ""
    rule: str = ""
    outcome: QuarantineOutcome = QuarantineOutcome.HELD
    outcome_time_ns: int = 0
