"""The days before a session: history that was never streamed, for backfills to fetch.

A trade and a quote every ``STEP_NS`` of every symbol, computed from their number alone: any page of any day costs
what it holds, the same request gets the same answer in every life of the simulator, and the numbers run on into
those of the session.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from zlib import crc32

from etl.simulator.market import Bar, Instrument, Print, Top

STEP_NS = 10_000_000_000
STEPS_MAX = 1_000 * 8_640
"""The past is a thousand days deep."""
WAVE_STEPS = 1_800
WAVE_SHARE = 0.01
"""Prices wander this far from the session's first, up and down again in ten hours."""
JITTER_TICKS = 5
LOTS_MAX = 5_000


class Past:
    """Everything before ``end_ns``. ``shift_of`` tells by how much a symbol's numbers are moved."""

    def __init__(
        self,
        instrument: Callable[[str], Instrument],
        end_ns: int,
        shift_of: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._instrument = instrument
        self._steps = end_ns // STEP_NS
        self._shift_of = shift_of

    def last_number(self, symbol: str) -> int:
        return self._steps - 1 + self._shift_of(symbol)

    @property
    def end_ns(self) -> int:
        return self._steps * STEP_NS

    def between(self, start_ns: int, end_ns: int) -> range:
        """The steps with start_ns <= time < end_ns."""
        start = max(self._steps - STEPS_MAX, -(-start_ns // STEP_NS))
        return range(start, max(start, min(self._steps, -(-end_ns // STEP_NS))))

    def from_number(self, symbol: str, number: int) -> range:
        first = max(self._steps - STEPS_MAX, number - self._shift_of(symbol))
        return range(min(self._steps, first), self._steps)

    def prints(self, symbol: str, steps: Sequence[int]) -> list[Print]:
        shift, first = self._shift_of(symbol), self._instrument(symbol).start_ticks
        return [
            self._print(step, step + shift, first, crc32(b"%s/%d" % (symbol.encode(), step)))
            for step in steps
        ]

    def _print(self, step: int, number: int, first: int, draw: int) -> Print:
        price = _price(step, first) + draw % JITTER_TICKS
        return Print(number, number, step * STEP_NS, price, 1 + draw % LOTS_MAX, draw % 2 == 0, draw)

    def tops(self, symbol: str, steps: Sequence[int]) -> list[Top]:
        shift, first = self._shift_of(symbol), self._instrument(symbol).start_ticks
        found = []
        for step in steps:
            draw = crc32(b"%s/%d/q" % (symbol.encode(), step))
            bid, number = _price(step, first) + draw % JITTER_TICKS, step + shift
            sizes = 1 + draw % LOTS_MAX, 1 + draw // 7 % LOTS_MAX
            found.append(Top(number, number, step * STEP_NS, bid, sizes[0], bid + 1, sizes[1], draw))
        return found

    def bars(self, interval_ns: int, start_ns: int, end_ns: int) -> range:
        """Starts of the bars that are over; the seconds between the steps have none."""
        start_ns = max(start_ns, self.end_ns - STEPS_MAX * STEP_NS)
        first = -(-start_ns // interval_ns) * interval_ns
        step_ns = max(interval_ns, STEP_NS)
        first = -(-first // step_ns) * step_ns
        return range(first, max(first, min(end_ns, self.end_ns - interval_ns + 1)), step_ns)

    def bar(self, symbol: str, interval_ns: int, start_ns: int) -> Bar:
        prints = self.prints(symbol, self.between(start_ns, start_ns + interval_ns))
        price = prints[0].price
        bar = Bar(start_ns, interval_ns, price, price, price, price)
        for event in prints:
            bar.add(event)
        return bar


def _price(step: int, first: int) -> int:
    return first + int(first * WAVE_SHARE * math.sin(step / WAVE_STEPS * math.tau / 2))
