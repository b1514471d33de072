from __future__ import annotations

import pytest
from msgspec.structs import replace

from etl.adapter.contract import Exchange, Subscription
from etl.errors import UsageError
from etl.exchanges.alpaca import AlpacaOptions
from etl.exchanges.binance import Binance
from etl.exchanges.coinbase_advanced import CoinbaseAdvanced
from etl.exchanges.kalshi import Kalshi
from etl.exchanges.polygon import Polygon, PolygonOptions
from etl.ingest.subscriptions import subscriptions


def test_symbols_are_shared_out_and_no_two_shards_have_the_same() -> None:
    symbols = [f"S{n}" for n in range(10)]
    shards = [subscriptions(Binance, symbols, ["trade"], f"{i}/3") for i in range(3)]
    found = [symbol for shard in shards for one in shard for symbol in one.symbols]
    assert sorted(found) == sorted(symbols)


def test_a_connection_carries_no_more_streams_than_the_venue_allows() -> None:
    symbols = [f"S{n}" for n in range(1_000)]
    parts = subscriptions(Binance, symbols, ["trade", "bookTicker", "kline_1m"], "0/1")
    assert [len(part.symbols) for part in parts] == [341, 341, 318]
    assert max(len(part.symbols) * len(part.channels) for part in parts) <= Binance.streams_max
    assert [symbol for part in parts for symbol in part.symbols] == symbols


def test_what_is_not_said_is_the_venue_s_default() -> None:
    assert subscriptions(Binance, (), (), "0/1") == [
        Subscription(Binance.default_symbols, Binance.default_channels)
    ]


def test_an_alias_is_asked_for_under_the_name_that_its_data_bear_and_but_once() -> None:
    (wanted,) = subscriptions(CoinbaseAdvanced, ["BTC-USDC", "ETH-USD", "BTC-USD"], ["level2"], "0/1")
    assert wanted.symbols == ("BTC-USD", "ETH-USD")


@pytest.mark.parametrize("shard", ["", "1", "1/1", "2/2", "-1/2", "a/b", "1/", "/2", "0/0"])
def test_a_shard_that_makes_no_sense_is_refused(shard: str) -> None:
    with pytest.raises(UsageError):
        subscriptions(Binance, (), (), shard)


def test_a_venue_with_one_connection_per_key_refuses_shards() -> None:
    with pytest.raises(UsageError, match="one connection per key"):
        subscriptions(Polygon, (), (), "0/2")


def test_more_shards_than_symbols_is_refused_where_nothing_is_left() -> None:
    with pytest.raises(UsageError, match="no symbol is left"):
        subscriptions(Binance, ["A"], (), "1/2")


def test_more_quoted_options_than_one_connection_takes_are_refused_where_a_key_has_one() -> None:
    contracts = [f"O:SPY261218C{strike:08}" for strike in range(1_001)]
    with pytest.raises(UsageError) as refused:
        subscriptions(PolygonOptions, contracts, ["T", "Q"], "0/1")
    assert str(refused.value) == (
        "polygon_options: Q of 1,001 symbols, and the one connection of a key takes 1,000"
    )
    assert subscriptions(PolygonOptions, contracts[1:], ["T", "Q"], "0/1") == [
        Subscription(tuple(contracts[1:]), ("T", "Q"))
    ]
    assert subscriptions(PolygonOptions, contracts, ["T"], "0/1") == [Subscription(tuple(contracts), ("T",))]


@pytest.mark.parametrize(("feed", "channel"), [(PolygonOptions, "Q"), (AlpacaOptions, "quotes")])
def test_a_star_is_refused_where_every_symbol_has_to_be_named(feed: type[Exchange], channel: str) -> None:
    with pytest.raises(UsageError, match=rf"{feed.name}: {channel} takes no \*, only symbols by name"):
        subscriptions(feed, ["*"], [channel], "0/1")
    assert len(subscriptions(feed, ["*"], feed.default_channels[:1] or ["T"], "0/1")) == 1


def test_a_venue_with_more_connections_gets_as_many_as_its_narrowest_channel_needs() -> None:
    class Narrow(Binance):
        channels = (Binance.channels[0], replace(Binance.channels[1], symbols_max=2))

    parts = subscriptions(Narrow, ["A", "B", "C"], ["trade", "bookTicker"], "0/1")
    assert [part.symbols for part in parts] == [("A", "B"), ("C",)]


def test_a_series_is_a_share_of_it_beside_what_is_named() -> None:
    symbols = ["KXBTC15M-*", "KXONE", "KXBTCD-*"]
    channels = ["trade", "market_lifecycle_v2"]
    contracts, named = subscriptions(Kalshi, symbols, channels, "0/2")
    assert contracts == Subscription(("KXBTC15M-*%0/2", "KXBTCD-*%0/2"), ("trade",))
    assert named == Subscription(("KXONE",), ("trade", "market_lifecycle_v2"))
    assert subscriptions(Kalshi, symbols, channels, "1/2") == [
        Subscription(("KXBTC15M-*%1/2", "KXBTCD-*%1/2"), ("trade",))
    ]


def test_a_series_without_a_channel_of_its_contracts_is_refused() -> None:
    with pytest.raises(UsageError, match="a channel of its contracts"):
        subscriptions(Kalshi, ["KXBTC15M-*"], ["market_lifecycle_v2"], "0/1")


def test_a_star_is_no_series_where_the_venue_has_none_and_all_markets_are_all() -> None:
    assert subscriptions(AlpacaOptions, ["O:*"], ["trades"], "0/1")[0].symbols == ("O:*",)
    assert subscriptions(Kalshi, ["*"], ["trade"], "0/1") == [Subscription(("*",), ("trade",))]
