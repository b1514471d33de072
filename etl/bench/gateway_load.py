"""Trades on the normalized topic at a steady rate, for the benches of the gateway."""

from __future__ import annotations

import threading
import time

from etl.model.records import Side, Source, Trade
from etl.settings import Settings
from etl.transports.transport import transport_of
from etl.wire.codec import encode
from etl.wire.keys import message_key

TICK_S = 0.005
FLUSH_WITHIN_S = 30.0


class Load:
    """Publishes ``rate`` trades a second, on a thread."""

    def __init__(self, settings: Settings, rate: float, symbols: int) -> None:
        self._settings = settings
        self._rate = rate
        self._symbols = symbols
        self._sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        """How many were published."""
        self._stop.set()
        self._thread.join()
        return self._sent

    def _run(self) -> None:
        publisher = transport_of(self._settings).publisher()
        keys = [message_key("binance", f"S{number}") for number in range(self._symbols)]
        topic, began = self._settings.topics.normalized, time.perf_counter()
        while not self._stop.is_set():
            due = int((time.perf_counter() - began) * self._rate)
            while self._sent < due:
                symbol = self._sent % self._symbols
                publisher.publish(topic, keys[symbol], encode(trade(self._sent, f"S{symbol}")))
                self._sent += 1
            publisher.poll()
            time.sleep(TICK_S)
        publisher.flush(FLUSH_WITHIN_S)


def trade(number: int, symbol: str) -> Trade:
    now_ns = time.time_ns()
    return Trade(
        "binance", symbol, symbol, "trade", now_ns, now_ns, Source.STREAM, "0193f0a0-0000-7000-8000-000000000001",
        number, 0, f"{number}", now_ns, 1, sequence=number, last_price="97123.45", volume="0.00123", side=Side.BUY,
        trade_id=f"{number}",
    )  # fmt: skip
