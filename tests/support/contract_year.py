"""Days of 2,000 contracts through all that a worker remembers by symbol, at the pace of the CPU.

    python -m tests.support.contract_year 365

prints the most that each memory ever held. Frames go the way of a worker's, from the parser to the publisher; the clock
is the simulation's, the topic of positions a dict that forgets as a compacted one does.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import generate_latest

from etl.adapter.contract import Subscription
from etl.adapter.series import Contract
from etl.exchanges._kalshi_wire import LIFECYCLE
from etl.exchanges.kalshi import YES_PRICED, Kalshi
from etl.ingest.contracts import Contracts
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.positions import Position, Positions
from etl.model.times import NS_PER_DAY, NS_PER_S
from etl.settings import make
from etl.telemetry.worker import WorkerMetrics
from etl.transports.memory import Nowhere

PERIODS_A_DAY, WIDTH = 100, 20
"""Twenty contracts at a time, each of them for 864 s."""
LOOK_PERIODS = 20
LIFE_NS = NS_PER_DAY // PERIODS_A_DAY
FIRST_NS = 1_790_000_000 * NS_PER_S // LIFE_NS * LIFE_NS
CHANNELS = ("trade", "orderbook_delta")
SHARE = "KXBTC15M-*%0/1"
URL = f"wss://venue/trade-api/ws/v2{YES_PRICED}"


class Compacted(Nowhere):
    """A publisher of which one topic is kept: the last of each key."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.kept: dict[bytes, bytes] = {}

    def publish(self, topic: str, key: bytes, value: bytes | None, *_: object) -> None:
        if topic == self._topic and value is None:
            self.kept.pop(key, None)
        elif topic == self._topic and value is not None:
            self.kept[key] = value


class Days:
    """One worker of one series; ``peaks``: the most that each memory has held."""

    def __init__(self) -> None:
        settings = make()
        self.topic = Compacted(settings.topics.positions)
        self.feed = Feed(settings, Kalshi, self.topic)
        self.contracts = Contracts(Kalshi.series) if Kalshi.series else None
        self.parser = Kalshi()
        self.subscription = Subscription((), CHANNELS)
        self.parser.open(self.subscription, FIRST_NS)
        self.intake = open_intake(self.feed, self.parser, "c1", URL, subscription=self.subscription)
        self.news = open_intake(self.feed, Kalshi(), "c2", URL)
        self.feed.hear_contract.append(lambda contract: self._contracts.tell(contract, self.now_ns))
        wanted = [Subscription((SHARE,), (*CHANNELS, LIFECYCLE))]
        self.positions = Positions(settings, self.feed, self.topic, wanted, lambda: ())  # type: ignore[arg-type]
        self.metrics = WorkerMetrics("kalshi", self.feed.counts, lambda: 0)
        self.now_ns = FIRST_NS
        self.joined = 0
        self.peaks: Counter[str] = Counter()
        self.metric_lines: set[int] = set()
        """How many lines a scrape had, at each look."""
        self._sequences: Counter[int] = Counter()

    @property
    def _contracts(self) -> Contracts:
        assert self.contracts is not None
        return self.contracts

    def run(self, periods: int) -> None:
        for period in range(1, periods + 1):
            start_ns = FIRST_NS + period * LIFE_NS
            for symbol in names(period + 1):
                self._say("created", symbol, open_ts=(start_ns + LIFE_NS) // NS_PER_S)
            self._at(start_ns, list(listed(period)))
            self._trade(names(period))
            self._at(start_ns + 30 * NS_PER_S, list(listed(period)))
            for symbol in names(period - 1):
                self._say("determined", symbol, result="yes", determination_ts=self.now_ns // NS_PER_S)
            for seconds in (160, 180, 840):
                self._at(start_ns + seconds * NS_PER_S)
            if not period % LOOK_PERIODS:
                self._look()

    def _at(self, now_ns: int, contracts: list[Contract] | None = None) -> None:
        """What ``SeriesStreams`` does with the venue's list, and with what is due."""
        self.now_ns, continuity = now_ns, self.feed.continuity
        if contracts is not None:
            self._contracts.list(contracts, now_ns)
        due = self._contracts.due(now_ns)
        joins, leaves = tuple(each.venue_symbol for each in due.joins), tuple(due.leaves)
        for contract in due.joins:
            name = (contract.venue_symbol, contract.venue_symbol)
            self.feed.publish_gaps(continuity.enlist(name, CHANNELS, contract.opens_ns, now_ns))
        self.parser.change(Subscription(joins, CHANNELS), Subscription(leaves, CHANNELS))
        for symbol in due.forgets:
            self.feed.publish_gaps(continuity.dismiss(symbol, CHANNELS, now_ns))
            self.feed.forget(symbol)
        self.intake.forget([(symbol, symbol) for symbol in due.forgets])
        for symbol in due.statuses:
            self.feed.publish_gaps(continuity.dismiss(symbol, [LIFECYCLE], now_ns))
        self.joined += len(joins)

    def _trade(self, symbols: Iterable[str]) -> None:
        """A book, a change of it and a trade of each."""
        ms = self.now_ns // 1_000_000
        for symbol in symbols:
            head = f'"market_ticker":"{symbol}"'
            self._take(1, "orderbook_snapshot", f'{head},"yes_dollars_fp":[["0.3500","10.00"]]')
            change = f'{head},"price_dollars":"0.3500","delta_fp":"1.00","side":"yes","ts_ms":{ms}'
            self._take(1, "orderbook_delta", change)
            trade = f'"trade_id":"{symbol}","yes_price_dollars":"0.3500","count_fp":"1.00","taker_book_side":"bid"'
            self._take(2, "trade", f'{head},{trade},"ts_ms":{ms}')

    def _take(self, sid: int, tag: str, members: str) -> None:
        self._sequences[sid] += 1
        text = f'{{"type":"{tag}","sid":{sid},"seq":{self._sequences[sid]},"msg":{{{members}}}}}'
        self.intake.take_read([text.encode()], self.now_ns)

    def _say(self, event: str, symbol: str, **more: object) -> None:
        members = "".join(f',"{name}":{value!r}'.replace("'", '"') for name, value in more.items())
        text = f'{{"type":"{LIFECYCLE}","sid":9,"msg":{{"event_type":"{event}","market_ticker":"{symbol}"{members}}}}}'
        self.news.take_read([text.encode()], self.now_ns)

    def _look(self) -> None:
        """What is held now; the position is written as it is every 15 s."""
        feed = self.feed
        here = Position("kalshi", [SHARE], [], self.now_ns, self.now_ns, {}, [])
        self.positions._publish(here, self.positions._standings(), {})
        held = {
            "contracts": len(self._contracts),
            "followed": len(feed.continuity.standings()),
            "message keys": len(feed.keys),
            "books of the parser": len(self.parser._books),
            "books of the intake": len(self.intake._books.joins),
            "keys of positions": len(self.topic.kept),
        }
        self.metric_lines.add(generate_latest(self.metrics.registry).count(b"\n"))
        self.peaks |= Counter(held)


def names(period: int) -> Iterator[str]:
    return (f"KXBTC15M-{period:06d}-{number}" for number in range(WIDTH))


def listed(period: int) -> Iterator[Contract]:
    """Open, and those that open next."""
    for each in (period, period + 1):
        yield from (Contract(symbol, FIRST_NS + each * LIFE_NS) for symbol in names(each))


if __name__ == "__main__":
    begun_s, days = time.process_time(), Days()
    days.run(int(sys.argv[1]) * PERIODS_A_DAY)
    print(f"{days.joined:,} contracts, {time.process_time() - begun_s:.1f} s of CPU")
    for name, count in sorted(days.peaks.items()):
        print(f"{name:24}{count:>8,}")
    print(f"{'lines of metrics':24}{', '.join(map(str, sorted(days.metric_lines))):>8}")
