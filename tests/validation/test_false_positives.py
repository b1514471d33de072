"""A long clean session is let through: heavy tails, a flash crash, halts, splits and new listings are no corruption."""

from __future__ import annotations

import random
import statistics as reference
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from etl import exchanges
from etl.adapter.contract import Exchange
from etl.model.records import Frame, Kind, Record, Severity, Trade
from etl.sources.recording import frames, read_lines
from etl.validation import Checker
from etl.validation.statistics import SymbolStatistics
from tests.support.venues import NOW_NS, Venue, altered

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside the repository")

SYMBOLS = [f"COIN{number}-USDT" for number in range(20)]
DAYS = 50
TRADES_A_DAY = 100
DAY_NS = 86_400_000_000_000
TAIL_DEGREES = 4
SOFT_SHARE_MAX = 0.001


class Symbol:
    """One symbol's path: returns of Student's t with four degrees of freedom, and now and then an event."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self.chance = chance
        self.price = chance.uniform(0.5, 50_000)
        self.deviation = chance.choice([0.0003, 0.02, 0.05])
        self.closes: list[float] = []
        self.first_day = chance.choice([0, 0, 0, 15])  # some are listed later

    def statistics(self, day: int) -> Iterator[SymbolStatistics]:
        closes = self.closes[-31:]
        if len(closes) >= 3:
            returns = [later / earlier - 1 for earlier, later in pairwise(closes)]
            yield SymbolStatistics(
                "test_venue",
                self.name,
                closes[-1],
                reference.mean(returns),
                reference.stdev(returns),
                len(closes),
                NOW_NS + day * DAY_NS,
            )

    def open(self, day: int) -> None:
        if day == 35 and self.name.endswith("3-USDT"):  # a 4:1 split before the open
            self.price /= 4
            self.closes = [close / 4 for close in self.closes]

    def day(self, day: int) -> Iterator[float]:
        known = next(self.statistics(day), None)
        bottom = known.close * (1 + known.return_mean - 8 * known.return_deviation) if known else 0.0
        crash = self.chance.randrange(TRADES_A_DAY) if day == 40 and self.name == SYMBOLS[0] else -1
        step = self.deviation / TRADES_A_DAY**0.5
        for number in range(TRADES_A_DAY):
            self.price *= 1 + step * self.student()
            crashed = crash <= number < crash + 3 if crash >= 0 else False  # and back after three trades
            yield bottom if crashed else self.price
        self.closes.append(self.price)

    def student(self) -> float:
        normal = self.chance.gauss(0, 1)
        chi = sum(self.chance.gauss(0, 1) ** 2 for _ in range(TAIL_DEGREES))
        return normal / (chi / TAIL_DEGREES) ** 0.5 / 2**0.5  # unit variance


def test_a_long_clean_session_has_no_hard_and_few_soft_findings() -> None:
    chance = random.Random(11)
    checker = Checker(Venue)
    symbols = [Symbol(name, chance) for name in SYMBOLS]
    severities: Counter[Severity] = Counter()
    count = 0
    for day in range(DAYS):
        open_today = [symbol for symbol in symbols if symbol.first_day <= day]
        for symbol in open_today:
            symbol.open(day)
            checker.bands.learn(symbol.statistics(day))
        for symbol in open_today:
            halt_ns = 7_200_000_000_000 if day == 20 else 0
            for number, price in enumerate(symbol.day(day)):
                time_ns = NOW_NS + day * DAY_NS + number * 600_000_000_000 + (halt_ns if number > 50 else 0)
                trade: Trade = altered(
                    Kind.TRADE,
                    symbol=symbol.name,
                    record_key=f"{day}/{number}",
                    event_time_ns=time_ns,
                    receive_time_ns=time_ns + 1_000_000,
                    last_price=f"{price:.8f}",
                )
                count += 1
                severities.update(finding.severity for finding in checker.check(trade))
    assert severities[Severity.HARD] == 0
    assert severities[Severity.SOFT] / count < SOFT_SHARE_MAX, (severities, count)


@needs_recordings
@pytest.mark.parametrize("venue", ["binance", "binance_usdm"])
def test_a_recording_has_no_findings_at_all(venue: str) -> None:
    exchange = exchanges.load(venue)
    parser = exchange()
    checker = Checker(exchange)
    [path] = RECORDINGS.glob(f"{venue}.*")
    findings: list[object] = []
    with path.open("rb") as file:
        for frame in frames(read_lines(file), venue):
            findings += [found for record in records(parser, frame) for found in checker.check(record)]
    assert findings == []


def records(parser: Exchange, frame: Frame) -> Iterator[Record]:
    for outcome in parser.parse(frame):
        if isinstance(outcome, Record):
            yield outcome
