"""Binance's futures sockets carry the streams of one group and are mute for those of the other."""

from __future__ import annotations

import pytest

from etl.simulator.connection import Connection
from etl.simulator.venues import make_venue

STREAMS = "btcusdt@trade/btcusdt@depth@100ms/btcusdt@depth20@100ms/btcusdt@kline_1m/btcusdt@markPrice@1s"


@pytest.mark.parametrize(
    ("path", "live"),
    [
        ("public/stream", {"btcusdt@trade", "btcusdt@depth", "btcusdt@depth20@100ms"}),
        ("market/stream", {"btcusdt@kline_1m", "btcusdt@markPrice@1s"}),
        ("stream", {"btcusdt@trade", "btcusdt@depth", "btcusdt@depth20@100ms"}),
    ],
)
def test_a_futures_socket_is_mute_for_the_streams_of_the_other_group(path: str, live: set[str]) -> None:
    connection = Connection(path, {"streams": STREAMS})
    make_venue("binance_usdm").opened(connection)
    assert connection.streams == live


def test_the_raw_address_of_a_group_names_its_streams_too() -> None:
    connection = Connection("market/ws/btcusdt@aggTrade/btcusdt@trade")
    make_venue("binance_usdm").opened(connection)
    assert connection.streams == {"btcusdt@aggTrade"}
    assert connection.is_raw
