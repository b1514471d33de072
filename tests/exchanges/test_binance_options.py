"""What Binance's options are asked for, and how they are named. What their frames give is in the fixtures."""

from __future__ import annotations

import json

import pytest

from etl.adapter.contract import Subscription
from etl.exchanges.binance_options import BinanceOptions
from etl.model.instruments import Instruments
from etl.model.records import Kind, SizeUnit

T0 = 1_790_000_000_000_000_000
CALL, PUT = "BTC-261225-100000-C", "BTC-261225-100000-P"


def test_a_stream_of_the_underlying_is_asked_for_once_for_all_its_options() -> None:
    parser = BinanceOptions()
    wanted = Subscription(
        (CALL, PUT), ("optionTrade", "depth@100ms", "optionMarkPrice", "optionOpenInterest")
    )
    public, market = parser.sockets(wanted)
    assert parser.connect_url("wss://h", public) == (
        "wss://h/public/stream?streams=btc-261225-100000-c@optionTrade/btc-261225-100000-c@depth@100ms"
        "/btc-261225-100000-p@optionTrade/btc-261225-100000-p@depth@100ms"
    )
    assert parser.connect_url("wss://h", market) == (
        "wss://h/market/stream?streams=btcusdt@optionMarkPrice/btcusdt@optionOpenInterest@261225"
    )


def test_an_option_that_is_not_listed_yet_has_an_underlying_too() -> None:
    parser = BinanceOptions(instruments=Instruments())
    assert parser.stream_name("SOL-270326-120-C", "optionMarkPrice") == "solusdt@optionMarkPrice"


def listed(**members: object) -> list[tuple[str, str, SizeUnit]]:
    option = {
        "symbol": CALL, "underlying": "BTCUSDT", "quoteAsset": "USDT", "side": "CALL", "expiryDate": 1_798_185_600_000,
        "strikePrice": "100000.00000000", "unit": 1, "filters": [],
    }  # fmt: skip
    payload = json.dumps({"optionSymbols": [option | members]}).encode()
    return [(one.venue_symbol, one.symbol, one.size_unit) for one in BinanceOptions.read_instruments(payload)]


def test_an_option_is_named_by_the_list_and_its_sizes_are_contracts_where_one_is_not_one_of_the_base() -> (
    None
):
    assert listed() == [(CALL, "BTC-USDT-20261225-100000-C", SizeUnit.NONE)]
    doge = {
        "symbol": "DOGE-261225-0.2-P",
        "underlying": "DOGEUSDT",
        "side": "PUT",
        "strikePrice": "0.20000000",
    }
    assert listed(**doge, unit=1_000) == [
        ("DOGE-261225-0.2-P", "DOGE-USDT-20261225-0.2-P", SizeUnit.CONTRACT)
    ]


@pytest.mark.parametrize("members", [{"expiryDate": 10**18}, {"strikePrice": "?"}, {"side": "BOTH"}])
def test_what_is_no_list_of_options_is_refused(members: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"instrument list|'\?'"):
        listed(**members)


def test_bars_have_a_history_and_trades_have_none_by_id_or_time() -> None:
    parser = BinanceOptions()
    (request,) = parser.history_requests(Kind.BAR, CALL, T0, T0 + 60_000_000_000)
    assert request.path == (
        f"/eapi/v1/klines?symbol={CALL}&interval=1m&startTime=1790000000000&endTime=1790000059999&limit=1000"
    )
    assert [one.path for one in parser.snapshot_requests(Subscription((CALL,), ("depth@100ms",)))] == [
        f"/eapi/v1/depth?symbol={CALL}&limit=1000"
    ]
    for kind in (Kind.TRADE, Kind.AGG_TRADE):
        assert not list(parser.history_requests(kind, CALL, T0, T0 + 1, first_id=7))
        assert not list(parser.id_requests(kind, CALL, 7, 9))
