"""What Binance, Polygon and Alpaca have changed up to 2026, each with its right answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from etl.adapter.contract import Credentials, Ignored, Outcome, Rejected, Subscription
from etl.exchanges import load
from etl.exchanges.alpaca import AlpacaBoats, AlpacaCrypto, AlpacaDelayed, AlpacaOptions, AlpacaOvernight
from etl.exchanges.binance import Binance
from etl.exchanges.binance_coinm import BinanceCoinm
from etl.exchanges.binance_options import BinanceOptions
from etl.exchanges.binance_us import BinanceUs
from etl.exchanges.binance_usdm import BinanceUsdm
from etl.exchanges.polygon import PolygonDelayed
from etl.model.codes import Code
from etl.model.records import (
    Bar,
    BarState,
    Frame,
    Kind,
    Quote,
    Side,
    SizeUnit,
    Stats,
    Status,
    Trade,
    TradingStatus,
)

T_MS = 1_790_000_000_000
T_NS = T_MS * 1_000_000


def said(feed: str, message: object, endpoint: str = "", receive_time_ns: int = T_NS) -> Any:
    """The only outcome of ``message``."""
    (outcome,) = outcomes(feed, message, endpoint, receive_time_ns)
    return outcome


def outcomes(feed: str, message: object, endpoint: str = "", receive_time_ns: int = T_NS) -> list[Outcome]:
    frame = Frame(feed, "c", 1, endpoint, receive_time_ns, json.dumps(message).encode())
    return list(load(feed)(Credentials("k", "s")).parse(frame))


def stream(name: str, **data: object) -> dict[str, object]:
    return {"stream": name, "data": data}


# Binance


@pytest.mark.parametrize("feed", [BinanceUsdm, BinanceCoinm])
def test_futures_streams_of_two_groups_have_two_addresses(feed: type[BinanceUsdm]) -> None:
    symbol = feed.default_symbols[0]
    parts = feed.sockets(Subscription((symbol,), ("bookTicker", "kline_1m")))
    assert [feed().connect_url("wss://h", part) for part in parts] == [
        f"wss://h/public/stream?streams={symbol.lower()}@bookTicker",
        f"wss://h/market/stream?streams={symbol.lower()}@kline_1m",
    ]


def mark_price(feed: str, symbol: str, **more: object) -> Stats:
    event = {"e": "markPriceUpdate", "E": T_MS, "s": symbol, "p": "9501.1", "P": "9429.3"} | more
    stats = said(feed, stream(f"{symbol.lower()}@markPrice@1s", **event))
    assert isinstance(stats, Stats)
    return stats


def test_a_mark_price_of_coin_futures_has_no_index() -> None:
    stats = mark_price("binance_coinm", "BTCUSD_261225")
    assert (stats.symbol, stats.mark_price, stats.index_price) == ("BTC-USD-20261225", "9501.1", None)


@pytest.mark.parametrize("rate", ["", "0.00000000"])
@pytest.mark.parametrize(
    ("feed", "symbol", "index"),
    [("binance_usdm", "BTCUSDT_261225", {"i": "9400"}), ("binance_coinm", "BTCUSD_261225", {})],
)
def test_a_dated_contract_has_no_funding_however_that_is_said(
    feed: str, symbol: str, index: dict[str, str], rate: str
) -> None:
    stats = mark_price(feed, symbol, r=rate, T=0, **index)
    assert (stats.funding_rate, stats.next_funding_time_ns) == (None, 0)


def test_a_perpetual_without_any_funding_to_pay_says_so() -> None:
    stats = mark_price("binance_usdm", "BTCUSDT", i="9400", r="0.00000000", T=T_MS)
    assert (stats.funding_rate, stats.next_funding_time_ns) == ("0.00000000", T_NS)


def test_bars_of_coin_futures_count_contracts_and_have_no_quote_volume() -> None:
    bar = {
        "t": T_MS - T_MS % 60_000, "T": T_MS, "s": "BTCUSD_PERP", "i": "1m", "o": "1", "c": "1", "h": "1", "l": "1",
        "v": "1234", "n": 9, "x": True, "q": "12.98", "V": "600",
    }  # fmt: skip
    record = said("binance_coinm", stream("btcusd_perp@kline_1m", e="kline", E=T_MS, s="BTCUSD_PERP", k=bar))
    assert isinstance(record, Bar)
    assert (record.volume, record.size_unit, record.quote_volume) == ("1234", SizeUnit.CONTRACT, None)
    assert record.taker_buy_volume == "600"


def test_dated_contracts_of_two_feeds_differ_by_their_quote() -> None:
    dated = ("BTCUSDT_261225", "BTCUSD_261225")
    lists = [
        BinanceUsdm.read_instruments(
            json.dumps({
                "symbols": [{
                    "symbol": symbol, "baseAsset": "BTC", "quoteAsset": quote, "contractType": "CURRENT_QUARTER",
                    "deliveryDate": 1_798_185_600_000,
                }]
            }).encode()
        )
        for symbol, quote in zip(dated, ("USDT", "USD"), strict=True)
    ]  # fmt: skip
    assert [one.symbol for listed in lists for one in listed] == ["BTC-USDT-20261225", "BTC-USD-20261225"]


@pytest.mark.parametrize(
    ("side", "buyer_makes", "taker"),
    [("BUY", False, Side.BUY), ("SELL", True, Side.SELL), ("BUY", True, None), ("SELL", False, None)],
)
def test_the_side_of_an_options_print_agrees_with_its_maker_or_is_refused(
    side: str, buyer_makes: bool, taker: Side | None
) -> None:
    symbol = BinanceOptions.default_symbols[0]
    event = {
        "e": "trade", "E": T_MS, "T": T_MS, "s": symbol, "t": 200, "p": "1420.000", "q": "1.54", "X": "MARKET",
        "S": side, "m": buyer_makes,
    }  # fmt: skip
    outcome = said("binance_options", stream(f"{symbol.lower()}@optionTrade", **event))
    if taker is None:
        assert isinstance(outcome, Rejected)
        assert outcome.code is Code.FIELD_MALFORMED
    else:
        assert (outcome.side, outcome.symbol) == (taker, "BTC-USDT-20261225-100000-C")


def test_spot_has_three_hosts_for_its_streams_and_its_relatives_have_their_own() -> None:
    assert (Binance.websocket_url, *Binance.websocket_url_others) == (
        "wss://stream.binance.com:9443",
        "wss://stream.binance.com:443",
        "wss://data-stream.binance.vision",
    )
    for feed in (BinanceUs, BinanceUsdm, BinanceCoinm, BinanceOptions):
        assert feed.websocket_url_others == ()


# Polygon


@pytest.mark.parametrize(
    ("volumes", "volume"),
    [
        ({"v": 12, "dv": "12.345"}, "12.345"),
        ({"v": 12}, "12"),
        ({"v": 12, "dv": "618374.5"}, "12"),  # of futures it is the value traded
    ],
)
def test_the_decimal_volume_of_a_bar_is_preferred(volumes: dict[str, object], volume: str) -> None:
    event = {
        "ev": "AM",
        "sym": "AAPL",
        "o": 1,
        "h": 1,
        "l": 1,
        "c": 1,
        "s": T_MS,
        "e": T_MS,
        "otc": True,
    } | volumes
    assert said("polygon", [event]).volume == volume


@pytest.mark.parametrize(
    ("conditions", "side"), [([1], Side.SELL), ([2], Side.BUY), ([0], Side.NONE), ([], Side.NONE)]
)
def test_a_condition_of_crypto_tells_the_taker_on_the_stream_and_in_history(
    conditions: list[int], side: Side
) -> None:
    event = {"ev": "XT", "pair": "BTC-USD", "p": 1, "s": 2, "t": T_MS, "i": "7", "x": 1, "c": conditions}
    row = {
        "price": 1,
        "size": 2,
        "participant_timestamp": T_NS,
        "id": "7",
        "exchange": 1,
        "conditions": conditions,
    }
    live = said("polygon_crypto", [event])
    past = said("polygon_crypto", {"results": [row], "status": "OK"}, "/v3/trades/X:BTC-USD")
    assert [(one.side, one.record_key, one.key_time_ns) for one in (live, past)] == [(side, "1/7", T_NS)] * 2


def test_a_bar_of_an_index_has_no_volume() -> None:
    event = {
        "ev": "AM",
        "sym": "I:SPX",
        "op": 1,
        "o": 1,
        "c": 2,
        "h": 3,
        "l": 1,
        "s": T_MS,
        "e": T_MS + 60_000,
    }
    bar = said("polygon_indices", [event])
    assert (bar.symbol, bar.close, bar.volume, bar.vwap) == ("I:SPX", "2", None, None)


def test_a_forex_quote_whose_pair_is_its_p_is_left_aside_and_no_price_error() -> None:
    assert said("polygon", [{"ev": "C", "p": "USD/CNH", "x": "44", "a": 7, "b": 7, "t": T_MS}]) == Ignored(
        "C"
    )


def test_an_adjusted_option_has_digits_in_its_root() -> None:
    trade = said(
        "polygon_options", [{"ev": "T", "sym": "O:AAPL1240126P00050000", "p": 1, "s": 1, "t": T_MS, "x": 1}]
    )
    assert (trade.symbol, trade.flags) == ("AAPL1240126P00050000", ())


def test_a_frame_is_what_its_type_says_whatever_it_was_asked_for_as() -> None:
    event = {
        "ev": "AM",
        "sym": "O:AAPL240126P00050000",
        "v": 1,
        "o": 1,
        "h": 1,
        "l": 1,
        "c": 1,
        "s": T_MS,
        "e": T_MS,
    }
    assert said("polygon_options", [event]).channel == "AM"


@pytest.mark.parametrize(("code", "status"), [(17, TradingStatus.HALTED), (18, TradingStatus.TRADING)])
def test_limit_bands_tell_halts(code: int, status: TradingStatus) -> None:
    bands = said("polygon", [{"ev": "LULD", "T": "MSFT", "h": 218.9, "l": 198.1, "i": [code], "t": T_NS}])
    assert isinstance(bands, Status)
    assert (bands.status, bands.limit_down, bands.limit_up) == (status, "198.1", "218.9")


def test_the_delayed_feed_is_a_feed_of_its_own_whose_bars_form_15_minutes_later() -> None:
    assert PolygonDelayed.websocket_url == "wss://delayed.massive.com/stocks"
    assert PolygonDelayed.delay_s == 900
    row = {"o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": T_MS}
    page = {"results": [row], "status": "OK", "ticker": "AAPL"}
    asked_ns = T_NS + 930 * 1_000_000_000  # of the late minute 30 s are over
    address = "/v2/aggs/ticker/AAPL/range/1/minute/1/2"
    states = [said(feed, page, address, asked_ns).bar_state for feed in ("polygon", "polygon_delayed")]
    assert states == [BarState.CLOSED, BarState.OPEN]


# Alpaca


OPTION = "AAPL240126P00050000"


def test_the_condition_of_an_options_event_is_one_text() -> None:
    trade = said(
        "alpaca_options",
        [{"T": "t", "S": OPTION, "p": 1, "s": 1, "x": "N", "c": "a", "t": "2024-01-02T15:30:00Z"}],
    )
    assert isinstance(trade, Trade)
    assert (trade.conditions, trade.trade_id, trade.tape) == (("a",), "", "")
    event = {"T": "q", "S": OPTION, "bp": 1, "bs": 1, "bx": "N", "ap": 2, "as": 1, "ax": "N", "c": " "}
    quote = said("alpaca_options", [event | {"t": "2024-01-02T15:30:00Z"}])
    assert isinstance(quote, Quote)
    assert quote.conditions == (" ",)


@pytest.mark.parametrize(
    ("word", "side"), [("B", Side.BUY), ("S", Side.SELL), ("-", Side.NONE), ("", Side.NONE)]
)
def test_an_unknown_taker_of_crypto_is_none(word: str, side: Side) -> None:
    event = {
        "T": "t",
        "S": "BTC/USD",
        "p": 1,
        "s": 2,
        "i": 7,
        "tks": word,
        "x": "CBSE",
        "t": "2024-01-02T15:30:00Z",
    }
    trade = said("alpaca_crypto", [event])
    assert (trade.side, trade.market_center, trade.record_key) == (side, "CBSE", "7")


def test_news_have_no_symbol_and_are_left_aside() -> None:
    news = {"T": "n", "id": 24_918_784, "headline": "…", "symbols": ["AAPL"], "source": "benzinga"}
    assert said("alpaca", [news]) == Ignored("n")


def test_prints_of_one_overnight_session_have_the_days_of_their_own() -> None:
    times = ("2026-11-24T04:50:00Z", "2026-11-24T05:10:00Z")  # 23:50 and 00:10 in New York
    events = [
        {"T": "t", "S": "AAPL", "i": 7, "x": "B", "p": 1, "s": 1, "t": time, "z": "C"} for time in times
    ]
    keys = [one.record_key for one in outcomes("alpaca_boats", events) if isinstance(one, Trade)]
    assert keys == ["2026-11-23/B/7", "2026-11-24/B/7"]


@pytest.mark.parametrize(
    ("feed", "path", "history"),
    [
        (AlpacaDelayed, "/v2/delayed_sip", "feed=sip&asof=-"),
        (AlpacaBoats, "/v1beta1/boats", "feed=boats&asof=-"),
        (AlpacaOvernight, "/v1beta1/overnight", "feed=boats&asof=-"),
        (AlpacaCrypto, "/v1beta3/crypto/us", ""),
        (AlpacaOptions, "/v1beta1/opra", ""),
    ],
)
def test_each_address_is_a_feed_whose_history_is_asked_for_by_a_name_it_knows(
    feed: type[AlpacaDelayed], path: str, history: str
) -> None:
    """Late feeds have no history under their own names; a symbol means itself and not what it was renamed to."""
    assert feed.websocket_url == f"wss://stream.data.alpaca.markets{path}"
    (request,) = feed().history_requests(Kind.TRADE, "AAPL", T_NS, T_NS + 1)
    assert request.path.partition("&sort=asc")[2].lstrip("&") == history
