"""What Hyperliquid sends, in its own names, and how its instruments and channels are called.

Prices and sizes are decimal strings, times ms.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from etl.adapter import fields
from etl.adapter.contract import Fault, FaultKind
from etl.adapter.fields import ABSENT, Id, Name
from etl.adapter.handshake import kind_of_words
from etl.model.instruments import Instrument

TRADES, BBO, BOOK, FAST_BOOK = "trades", "bbo", "l2Book", "l2Book_fast"
CANDLES, CONTEXT = "candle", "activeAssetCtx"
CONTEXTS = (CONTEXT, "activeSpotAssetCtx")
"""What is asked for as the one comes back as the other for spot."""
DEPTH, FAST_DEPTH = 20, 5
INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "3d", "1w", "1M")
PRICE_FIGURES = 5
"""Significant ones."""
PERP_DECIMALS, SPOT_DECIMALS = 6, 8
"""Of a price, at most, less those of the coin's sizes."""
OUTCOME = "#"
"""Begins the coins of outcome tokens."""
_Decimals = Annotated[int, Meta(ge=0, le=18)]


class Message(Struct, gc=False):
    channel: str
    data: Raw = ABSENT


class Trade(Struct, gc=False):
    channel: ClassVar[str] = TRADES
    coin: Name
    side: str
    px: str
    sz: str
    time: int
    tid: Id


class Level(Struct, gc=False):
    px: str
    sz: str
    n: Id = 0


class Book(Struct, gc=False):
    """``fast`` marks the frames of the fast book, ``spread`` those of one whose levels were merged on request."""

    coin: Name
    time: int
    levels: tuple[list[Level], list[Level]]
    fast: bool = False
    spread: Raw = ABSENT

    @property
    def channel(self) -> str:
        return FAST_BOOK if self.fast else BOOK


class Bbo(Struct, gc=False):
    channel: ClassVar[str] = BBO
    coin: Name
    time: int
    bbo: Annotated[list[Level | None], Meta(max_length=2)]


class Candle(Struct, gc=False):
    t: int
    T: int
    s: Name
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741
    v: str
    n: Id = 0

    @property
    def coin(self) -> str:
        return self.s

    @property
    def channel(self) -> str:
        return f"{CANDLES}_{self.i}"


class Context(Struct, gc=False):
    markPx: Raw = ABSENT
    oraclePx: Raw = ABSENT
    openInterest: Raw = ABSENT
    funding: Raw = ABSENT


class CoinContext(Struct, gc=False):
    channel: ClassVar[str] = CONTEXT
    coin: Name
    ctx: Context


Event = Trade | Book | Bbo | Candle | CoinContext


def ignored_as(event: Event) -> str:
    """The name under which it is left aside, "" where it is not."""
    if event.coin.startswith(OUTCOME):
        return "outcomes"
    is_merged = isinstance(event, Book) and bytes(event.spread) not in (b"", b"null")
    return "merged_book" if is_merged else ""


# streams


def subscription_of(channel: str, coin: str) -> dict[str, Any]:
    """``candle_1m`` → ``{"type":"candle","coin":"BTC","interval":"1m"}``"""
    family, _, parameter = channel.partition("_")
    asked: dict[str, Any] = {"type": family, "coin": coin}
    if family == CANDLES:
        asked["interval"] = parameter
    elif channel == FAST_BOOK:
        asked["fast"] = True
    return asked


def stream_of(subscription: Any) -> tuple[str, str]:
    """The other way round, as the venue echoes it: channel and coin, both "" for what names none. Options that were not
    asked for may come as null."""
    said = subscription if isinstance(subscription, dict) else {}
    kind, coin = said.get("type"), said.get("coin")
    if not (isinstance(kind, str) and isinstance(coin, str)):
        return "", ""
    if kind == CANDLES:
        return f"{CANDLES}_{said.get('interval')}", coin
    return (FAST_BOOK if kind == BOOK and said.get("fast") is True else kind), coin


# instruments


class _Perp(Struct, gc=False):
    name: Name
    szDecimals: _Decimals
    isDelisted: bool = False


class _Perps(Struct, gc=False):
    universe: list[_Perp]
    collateralToken: int = -1


class _Token(Struct, gc=False):
    name: Name
    index: int
    szDecimals: _Decimals


class _Pair(Struct, gc=False):
    name: Name
    tokens: tuple[int, int]
    isCanonical: bool = False


class _Spot(Struct, gc=False):
    universe: list[_Pair]
    tokens: list[_Token]


def read_perps(payload: bytes) -> list[Instrument]:
    """``[{"universe":[{"name":"BTC","szDecimals":5,…},{"name":"kPEPE",…}]},{"universe":[{"name":"xyz:TSLA",…}]}]``, a
    list for each dex. The k of a thousand stays, as price and size count by it. Raises ``ValueError``."""
    return [
        replace(
            _instrument(one.name, f"{one.name}-USD-PERP", PERP_DECIMALS, one.szDecimals),
            settle=_COLLATERAL.get(dex.collateralToken, ""),
            status="delisted" if one.isDelisted else "",
        )
        for dex in fields.listing(payload, list[_Perps])
        for one in dex.universe
    ]


def read_pairs(payload: bytes) -> list[Instrument]:
    """``{"universe":[{"name":"@107","tokens":[150,0],"index":107,"isCanonical":false}],"tokens":[{"name":"HYPE",
    "index":150,"szDecimals":2,…}]}``. Tokens may have the same name: a canonical pair keeps it, then the oldest. A pair
    of a token that is not listed keeps the venue's name. Raises ``ValueError``."""
    listed = fields.listing(payload, _Spot)
    tokens = {token.index: token for token in listed.tokens}
    pairs = sorted(listed.universe, key=lambda pair: not pair.isCanonical)
    named = [(pair.name, tokens.get(pair.tokens[0]), tokens.get(pair.tokens[1])) for pair in pairs]
    return [
        _instrument(name, f"{base.name}-{quote.name}", SPOT_DECIMALS, base.szDecimals)
        for name, base, quote in named
        if base and quote
    ]


_COLLATERAL = {0: "USDC"}
"""By the number among the tokens of the spot market, which the list of perpetuals does not name."""


def _instrument(coin: str, symbol: str, price_decimals: int, size_decimals: int) -> Instrument:
    price_step = _step(max(0, price_decimals - size_decimals))
    return Instrument(coin, symbol, price_step, _step(size_decimals), price_figures=PRICE_FIGURES)


def _step(decimals: int) -> str:
    """``2`` → ``0.01``"""
    return f"0.{'1'.rjust(decimals, '0')}" if decimals else "1"


# errors


def fault_of(said: str) -> Fault:
    kind = kind_of_words(_WORDS, said) or FaultKind.REQUEST
    return Fault(kind, "error", said)


def named_by(said: str) -> tuple[str, str]:
    """Channel and coin of ``Invalid subscription {"type":"trades","coin":"NOPE"}``; or of the whole message."""
    try:
        asked = msgspec.json.decode(said[said.find("{") : said.rfind("}") + 1])
    except fields.UNDECODABLE:
        return "", ""
    return stream_of(asked.get("subscription", asked) if isinstance(asked, dict) else None)


_WORDS = (
    ("invalid subscription", FaultKind.REQUEST),
    ("error parsing", FaultKind.REQUEST),
    ("cannot track", FaultKind.SUBSCRIPTION_LIMIT),
    ("too many", FaultKind.SUBSCRIPTION_LIMIT),
    ("limit", FaultKind.SUBSCRIPTION_LIMIT),
)
