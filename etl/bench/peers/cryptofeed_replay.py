"""cryptofeed, as it is, on ``etl replay serve``: what its callbacks are given, an array of JSON a line.

Run by the Python that cryptofeed is installed in: ``cryptofeed_replay.py HOST:PORT``. Nothing of it is exchanged but
the addresses of its venues. It refuses any without TLS: ``SSL_CERT_FILE`` and ``REQUESTS_CA_BUNDLE`` name the authority
that vouches for the server.
"""

import json
import sys

from cryptofeed import FeedHandler
from cryptofeed.defines import L2_BOOK, TICKER, TRADES
from cryptofeed.exchanges import OKX, Binance


def tell(*facts: object) -> None:
    print(json.dumps([fact if isinstance(fact, int) else str(fact) for fact in facts]), flush=True)


async def on_trade(trade, receipt_timestamp) -> None:  # type: ignore[no-untyped-def]
    tell("trade", trade.exchange, trade.symbol, trade.side, trade.amount, trade.price, trade.id)


async def on_ticker(ticker, receipt_timestamp) -> None:  # type: ignore[no-untyped-def]
    tell("ticker", ticker.exchange, ticker.symbol, ticker.bid, ticker.ask)


async def on_book(book, receipt_timestamp) -> None:  # type: ignore[no-untyped-def]
    sides = [side.index(0) if len(side) else () for side in (book.book.bids, book.book.asks)]
    tell("book", book.exchange, book.symbol, book.sequence_number, *(fact for side in sides for fact in side))


def main(host: str) -> None:
    Binance.websocket_endpoints[0].address = f"wss://{host}/binance"
    Binance.rest_endpoints[0].address = f"https://{host}/binance"
    OKX.websocket_endpoints[0].address = f"wss://{host}/okx/ws/v5/public"
    OKX.rest_endpoints[0].address = f"https://{host}/okx"
    callbacks = {TRADES: on_trade, TICKER: on_ticker, L2_BOOK: on_book}
    handler = FeedHandler({"log": {"disabled": True}, "uvloop": False})
    handler.add_feed(Binance(symbols=["BTC-USDT"], channels=[TICKER, L2_BOOK], callbacks=callbacks))
    handler.add_feed(OKX(symbols=["ADA-USDT"], channels=[TRADES, TICKER], callbacks=callbacks))
    handler.run()


if __name__ == "__main__":
    main(sys.argv[1])
