"""Binance US: spot's protocol under other addresses, with ids and limits of its own and without an archive.

https://docs.binance.us
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from etl.adapter.contract import Budget
from etl.exchanges.binance import Binance
from etl.model.records import Kind


class BinanceUs(Binance):
    name = "binance_us"
    changes: ClassVar[Mapping[str, str]] = {}
    websocket_url = "wss://stream.binance.us:9443"
    websocket_url_others = ()
    rest_url = "https://api.binance.us"
    default_symbols = ("BTCUSD", "ETHUSD", "SOLUSDT")
    budgets = (Budget(1_200, 60.0),)
    archive_url = ""
    archive_kinds: ClassVar[frozenset[Kind]] = frozenset()
