from __future__ import annotations

import pytest

from etl.adapter.contract import Exchange, channel_family
from etl.errors import UsageError
from etl.exchanges import load, names
from etl.exchanges.binance import Binance


def test_every_feed_is_found_by_its_name() -> None:
    assert {"binance", "binance_usdm", "polygon", "alpaca", "alpaca_iex"} <= set(names())
    for name in names():
        assert load(name).name == name


def test_an_unknown_venue_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"nowhere: no such venue; known are .*binance"):
        load("nowhere")
    with pytest.raises(UsageError):
        load("binance_")


def test_a_variant_of_a_channel_has_the_rule_of_its_family() -> None:
    depth = Binance.channel("depth@1000ms")
    assert depth is Binance.channel("depth@100ms")
    assert depth is Binance.channel("depth")
    assert Binance.channel("kline_5m") is Binance.channel("kline_1m")
    assert Binance.channel("unheard") is None
    assert channel_family("depth@100ms") == "depth"


@pytest.mark.parametrize("name", names())
def test_a_feed_states_what_every_feed_must(name: str) -> None:
    feed = load(name)
    assert feed.websocket_url.startswith("wss://")
    assert feed.channels
    assert feed.default_symbols
    assert len({channel.name for channel in feed.channels}) == len(feed.channels)
    assert all(why for why in feed.ignored_names.values())
    for channel in feed.default_channels:
        assert feed.channel(channel)
    assert isinstance(feed(), Exchange)
