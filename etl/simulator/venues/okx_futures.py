"""A simulated OKX, dated futures: as perpetuals."""

from __future__ import annotations

from etl.simulator.venues.okx import listed
from etl.simulator.venues.okx_swap import OkxSwap


class OkxFutures(OkxSwap):
    exchange = "okx_futures"
    instrument_type = "FUTURES"
    symbols = listed(
        ("BTC-USDT-261225", 1, 2, 618_376), ("ETH-USDT-261225", 2, 2, 268_512), ("BTC-USD-261225", 1, 0, 618_376)
    )  # fmt: skip
