"""A simulated OKX, perpetuals: as spot, with mark prices, funding, open interest and liquidations."""

from __future__ import annotations

from collections.abc import Mapping

from etl.model.times import NS_PER_HOUR, NS_PER_MS
from etl.simulator.venue import BEST, LIQUIDATION, Channel
from etl.simulator.venues.okx import SPOT_CHANNELS, Okx, listed, push
from etl.simulator.words import Form

FUNDING_NS = 8 * NS_PER_HOUR
STATS = "$channel/${ms}000000/$digest"
SWAP_CHANNELS: Mapping[str, Channel] = {
    **SPOT_CHANNELS,
    "mark-price": Channel(BEST, push("stats", STATS, '{"instType":"SWAP","instId":"$symbol","markPx":"$bid","ts":"$ms"}', "$bid"), 0.02),
    "funding-rate": Channel(BEST, push("stats", STATS, '{"instType":"SWAP","instId":"$symbol","fundingRate":"0.0001","fundingTime":"$due_ms","nextFundingRate":"","nextFundingTime":"$later_ms","ts":"$ms"}', "0.0001/${due_ms}000000"), 0.01),
    "open-interest": Channel(BEST, push("stats", STATS, '{"instType":"SWAP","instId":"$symbol","oi":"$bid_size","oiCcy":"$ask_size","oiUsd":"$bid","ts":"$ms"}', "$bid_size"), 0.01),
    "liquidation-orders": Channel(LIQUIDATION, Form("liquidation", STATS, '{"arg":{"channel":"$channel","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0","bkPx":"$bid","ccy":"","posSide":"long","side":"sell","sz":"$bid_size","ts":"$ms"}],"instFamily":"","instId":"$symbol","instType":"SWAP","uly":""}]}', NS_PER_MS, "sell/$bid/$bid_size/long"), 0.01),
}  # fmt: skip


class OkxSwap(Okx):
    exchange = "okx_swap"
    channels = SWAP_CHANNELS
    instrument_type = "SWAP"
    words = Okx.words | {
        "due_ms": lambda words: (words["time_ns"] // FUNDING_NS + 1) * FUNDING_NS // NS_PER_MS,
        "later_ms": lambda words: words["due_ms"] + FUNDING_NS // NS_PER_MS,
    }
    symbols = listed(
        ("BTC-USDT-SWAP", 1, 2, 618_376), ("ETH-USDT-SWAP", 2, 2, 268_512), ("BTC-USD-SWAP", 1, 1, 618_376)
    )
