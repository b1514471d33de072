"""A client of ``etl gateway``: one call for yesterday, one for now.

    client = Client("http://127.0.0.1:8060", token)
    frame = client.trades("binance", "BTC-USDT", "2026-01-01", "2026-01-02")    # Polars
    async for record in client.stream("binance", "BTC-USDT", "trade"): …        # or start=…: the past, then live

It needs aiohttp, msgspec, protobuf, pyarrow and Polars, and nothing of what the platform runs on.
"""

from etl.client.client import Client
from etl.client.errors import ClientError, LostError, Refused
from etl.client.stream import Lost, Stream
from etl.model.derived import BookTop, Mid, TradeBar

__all__ = [
    "BookTop",
    "Client",
    "ClientError",
    "Lost",
    "LostError",
    "Mid",
    "Refused",
    "Stream",
    "TradeBar",
]
