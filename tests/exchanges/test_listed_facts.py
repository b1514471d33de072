"""What the lists tell of settlement, contract, status and day, of the lists that come with the code."""

from __future__ import annotations

import pytest

from etl.adapter.contract import shipped_instruments
from etl.exchanges import load
from etl.model.instruments import Instrument

Facts = tuple[str, str, str, int]
"""Settlement, contract size, status, listed (ns)."""


@pytest.mark.parametrize(
    ("venue", "symbol", "facts"),
    [
        ("deribit", "BTC-PERPETUAL", ("BTC", "10.0", "open", 1_534_167_754_000_000_000)),
        ("deribit", "BTC-25JUN27-100000-C", ("BTC", "1.0", "open", 1_534_167_754_000_000_000)),
        ("deribit", "BTC_USDC", ("USDC", "", "open", 1_534_167_754_000_000_000)),
        ("coinbase", "BTC-USD", ("", "", "online", 0)),
        ("gate", "BTC_USDT", ("", "", "tradable", 0)),
        ("kraken", "BTC/USD", ("", "", "online", 0)),
        ("kucoin", "BTC-USDT", ("", "", "enabled", 0)),
        ("mexc", "BTCUSDT", ("", "", "1", 0)),
        ("mexc_contract", "BTC_USDT", ("USDT", "0.0001", "0", 0)),
        ("hyperliquid", "BTC", ("USDC", "", "", 0)),
        ("hyperliquid", "HPOS", ("USDC", "", "delisted", 0)),
        ("kalshi", "KXBTCD-26FEB1217-T67749.99", ("USD", "1.0000", "active", 1_770_930_000_000_000_000)),
        ("binance_options", "BTC-261225-80000-C", ("USDT", "1", "", 0)),
    ],
)
def test_a_list_tells_settlement_contract_status_and_day(venue: str, symbol: str, facts: Facts) -> None:
    assert told(shipped_instruments(load(venue)).get(symbol)) == facts


def told(one: Instrument | None) -> Facts | None:
    return None if one is None else (one.settle, one.contract_size, one.status, one.listed_ns)
