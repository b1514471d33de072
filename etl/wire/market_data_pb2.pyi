from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    TRADE: _ClassVar[Kind]
    QUOTE: _ClassVar[Kind]
    BOOK: _ClassVar[Kind]
    BAR: _ClassVar[Kind]
    GAP: _ClassVar[Kind]
    AGG_TRADE: _ClassVar[Kind]
    CORRECTION: _ClassVar[Kind]
    STATUS: _ClassVar[Kind]
    STATS: _ClassVar[Kind]
    LIQUIDATION: _ClassVar[Kind]
    OBSERVATION: _ClassVar[Kind]

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    STREAM: _ClassVar[Source]
    REPLAY: _ClassVar[Source]
    REPAIR: _ClassVar[Source]
    BACKFILL: _ClassVar[Source]

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    BUY: _ClassVar[Side]
    SELL: _ClassVar[Side]

class SizeUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIZE_UNIT_UNSPECIFIED: _ClassVar[SizeUnit]
    BASE: _ClassVar[SizeUnit]
    QUOTE_UNIT: _ClassVar[SizeUnit]
    CONTRACT: _ClassVar[SizeUnit]
    SHARE: _ClassVar[SizeUnit]
    ROUND_LOT: _ClassVar[SizeUnit]

class BookAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BOOK_ACTION_UNSPECIFIED: _ClassVar[BookAction]
    SNAPSHOT: _ClassVar[BookAction]
    ABSOLUTE: _ClassVar[BookAction]
    RELATIVE: _ClassVar[BookAction]

class BarState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BAR_STATE_UNSPECIFIED: _ClassVar[BarState]
    OPEN: _ClassVar[BarState]
    CLOSED: _ClassVar[BarState]
    REVISED: _ClassVar[BarState]

class CorrectionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CORRECTION_UNSPECIFIED: _ClassVar[CorrectionKind]
    CORRECT: _ClassVar[CorrectionKind]
    CANCEL: _ClassVar[CorrectionKind]
    ERROR: _ClassVar[CorrectionKind]

class GapKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GAP_KIND_UNSPECIFIED: _ClassVar[GapKind]
    DISCONNECT: _ClassVar[GapKind]
    SEQUENCE: _ClassVar[GapKind]
    CHECKSUM: _ClassVar[GapKind]
    STALE: _ClassVar[GapKind]
    OVERFLOW: _ClassVar[GapKind]
    SOURCE_HOLE: _ClassVar[GapKind]
    START: _ClassVar[GapKind]
    RESET: _ClassVar[GapKind]
    JOIN: _ClassVar[GapKind]
    QUARANTINE: _ClassVar[GapKind]

class GapState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GAP_STATE_UNSPECIFIED: _ClassVar[GapState]
    GAP_OPEN: _ClassVar[GapState]
    GAP_REPAIRED: _ClassVar[GapState]
    GAP_SOURCE_HOLE: _ClassVar[GapState]
    GAP_UNREPAIRABLE: _ClassVar[GapState]

class TradingStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRADING_STATUS_UNSPECIFIED: _ClassVar[TradingStatus]
    TRADING: _ClassVar[TradingStatus]
    HALTED: _ClassVar[TradingStatus]
    PAUSED: _ClassVar[TradingStatus]
    AUCTION: _ClassVar[TradingStatus]
    MARKET_CLOSED: _ClassVar[TradingStatus]

class QuarantineOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[QuarantineOutcome]
    HELD: _ClassVar[QuarantineOutcome]
    PUBLISHED: _ClassVar[QuarantineOutcome]
    STILL_BAD: _ClassVar[QuarantineOutcome]
    RELEASED: _ClassVar[QuarantineOutcome]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    HARD: _ClassVar[Severity]
    SOFT: _ClassVar[Severity]
KIND_UNSPECIFIED: Kind
TRADE: Kind
QUOTE: Kind
BOOK: Kind
BAR: Kind
GAP: Kind
AGG_TRADE: Kind
CORRECTION: Kind
STATUS: Kind
STATS: Kind
LIQUIDATION: Kind
OBSERVATION: Kind
SOURCE_UNSPECIFIED: Source
STREAM: Source
REPLAY: Source
REPAIR: Source
BACKFILL: Source
SIDE_UNSPECIFIED: Side
BUY: Side
SELL: Side
SIZE_UNIT_UNSPECIFIED: SizeUnit
BASE: SizeUnit
QUOTE_UNIT: SizeUnit
CONTRACT: SizeUnit
SHARE: SizeUnit
ROUND_LOT: SizeUnit
BOOK_ACTION_UNSPECIFIED: BookAction
SNAPSHOT: BookAction
ABSOLUTE: BookAction
RELATIVE: BookAction
BAR_STATE_UNSPECIFIED: BarState
OPEN: BarState
CLOSED: BarState
REVISED: BarState
CORRECTION_UNSPECIFIED: CorrectionKind
CORRECT: CorrectionKind
CANCEL: CorrectionKind
ERROR: CorrectionKind
GAP_KIND_UNSPECIFIED: GapKind
DISCONNECT: GapKind
SEQUENCE: GapKind
CHECKSUM: GapKind
STALE: GapKind
OVERFLOW: GapKind
SOURCE_HOLE: GapKind
START: GapKind
RESET: GapKind
JOIN: GapKind
QUARANTINE: GapKind
GAP_STATE_UNSPECIFIED: GapState
GAP_OPEN: GapState
GAP_REPAIRED: GapState
GAP_SOURCE_HOLE: GapState
GAP_UNREPAIRABLE: GapState
TRADING_STATUS_UNSPECIFIED: TradingStatus
TRADING: TradingStatus
HALTED: TradingStatus
PAUSED: TradingStatus
AUCTION: TradingStatus
MARKET_CLOSED: TradingStatus
OUTCOME_UNSPECIFIED: QuarantineOutcome
HELD: QuarantineOutcome
PUBLISHED: QuarantineOutcome
STILL_BAD: QuarantineOutcome
RELEASED: QuarantineOutcome
SEVERITY_UNSPECIFIED: Severity
HARD: Severity
SOFT: Severity

class MarketData(_message.Message):
    __slots__ = ("kind", "exchange", "symbol", "venue_symbol", "channel", "event_time_ns", "receive_time_ns", "source", "connection_id", "frame_sequence", "frame_index", "record_key", "key_time_ns", "sequence", "parser_version", "first_sequence", "previous_sequence", "publish_time_ns", "participant_time_ns", "last_price", "volume", "side", "trade_id", "first_trade_id", "last_trade_id", "trade_count", "market_center", "trf_id", "conditions", "indicators", "tape", "size_unit", "bid", "bid_size", "ask", "ask_size", "bid_exchange", "ask_exchange", "book_action", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes", "bid_orders", "ask_orders", "depth", "interval", "open", "high", "low", "close", "vwap", "quote_volume", "taker_buy_volume", "bar_state", "original_trade_id", "correction", "gap_kind", "gap_state", "from_sequence", "to_sequence", "from_time_ns", "to_time_ns", "reason", "status", "status_code", "limit_down", "limit_up", "mark_price", "index_price", "open_interest", "funding_rate", "next_funding_time_ns", "flags", "attempts", "repaired_rows", "detected_time_ns", "observation_date", "vintage_date", "value", "unit", "release")
    KIND_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    VENUE_SYMBOL_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    FRAME_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    RECORD_KEY_FIELD_NUMBER: _ClassVar[int]
    KEY_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PARSER_VERSION_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MARKET_CENTER_FIELD_NUMBER: _ClassVar[int]
    TRF_ID_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    INDICATORS_FIELD_NUMBER: _ClassVar[int]
    TAPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_UNIT_FIELD_NUMBER: _ClassVar[int]
    BID_FIELD_NUMBER: _ClassVar[int]
    BID_SIZE_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    ASK_SIZE_FIELD_NUMBER: _ClassVar[int]
    BID_EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    ASK_EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    BOOK_ACTION_FIELD_NUMBER: _ClassVar[int]
    BID_PRICES_FIELD_NUMBER: _ClassVar[int]
    BID_SIZES_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICES_FIELD_NUMBER: _ClassVar[int]
    ASK_SIZES_FIELD_NUMBER: _ClassVar[int]
    BID_ORDERS_FIELD_NUMBER: _ClassVar[int]
    ASK_ORDERS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VWAP_FIELD_NUMBER: _ClassVar[int]
    QUOTE_VOLUME_FIELD_NUMBER: _ClassVar[int]
    TAKER_BUY_VOLUME_FIELD_NUMBER: _ClassVar[int]
    BAR_STATE_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    GAP_KIND_FIELD_NUMBER: _ClassVar[int]
    GAP_STATE_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TO_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_DOWN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_UP_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    INDEX_PRICE_FIELD_NUMBER: _ClassVar[int]
    OPEN_INTEREST_FIELD_NUMBER: _ClassVar[int]
    FUNDING_RATE_FIELD_NUMBER: _ClassVar[int]
    NEXT_FUNDING_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_ROWS_FIELD_NUMBER: _ClassVar[int]
    DETECTED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_DATE_FIELD_NUMBER: _ClassVar[int]
    VINTAGE_DATE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    kind: Kind
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
    sequence: int
    parser_version: int
    first_sequence: int
    previous_sequence: int
    publish_time_ns: int
    participant_time_ns: int
    last_price: str
    volume: str
    side: Side
    trade_id: str
    first_trade_id: str
    last_trade_id: str
    trade_count: int
    market_center: str
    trf_id: str
    conditions: _containers.RepeatedScalarFieldContainer[str]
    indicators: _containers.RepeatedScalarFieldContainer[str]
    tape: str
    size_unit: SizeUnit
    bid: str
    bid_size: str
    ask: str
    ask_size: str
    bid_exchange: str
    ask_exchange: str
    book_action: BookAction
    bid_prices: _containers.RepeatedScalarFieldContainer[str]
    bid_sizes: _containers.RepeatedScalarFieldContainer[str]
    ask_prices: _containers.RepeatedScalarFieldContainer[str]
    ask_sizes: _containers.RepeatedScalarFieldContainer[str]
    bid_orders: _containers.RepeatedScalarFieldContainer[int]
    ask_orders: _containers.RepeatedScalarFieldContainer[int]
    depth: int
    interval: str
    open: str
    high: str
    low: str
    close: str
    vwap: str
    quote_volume: str
    taker_buy_volume: str
    bar_state: BarState
    original_trade_id: str
    correction: CorrectionKind
    gap_kind: GapKind
    gap_state: GapState
    from_sequence: int
    to_sequence: int
    from_time_ns: int
    to_time_ns: int
    reason: str
    status: TradingStatus
    status_code: str
    limit_down: str
    limit_up: str
    mark_price: str
    index_price: str
    open_interest: str
    funding_rate: str
    next_funding_time_ns: int
    flags: _containers.RepeatedScalarFieldContainer[str]
    attempts: int
    repaired_rows: int
    detected_time_ns: int
    observation_date: str
    vintage_date: str
    value: str
    unit: str
    release: str
    def __init__(self, kind: _Optional[_Union[Kind, str]] = ..., exchange: _Optional[str] = ..., symbol: _Optional[str] = ..., venue_symbol: _Optional[str] = ..., channel: _Optional[str] = ..., event_time_ns: _Optional[int] = ..., receive_time_ns: _Optional[int] = ..., source: _Optional[_Union[Source, str]] = ..., connection_id: _Optional[str] = ..., frame_sequence: _Optional[int] = ..., frame_index: _Optional[int] = ..., record_key: _Optional[str] = ..., key_time_ns: _Optional[int] = ..., sequence: _Optional[int] = ..., parser_version: _Optional[int] = ..., first_sequence: _Optional[int] = ..., previous_sequence: _Optional[int] = ..., publish_time_ns: _Optional[int] = ..., participant_time_ns: _Optional[int] = ..., last_price: _Optional[str] = ..., volume: _Optional[str] = ..., side: _Optional[_Union[Side, str]] = ..., trade_id: _Optional[str] = ..., first_trade_id: _Optional[str] = ..., last_trade_id: _Optional[str] = ..., trade_count: _Optional[int] = ..., market_center: _Optional[str] = ..., trf_id: _Optional[str] = ..., conditions: _Optional[_Iterable[str]] = ..., indicators: _Optional[_Iterable[str]] = ..., tape: _Optional[str] = ..., size_unit: _Optional[_Union[SizeUnit, str]] = ..., bid: _Optional[str] = ..., bid_size: _Optional[str] = ..., ask: _Optional[str] = ..., ask_size: _Optional[str] = ..., bid_exchange: _Optional[str] = ..., ask_exchange: _Optional[str] = ..., book_action: _Optional[_Union[BookAction, str]] = ..., bid_prices: _Optional[_Iterable[str]] = ..., bid_sizes: _Optional[_Iterable[str]] = ..., ask_prices: _Optional[_Iterable[str]] = ..., ask_sizes: _Optional[_Iterable[str]] = ..., bid_orders: _Optional[_Iterable[int]] = ..., ask_orders: _Optional[_Iterable[int]] = ..., depth: _Optional[int] = ..., interval: _Optional[str] = ..., open: _Optional[str] = ..., high: _Optional[str] = ..., low: _Optional[str] = ..., close: _Optional[str] = ..., vwap: _Optional[str] = ..., quote_volume: _Optional[str] = ..., taker_buy_volume: _Optional[str] = ..., bar_state: _Optional[_Union[BarState, str]] = ..., original_trade_id: _Optional[str] = ..., correction: _Optional[_Union[CorrectionKind, str]] = ..., gap_kind: _Optional[_Union[GapKind, str]] = ..., gap_state: _Optional[_Union[GapState, str]] = ..., from_sequence: _Optional[int] = ..., to_sequence: _Optional[int] = ..., from_time_ns: _Optional[int] = ..., to_time_ns: _Optional[int] = ..., reason: _Optional[str] = ..., status: _Optional[_Union[TradingStatus, str]] = ..., status_code: _Optional[str] = ..., limit_down: _Optional[str] = ..., limit_up: _Optional[str] = ..., mark_price: _Optional[str] = ..., index_price: _Optional[str] = ..., open_interest: _Optional[str] = ..., funding_rate: _Optional[str] = ..., next_funding_time_ns: _Optional[int] = ..., flags: _Optional[_Iterable[str]] = ..., attempts: _Optional[int] = ..., repaired_rows: _Optional[int] = ..., detected_time_ns: _Optional[int] = ..., observation_date: _Optional[str] = ..., vintage_date: _Optional[str] = ..., value: _Optional[str] = ..., unit: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class Quarantined(_message.Message):
    __slots__ = ("code", "severity", "rule", "reason", "exchange", "symbol", "endpoint", "receive_time_ns", "source", "connection_id", "frame_sequence", "frame_index", "parser_version", "payload", "record", "outcome", "outcome_time_ns")
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    FRAME_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    PARSER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    code: str
    severity: Severity
    rule: str
    reason: str
    exchange: str
    symbol: str
    endpoint: str
    receive_time_ns: int
    source: Source
    connection_id: str
    frame_sequence: int
    frame_index: int
    parser_version: int
    payload: bytes
    record: bytes
    outcome: QuarantineOutcome
    outcome_time_ns: int
    def __init__(self, code: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., rule: _Optional[str] = ..., reason: _Optional[str] = ..., exchange: _Optional[str] = ..., symbol: _Optional[str] = ..., endpoint: _Optional[str] = ..., receive_time_ns: _Optional[int] = ..., source: _Optional[_Union[Source, str]] = ..., connection_id: _Optional[str] = ..., frame_sequence: _Optional[int] = ..., frame_index: _Optional[int] = ..., parser_version: _Optional[int] = ..., payload: _Optional[bytes] = ..., record: _Optional[bytes] = ..., outcome: _Optional[_Union[QuarantineOutcome, str]] = ..., outcome_time_ns: _Optional[int] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("cursor", "records")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    records: _containers.RepeatedCompositeFieldContainer[Delivered]
    def __init__(self, cursor: _Optional[str] = ..., records: _Optional[_Iterable[_Union[Delivered, _Mapping]]] = ...) -> None: ...

class Delivered(_message.Message):
    __slots__ = ("partition", "offset", "record")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    partition: int
    offset: int
    record: MarketData
    def __init__(self, partition: _Optional[int] = ..., offset: _Optional[int] = ..., record: _Optional[_Union[MarketData, _Mapping]] = ...) -> None: ...
