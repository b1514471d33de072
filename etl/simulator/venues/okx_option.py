"""A simulated OKX, options: as perpetuals."""

from __future__ import annotations

from etl.simulator.venues.okx import listed
from etl.simulator.venues.okx_swap import OkxSwap


class OkxOption(OkxSwap):
    exchange = "okx_option"
    instrument_type = "OPTION"
    symbols = listed(
        ("BTC-USD-261225-100000-C", 4, 0, 1_250), ("BTC-USD-261225-100000-P", 4, 0, 1_730),
        ("ETH-USD-261225-4000-C", 4, 0, 1_410),
    )  # fmt: skip
