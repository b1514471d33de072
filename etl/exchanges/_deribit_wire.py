"""What Deribit sends, in its own names, and how its instruments and channels are called.

Numbers are JSON numbers whose text is kept; ``1.742e-05`` is written out. Times are ms. Identity: trades ``trade_id``
(the stream's and the history's are one), books ``book.INTERVAL/d|s/change_id``, bars ``interval/start``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from etl.adapter import fields
from etl.adapter.contract import Fault, FaultKind
from etl.adapter.fields import FieldFault, Id, Name
from etl.model.codes import Code
from etl.model.instruments import Instrument
from etl.model.records import SizeUnit, TradingStatus
from etl.model.times import NS_PER_MS, NS_PER_S

BARS, GROUPED_BOOK, INSTRUMENT_STATE = "chart.trades", "grouped_book", "instrument.state"
Level = tuple[Literal["new", "change", "delete"], Raw, Raw]
"""What becomes of it, price, amount."""
RESOLUTIONS = {
    "1": "1m", "3": "3m", "5": "5m", "10": "10m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "180": "3h",
    "360": "6h", "720": "12h", "1D": "1d",
}  # fmt: skip
"""As channels of bars end → bars."""


class Params(Struct, gc=False):
    channel: str
    data: Raw


class Notification(Struct, gc=False):
    method: Literal["subscription"]
    params: Params


class Trade(Struct, gc=False):
    trade_id: Name
    trade_seq: Id
    timestamp: int
    price: Raw
    amount: Raw
    direction: Literal["buy", "sell"]
    instrument_name: Name
    liquidation: str = ""
    block_trade_id: int | str = ""
    block_rfq_id: int | str = ""
    combo_id: str = ""
    combo_trade_id: int | str = ""
    starbase_timestamp: int = 0

    @property
    def conditions(self) -> tuple[str, ...]:
        said = {
            f"liquidation_{self.liquidation}": self.liquidation,
            "block": self.block_trade_id,
            "rfq": self.block_rfq_id,
            "combo": self.combo_id or self.combo_trade_id,
        }
        return tuple([condition for condition, value in said.items() if value])


class Book(Struct, gc=False):
    instrument_name: Name
    timestamp: int
    change_id: Id
    bids: list[Level]
    asks: list[Level]
    type: Literal["snapshot", "change", ""] = ""
    prev_change_id: Id = 0
    """Of a snapshot absent, null or 0."""


class GroupedBook(Struct, gc=False):
    instrument_name: Name
    timestamp: int
    change_id: Id
    bids: list[tuple[Raw, Raw]]
    asks: list[tuple[Raw, Raw]]


class Quote(Struct, gc=False):
    instrument_name: Name
    timestamp: int
    best_bid_price: Raw
    best_bid_amount: Raw
    best_ask_price: Raw
    best_ask_amount: Raw


class Ticker(Struct, gc=False):
    instrument_name: Name
    timestamp: int
    mark_price: Raw
    index_price: Raw = Raw(b"null")
    open_interest: Raw = Raw(b"null")
    current_funding: Raw = Raw(b"null")


class Bar(Struct, gc=False):
    tick: int
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw
    cost: Raw


class Bars(Struct, gc=False):
    """An answer's, by columns."""

    ticks: list[int]
    open: list[Raw]
    high: list[Raw]
    low: list[Raw]
    close: list[Raw]
    volume: list[Raw]
    cost: list[Raw]


def bars_of(result: Raw) -> list[Bar]:
    """Raises one of ``UNREADABLE``."""
    found = msgspec.json.decode(result, type=Bars)
    columns = found.ticks, found.open, found.high, found.low, found.close, found.volume, found.cost
    try:
        return [Bar(*row) for row in zip(*columns, strict=True)]
    except ValueError:
        raise FieldFault(Code.FIELD_MALFORMED, "columns of different lengths") from None


class State(Struct, gc=False):
    instrument_name: Name
    timestamp: int
    state: Name


STATES = {
    "created": TradingStatus.NONE,
    **dict.fromkeys(("open", "started"), TradingStatus.TRADING),
    **dict.fromkeys(("locked", "settlement", "settled", "halted"), TradingStatus.HALTED),
    **dict.fromkeys(("inactive", "deactivated"), TradingStatus.HALTED),
    **dict.fromkeys(("closed", "delivered", "terminated", "archivized"), TradingStatus.CLOSED),
}
"""Of an instrument; until January 2026 created, started, settled, closed, deactivated, terminated."""


# names


def wire_name(channel: str, symbol: str, interval: str) -> str:
    """``trades``, ``BTC-PERPETUAL`` → ``trades.BTC-PERPETUAL.100ms``; ``trades``, ``option.BTC.*`` →
    ``trades.option.BTC.100ms``; ``book.none.10`` → ``book.BTC-PERPETUAL.none.10.100ms``."""
    if channel == INSTRUMENT_STATE:
        return f"{channel}.any.any"
    if channel == "quote":
        return f"{channel}.{symbol}"
    if channel.startswith(BARS):
        return f"{BARS}.{symbol}.{channel.rpartition('.')[2]}"
    family, _, parameters = channel.partition(".")
    if parameters:
        return f"{family}.{symbol}.{parameters}.100ms"
    place = symbol.removesuffix("*").strip(".") or "any.any"
    return f"{family}.{place}.{interval}"


def place_of(name: str) -> tuple[str, str]:
    """The other way round: channel and symbol, "" where each event tells its own. Names of instruments have no dot."""
    parts = name.split(".")
    match parts:
        case ["trades" | "ticker" | "book" as family, symbol, _]:
            return family, symbol
        case ["trades", _, _, _]:
            return "trades", ""
        case ["book", symbol, group, depth, _]:
            return f"book.{group}.{depth}", symbol
        case ["quote", symbol]:
            return "quote", symbol
        case ["chart", "trades", symbol, resolution]:
            return f"{BARS}.{resolution}", symbol
        case ["instrument", "state", _, _]:
            return INSTRUMENT_STATE, ""
    return "", ""


def size_unit_of(venue_symbol: str) -> SizeUnit:
    """Inverse perpetuals and futures, and spreads of them, count dollars: ``BTC-PERPETUAL``, ``ETH-5JUN26``,
    ``BTC-FS-25DEC26_PERP``. All else counts coins: options, spot, and what has its settlement in its name
    (``ETH_USDC-PERPETUAL``)."""
    pair, *rest = venue_symbol.split("-")
    is_future = len(rest) == 1 or rest[:1] == ["FS"]
    return SizeUnit.QUOTE if is_future and "_" not in pair else SizeUnit.BASE


class _Instrument(Struct, gc=False):
    instrument_name: str
    kind: str
    base_currency: str
    tick_size: Raw
    min_trade_amount: Raw
    counter_currency: str = ""
    quote_currency: str = ""
    expiration_timestamp: int = 0
    settlement_period: str = ""
    settlement_currency: str = ""
    contract_size: Raw = Raw(b"null")
    state: str = ""
    creation_timestamp: int = 0


class _Instruments(Struct, gc=False):
    result: list[_Instrument]


def read_instruments(payload: bytes) -> list[Instrument]:
    """``{"result":[{"instrument_name":"BTC-PERPETUAL","kind":"future","base_currency":"BTC","counter_currency":"USD",
    "settlement_period":"perpetual","tick_size":0.5,"min_trade_amount":10.0,…}]}``. Combos have no unified name and are
    left out: their records keep the venue's and are flagged. Raises ``ValueError``."""
    listed = fields.listing(payload, _Instruments).result
    plain = fields.DecimalTexts()
    return [
        Instrument(
            one.instrument_name, _unified(one), plain[bytes(one.tick_size)] or "",
            plain[bytes(one.min_trade_amount)] or "", size_unit_of(one.instrument_name),
            expires_ns=0 if one.settlement_period == "perpetual" else one.expiration_timestamp * NS_PER_MS,
            settle=one.settlement_currency,
            contract_size="" if one.kind == "spot" else plain[bytes(one.contract_size)] or "",
            status=one.state, listed_ns=one.creation_timestamp * NS_PER_MS,
        )
        for one in listed
        if not one.kind.endswith("combo")
    ]  # fmt: skip


def _unified(one: _Instrument) -> str:
    """``BTC-USD-PERP``, ``BTC-USD-20260605``, ``XRP-USDC-20260630-0.625-C``, ``BTC-USDC``. Of an option the venue calls
    its coin the quote; what it is counted against is the counter currency."""
    pair = f"{one.base_currency}-{one.counter_currency or one.quote_currency}"
    if one.kind == "spot":
        return pair
    if one.settlement_period == "perpetual":
        return f"{pair}-PERP"
    expiry = datetime.fromtimestamp(one.expiration_timestamp * NS_PER_MS // NS_PER_S, UTC)
    strike_and_side = one.instrument_name.split("-")[2:]
    return "-".join((pair, f"{expiry:%Y%m%d}", *(part.replace("d", ".") for part in strike_and_side)))


# errors


def fault(code: str, reason: str) -> Fault:
    """A code that is not listed here calls what we asked wrong; an error without any says nothing of it."""
    unlisted = FaultKind.REQUEST if code else FaultKind.TRANSIENT
    return Fault(_FAULTS.get(code, unlisted), code, reason)


_FAULTS = {
    **dict.fromkeys(("10028", "10066"), FaultKind.RATE_LIMIT),
    **dict.fromkeys(("13778", "13021", "13031", "13403"), FaultKind.ENTITLEMENT),
    **dict.fromkeys(("10000", "13004", "13009"), FaultKind.AUTHENTICATION),
    **dict.fromkeys(("12003", "12005"), FaultKind.BANNED),
    **dict.fromkeys(("10040", "10041", "10047", "11051", "11094"), FaultKind.TRANSIENT),
    **dict.fromkeys(("13028", "13503", "13888"), FaultKind.TRANSIENT),
}
"""https://docs.deribit.com/articles/errors"""
IGNORED_CHANNELS = {
    **dict.fromkeys(("platform_state", "announcements"), "platform"),
    **dict.fromkeys(("deribit_price_index", "deribit_price_ranking", "deribit_price_statistics"), "index"),
    **dict.fromkeys(("deribit_volatility_index", "estimated_expiration_price"), "index"),
    "markprice": "mark_prices",
    "perpetual": "interest",
    "incremental_ticker": "incremental_ticker",
    **dict.fromkeys(("block_rfq", "block_trade_confirmations", "rfq"), "block_trades"),
}
"""First word of a channel → the name under which it is left aside."""
