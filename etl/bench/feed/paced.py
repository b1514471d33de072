"""``python -m etl.bench.feed.paced --port PORT --recording FILE --channels A,B --symbols X,Y --rate N``

The recorded frames, made as they are due: N a second whatever the reader does, each with the time of now.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from etl.bench.feed.__main__ import Feed, main
from etl.bench.feed.frames import Recorded, frames, header, of_symbols, recorded
from etl.embedded.part import Part, tcp_ready
from etl.simulator import recording

CHANNELS = "trade,bookTicker,depth@100ms"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "LTCUSDT")
TICK_S = 0.002


class PacedFeed(Feed):
    """``rate``: frames a second."""

    def __init__(self, recording: Recorded, rate: float) -> None:
        super().__init__(Path(), recording.snapshot.encode())
        self._recording = recording
        self._rate = rate

    async def send(self, writer: asyncio.StreamWriter) -> None:
        made = frames(self._recording, sys.maxsize, time.time_ns() // 1_000_000, self._rate / 1_000)
        began, sent = time.monotonic(), 0
        while not writer.is_closing():
            due = int((time.monotonic() - began) * self._rate)
            parts: list[bytes] = []
            for _ in range(due - sent):
                payload = next(made)
                parts += (header(len(payload)), payload)
            writer.write(b"".join(parts))
            sent = due
            await asyncio.sleep(TICK_S)


def paced_part(name: str, host: str, port: int, symbols: Sequence[str], rate: float) -> Part:
    """The feed of ``symbols`` as a part, in the place of a simulated Binance: ``rate`` frames a second."""
    words = ["--port", str(port), "--recording", str(recording.shipped("binance")), "--channels", CHANNELS]
    words += ["--symbols", ",".join(symbols), "--rate", str(rate)]
    return Part(
        name=name,
        command=(sys.executable, "-m", "etl.bench.feed.paced", *words),
        ports={"simulator_port": port},
        ready=tcp_ready(host, port),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument("--channels", required=True)
    parser.add_argument("--symbols", required=True)
    parser.add_argument("--rate", type=float, required=True)
    options = parser.parse_args()
    mix = of_symbols(recorded(options.recording, options.channels.split(",")), options.symbols.split(","))
    asyncio.run(main(options.port, PacedFeed(mix, options.rate)))
