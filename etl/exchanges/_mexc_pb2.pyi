from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Wrapper(_message.Message):
    __slots__ = ("channel", "symbol", "symbol_id", "create_time", "send_time", "limit_depth", "kline", "mini_ticker", "mini_tickers", "book_ticker_batch", "aggre_depth", "aggre_deals", "aggre_book_ticker")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SEND_TIME_FIELD_NUMBER: _ClassVar[int]
    LIMIT_DEPTH_FIELD_NUMBER: _ClassVar[int]
    KLINE_FIELD_NUMBER: _ClassVar[int]
    MINI_TICKER_FIELD_NUMBER: _ClassVar[int]
    MINI_TICKERS_FIELD_NUMBER: _ClassVar[int]
    BOOK_TICKER_BATCH_FIELD_NUMBER: _ClassVar[int]
    AGGRE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    AGGRE_DEALS_FIELD_NUMBER: _ClassVar[int]
    AGGRE_BOOK_TICKER_FIELD_NUMBER: _ClassVar[int]
    channel: str
    symbol: str
    symbol_id: str
    create_time: int
    send_time: int
    limit_depth: LimitDepth
    kline: Kline
    mini_ticker: bytes
    mini_tickers: bytes
    book_ticker_batch: bytes
    aggre_depth: AggreDepth
    aggre_deals: AggreDeals
    aggre_book_ticker: AggreBookTicker
    def __init__(self, channel: _Optional[str] = ..., symbol: _Optional[str] = ..., symbol_id: _Optional[str] = ..., create_time: _Optional[int] = ..., send_time: _Optional[int] = ..., limit_depth: _Optional[_Union[LimitDepth, _Mapping]] = ..., kline: _Optional[_Union[Kline, _Mapping]] = ..., mini_ticker: _Optional[bytes] = ..., mini_tickers: _Optional[bytes] = ..., book_ticker_batch: _Optional[bytes] = ..., aggre_depth: _Optional[_Union[AggreDepth, _Mapping]] = ..., aggre_deals: _Optional[_Union[AggreDeals, _Mapping]] = ..., aggre_book_ticker: _Optional[_Union[AggreBookTicker, _Mapping]] = ...) -> None: ...

class AggreDeals(_message.Message):
    __slots__ = ("deals", "event_type")
    DEALS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    deals: _containers.RepeatedCompositeFieldContainer[Deal]
    event_type: str
    def __init__(self, deals: _Optional[_Iterable[_Union[Deal, _Mapping]]] = ..., event_type: _Optional[str] = ...) -> None: ...

class Deal(_message.Message):
    __slots__ = ("price", "quantity", "trade_type", "time", "trade_id")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TRADE_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    price: str
    quantity: str
    trade_type: int
    time: int
    trade_id: str
    def __init__(self, price: _Optional[str] = ..., quantity: _Optional[str] = ..., trade_type: _Optional[int] = ..., time: _Optional[int] = ..., trade_id: _Optional[str] = ...) -> None: ...

class Level(_message.Message):
    __slots__ = ("price", "quantity")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    price: str
    quantity: str
    def __init__(self, price: _Optional[str] = ..., quantity: _Optional[str] = ...) -> None: ...

class AggreDepth(_message.Message):
    __slots__ = ("asks", "bids", "event_type", "from_version", "to_version", "last_order_create_time")
    ASKS_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_ORDER_CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    asks: _containers.RepeatedCompositeFieldContainer[Level]
    bids: _containers.RepeatedCompositeFieldContainer[Level]
    event_type: str
    from_version: str
    to_version: str
    last_order_create_time: int
    def __init__(self, asks: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., bids: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., event_type: _Optional[str] = ..., from_version: _Optional[str] = ..., to_version: _Optional[str] = ..., last_order_create_time: _Optional[int] = ...) -> None: ...

class LimitDepth(_message.Message):
    __slots__ = ("asks", "bids", "event_type", "version", "last_order_create_time")
    ASKS_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_ORDER_CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    asks: _containers.RepeatedCompositeFieldContainer[Level]
    bids: _containers.RepeatedCompositeFieldContainer[Level]
    event_type: str
    version: str
    last_order_create_time: int
    def __init__(self, asks: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., bids: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., event_type: _Optional[str] = ..., version: _Optional[str] = ..., last_order_create_time: _Optional[int] = ...) -> None: ...

class AggreBookTicker(_message.Message):
    __slots__ = ("bid_price", "bid_quantity", "ask_price", "ask_quantity", "version", "last_order_create_time")
    BID_PRICE_FIELD_NUMBER: _ClassVar[int]
    BID_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICE_FIELD_NUMBER: _ClassVar[int]
    ASK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_ORDER_CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str
    version: str
    last_order_create_time: int
    def __init__(self, bid_price: _Optional[str] = ..., bid_quantity: _Optional[str] = ..., ask_price: _Optional[str] = ..., ask_quantity: _Optional[str] = ..., version: _Optional[str] = ..., last_order_create_time: _Optional[int] = ...) -> None: ...

class Kline(_message.Message):
    __slots__ = ("interval", "window_start", "open", "close", "high", "low", "volume", "amount", "window_end")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    interval: str
    window_start: int
    open: str
    close: str
    high: str
    low: str
    volume: str
    amount: str
    window_end: int
    def __init__(self, interval: _Optional[str] = ..., window_start: _Optional[int] = ..., open: _Optional[str] = ..., close: _Optional[str] = ..., high: _Optional[str] = ..., low: _Optional[str] = ..., volume: _Optional[str] = ..., amount: _Optional[str] = ..., window_end: _Optional[int] = ...) -> None: ...
