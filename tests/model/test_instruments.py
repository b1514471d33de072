from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from etl.adapter.contract import shipped_instruments
from etl.exchanges import load
from etl.exchanges.binance import Binance
from etl.exchanges.binance_usdm import BinanceUsdm
from etl.model.instruments import Instrument, Instruments, occ_symbol

LISTED = [name for name in ("binance", "binance_usdm") if len(shipped_instruments(load(name)))]


@pytest.mark.parametrize(
    ("venue", "venue_symbol", "symbol"),
    [
        ("binance", "BTCUSDT", "BTC-USDT"),
        ("binance", "USDTTRY", "USDT-TRY"),
        ("binance", "ETHBTC", "ETH-BTC"),
        ("binance", "1000SATSUSDT", "1000SATS-USDT"),
        ("binance_usdm", "BTCUSDT", "BTC-USDT-PERP"),
        ("binance_usdm", "1000SHIBUSDT", "1000SHIB-USDT-PERP"),
        ("binance_usdm", "1000000MOGUSDT", "1000000MOG-USDT-PERP"),
    ],
)
def test_base_and_quote_come_from_the_list(venue: str, venue_symbol: str, symbol: str) -> None:
    instruments = shipped_instruments(load(venue))
    assert instruments.symbol(venue_symbol) == symbol
    assert instruments.venue_symbol(symbol) == venue_symbol


@pytest.mark.parametrize("name", LISTED)
def test_a_shipped_list_is_one_to_one(name: str) -> None:
    instruments = shipped_instruments(load(name))
    assert len(instruments) > 200
    assert len(instruments.by_symbol()) == len(instruments)
    for symbol, venue_symbol in instruments.by_symbol().items():
        assert instruments.symbol(venue_symbol) == symbol


@pytest.mark.parametrize("name", LISTED)
def test_the_default_symbols_are_listed(name: str) -> None:
    instruments = shipped_instruments(load(name))
    assert all(instruments.get(symbol) for symbol in load(name).default_symbols)


def test_an_unknown_symbol_keeps_its_spelling_and_gets_a_flag_and_is_not_stored() -> None:
    instruments = Instruments([Instrument("BTCUSDT", "BTC-USDT")])
    assert instruments.names["NEWUSDT"] == ("NEWUSDT", ("unknown_symbol",))
    assert instruments.names["BTCUSDT"] == ("BTC-USDT", ())
    assert list(instruments.names) == ["BTCUSDT"]
    assert instruments.venue_symbol("NEWUSDT") == "NEWUSDT"


def test_of_two_that_claim_one_symbol_the_second_keeps_its_own_name() -> None:
    instruments = Instruments([Instrument("XBTUSD", "BTC-USD"), Instrument("BTCUSD", "BTC-USD")])
    assert (instruments.symbol("XBTUSD"), instruments.symbol("BTCUSD")) == ("BTC-USD", "BTCUSD")
    assert (instruments.venue_symbol("BTC-USD"), instruments.venue_symbol("BTCUSD")) == ("XBTUSD", "BTCUSD")


def test_an_alias_is_the_symbol_that_it_stands_for_and_no_symbol_of_its_own() -> None:
    listed = Instruments(
        [Instrument("BTC-USDC", "BTC-USDC", alias_of="BTC-USD"), Instrument("BTC-USD", "BTC-USD")]
    )
    assert listed.direct("BTC-USDC") == listed.direct("BTC-USD") == "BTC-USD"
    assert listed.names["BTC-USDC"] == ("BTC-USD", ())
    assert listed.by_symbol() == {"BTC-USD": "BTC-USD"}


def test_what_has_an_end_has_expired_from_then_on_and_of_others_nobody_says() -> None:
    listed = Instruments([Instrument("A-26", "A-20260605", expires_ns=7), Instrument("A", "A-PERP")])
    assert [listed.has_expired("A-26", now_ns) for now_ns in (6, 7)] == [False, True]
    assert not listed.has_expired("A", 1 << 62)
    assert not listed.has_expired("B", 1 << 62)


@pytest.mark.parametrize(
    "name", ["binance_coinm", "binance_options", "bybit_option", "deribit", "okx_futures"]
)
def test_a_dated_contract_expires_on_the_day_in_its_name(name: str) -> None:
    listed = shipped_instruments(load(name))
    dated = {
        symbol: instrument.expires_ns
        for symbol, venue_symbol in listed.by_symbol().items()
        if re.search("-20[0-9]{6}", symbol) and (instrument := listed.get(venue_symbol))
    }
    assert dated
    for symbol, expires_ns in dated.items():
        assert f"-{datetime.fromtimestamp(expires_ns // 10**9, UTC):%Y%m%d}" in symbol


def test_an_answer_of_the_venue_replaces_the_shipped_list() -> None:
    spot = b"""{"timezone":"UTC","serverTime":1,"rateLimits":[],"symbols":[{"symbol":"ETHBTC","status":"TRADING",
        "baseAsset":"ETH","baseAssetPrecision":8,"quoteAsset":"BTC","filters":[
        {"filterType":"PRICE_FILTER","minPrice":"0.00001","maxPrice":"922327","tickSize":"0.00001000"},
        {"filterType":"LOT_SIZE","minQty":"0.0001","maxQty":"100000","stepSize":"0.00010000"}]}]}"""
    assert list(Binance.read_instruments(spot)) == [
        Instrument("ETHBTC", "ETH-BTC", price_step="0.00001000", size_step="0.00010000", status="TRADING")
    ]
    futures = b"""{"timezone":"UTC","symbols":[
        {"symbol":"BTCUSDT","contractType":"PERPETUAL","deliveryDate":4133404800000,"baseAsset":"BTC","quoteAsset":"USDT"},
        {"symbol":"BTCUSDT_240927","contractType":"CURRENT_QUARTER","deliveryDate":1727424000000,"baseAsset":"BTC",
         "quoteAsset":"USDT"}]}"""
    assert [(item.symbol, item.expires_ns // 10**6) for item in BinanceUsdm.read_instruments(futures)] == [
        ("BTC-USDT-PERP", 4_133_404_800_000),
        ("BTC-USDT-20240927", 1_727_424_000_000),
    ]


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"symbols":[{}]}', b'{"symbols":"x"}', b"\xff"])
def test_what_is_no_instrument_list_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="instrument list"):
        list(Binance.read_instruments(payload))


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("O:AAPL240126P00050000", "AAPL240126P00050000"),
        ("AAPL  240126P00050000", "AAPL240126P00050000"),
        ("O:BRKB240126C00350500", "BRKB240126C00350500"),
        ("O:SPXW1240126C00350500", "SPXW1240126C00350500"),
        ("AAPL", None),
        ("O:AAPL240126X00050000", None),
        ("", None),
    ],
)
def test_option_symbols_are_read_from_the_right(text: str, symbol: str | None) -> None:
    assert occ_symbol(text) == symbol
