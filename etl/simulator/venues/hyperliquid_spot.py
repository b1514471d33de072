"""Hyperliquid's spot market: its coins are numbered pairs, their names stand in another list."""

from __future__ import annotations

from collections.abc import Mapping

from etl.simulator.market import Instrument
from etl.simulator.truth import PLACED
from etl.simulator.venue import BEST, Channel, Response
from etl.simulator.venues.hyperliquid import Hyperliquid, said
from etl.simulator.words import Form


class HyperliquidSpot(Hyperliquid):
    exchange = "hyperliquid_spot"
    symbols: Mapping[str, Instrument] = {
        "@107": Instrument("@107", "HYPE-USDC", 3, 2, 23_415),
        "PURR/USDC": Instrument("PURR/USDC", "PURR-USDC", 5, 0, 21_874),
        "@142": Instrument("@142", "UBTC-USDC", 0, 5, 105_061),
    }
    channels: Mapping[str, Channel] = {
        **Hyperliquid.channels,
        "activeAssetCtx": Channel(BEST, Form("stats", PLACED, said("activeSpotAssetCtx", '{"coin":"$symbol","ctx":{"prevDayPx":"$bid","dayNtlVlm":"8906.0","markPx":"$ask","midPx":"$bid","circulatingSupply":"8888.2"}}'), 0), 0.1),
    }  # fmt: skip

    def listed(self) -> Response:
        """Each token of its own, and what all are counted in."""
        tokens = ['{"name":"USDC","szDecimals":8,"index":0}']
        pairs = []
        for index, one in enumerate(self.symbols.values(), 1):
            base = one.unified.partition("-")[0]
            tokens.append(f'{{"name":"{base}","szDecimals":{one.size_digits},"index":{index}}}')
            pairs.append(f'{{"tokens":[{index},0],"name":"{one.symbol}","index":{index}}}')
        text = f'{{"universe":[{",".join(pairs)}],"tokens":[{",".join(tokens)}]}}'
        return Response(200, text.encode(), is_reference=True)
