"""cryptofeed reads Binance's aggregate trades from a loopback address, into its own Kafka back-end or into nothing.

Run by the Python that cryptofeed is installed in: ``cryptofeed_reader.py FEED_PORT KAFKA_PORT|none``. What had to be
adapted, and is listed in the benchmark's result: the addresses (it refuses any without TLS, so the scheme is exchanged
as it opens one), the list of symbols (else fetched), an event loop that uvloop 0.23 no longer makes by itself.
"""

import asyncio
import sys

import uvloop
from cryptofeed import FeedHandler, feed
from cryptofeed.backends.kafka import TradeKafka
from cryptofeed.connection import WebsocketEndpoint, WSAsyncConn
from cryptofeed.defines import TRADES
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols

COUNT_EVERY = 1_000

counted = 0


async def count(trade: object, receipt_timestamp: float) -> None:
    global counted
    counted += 1
    if counted % COUNT_EVERY == 0:
        print(counted, flush=True)


class LoopbackConn(WSAsyncConn):  # type: ignore[misc]
    """A connection that opens its address without TLS, as our own reader does in this comparison."""

    address: str

    async def _open(self) -> None:
        self.address = self.address.replace("wss://", "ws://")
        await super()._open()


def main(feed_port: str, kafka: str) -> None:
    feed.WSAsyncConn = LoopbackConn
    Binance.websocket_endpoints = [WebsocketEndpoint(f"wss://127.0.0.1:{feed_port}")]
    Symbols.set("BINANCE", {"BTC-USDT": "BTCUSDT"}, {"instrument_type": {"BTC-USDT": "spot"}})
    callback = count if kafka == "none" else TradeKafka(bootstrap_servers=f"127.0.0.1:{kafka}", acks="all")
    handler = FeedHandler({"log": {"disabled": True}, "uvloop": True})
    asyncio.set_event_loop(uvloop.new_event_loop())  # the handler has just exchanged the policy
    handler.add_feed(Binance(symbols=["BTC-USDT"], channels=[TRADES], callbacks={TRADES: callback}))
    handler.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
