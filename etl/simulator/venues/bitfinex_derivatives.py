"""Simulated contracts of Bitfinex: as spot, with their status, and with the liquidations of all in one channel."""

from __future__ import annotations

from collections.abc import Mapping

from etl.model.times import NS_PER_HOUR, NS_PER_MS
from etl.simulator.market import Instrument
from etl.simulator.venue import BEST, LIQUIDATION, Channel
from etl.simulator.venues._bitfinex_words import BITFINEX_WORDS
from etl.simulator.venues.bitfinex import Bitfinex
from etl.simulator.words import Form

FUNDING_NS = 8 * NS_PER_HOUR
OF_ALL = "status.liq|global"
STATUS = "[CHAN,[$ms,null,$bid,$bid,null,1160638.5,null,$funding_ms,0.00000308,4567,null,0.0001,null,null,$ask,null,null,$bid_size,null,null,null,0.0005,0.0025],SEQ,$ms]"  # fmt: skip
CLOSED = '[CHAN,[["pos",$number,$ms,null,"$symbol",$bid_size,$ask,null,0,1,null,$bid]],SEQ,$ms]'


class BitfinexDerivatives(Bitfinex):
    exchange = "bitfinex_derivatives"
    symbols: Mapping[str, Instrument] = {
        "tBTCF0:USTF0": Instrument("tBTCF0:USTF0", "BTC-USDT-PERP", 0, 4, 92_310),
        "tETHF0:USTF0": Instrument("tETHF0:USTF0", "ETH-USDT-PERP", 1, 3, 31_234),
        "tSOLF0:USTF0": Instrument("tSOLF0:USTF0", "SOL-USDT-PERP", 2, 2, 13_841),
    }
    words = BITFINEX_WORDS | {
        "funding_ns": lambda words: (words["time_ns"] // FUNDING_NS + 1) * FUNDING_NS,
        "funding_ms": lambda words: words["funding_ns"] // NS_PER_MS,
    }
    channels: Mapping[str, Channel] = {
        **Bitfinex.channels,
        "status.deriv": Channel(BEST, Form("stats", "$channel/${ms}000000/$digest", STATUS, NS_PER_MS, "$ask/$bid/$bid_size/0.0001/$funding_ns"), 0.05),
        "status.liq": Channel(LIQUIDATION, Form("liquidation", "$channel/${ms}000000/$digest", CLOSED, NS_PER_MS, "$number/$bid/$bid_size"), 0.01),
    }  # fmt: skip

    def expand(self, name: str) -> set[str]:
        if name != OF_ALL:
            return {name}
        return {self.stream(symbol, "status.liq") for symbol in self.symbols}

    def whole(self, stream: str) -> str:
        return OF_ALL if self.split(stream)[1] == "status.liq" else stream
