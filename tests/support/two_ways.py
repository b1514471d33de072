"""One connection's life, the plain way, the express way, or the one or the other record by record; and all that it
left: messages, counts, and the state of the plain way's own objects."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from etl.adapter.contract import Exchange
from etl.ingest.feed import Feed
from etl.ingest.intake import Intake, open_intake
from etl.model.records import Frame, Record, Source
from etl.sequencing.ahead import Ahead
from etl.sequencing.holes import Holes
from etl.sequencing.restart import Restart
from etl.settings import make
from etl.transports.memory import MemoryPublisher
from etl.validation.statistics import SymbolStatistics
from tests.support import fixtures

WAYS = ("plain", "express", "either")
OPAQUE = (Ahead, Holes, Restart)
"""With slots, and looked into too."""
COUNTS = (
    "frames",
    "events_read",
    "published",
    "quarantined",
    "ignored",
    "gaps",
    "gap_states",
    "snapshots_saved",
)


class Life:
    """``seed`` chooses, where either way may be taken."""

    def __init__(
        self,
        exchange: type[Exchange],
        way: str,
        seed: int = 0,
        statistics: Sequence[SymbolStatistics] = (),
        recordings_dir: str = "served",
    ) -> None:
        self.publisher = MemoryPublisher()
        settings = make(recordings_dir=recordings_dir, express=way != "plain")
        self.feed = Feed(settings, exchange, self.publisher)
        self.feed.statistics = {item.symbol: item for item in statistics}
        self.intake: Any = open_intake(self.feed, exchange(), "c1", "wss://venue")
        self.taken = 0
        """Records that the step has published."""
        step: Any = self.intake._step
        chosen = random.Random(seed)
        self.has_step = step is not None

        def counted(record: object, receive_time_ns: int) -> bool:
            if way == "either" and chosen.random() < 0.5:
                return False
            is_taken: bool = step(record, receive_time_ns)
            self.taken += is_taken
            return is_taken

        if step is not None:
            self.intake._step = counted

    def take(self, payload: bytes, receive_time_ns: int, endpoint: str = "") -> None:
        self.intake.take(payload, receive_time_ns, endpoint)

    def give(self, record: Record, receive_time_ns: int) -> object:
        """One outcome of a parser all the way; the error, where the plain way does not stand it."""
        self.intake._parse = lambda frame: (record,)
        frame = Frame(self.feed.exchange.name, "c1", 1, "wss://venue", receive_time_ns, b"", Source.STREAM)
        return _error_of(lambda: self.intake.parse(frame))

    def left(self) -> dict[str, object]:
        """All that can be seen of it."""
        intake, counts = self.intake, self.feed.counts
        seen = {
            "state": state_of(intake, self.feed),
            "counts": [getattr(counts, name) for name in COUNTS],
            "released": [msgspec.structs.asdict(trade) for trade in intake.checker.bands.released],
        }
        error = _error_of(lambda: self.feed.publish_gaps(self.feed.continuity.decide()))
        self.publisher.poll()
        return {"topics": dict(self.publisher.delivered), "error": error, **seen}


def _error_of(act: Callable[[], object]) -> object:
    try:
        act()
    except Exception as error:  # noqa: BLE001  whatever it is, the other way is to raise it too
        return type(error), str(error)
    return None


def state_of(intake: Intake, feed: Feed) -> object:
    checker, followed = intake.checker, feed.continuity.followed
    return [
        _plain(checker.clock),
        _plain(checker.identities),
        {name: _plain(watch) for name, watch in checker.bands.levels.items()},
        {name: _plain(watch) for name, watch in checker.bands.steps.items()},
        {key: _plain(track) for key, track in followed.tracks.items()},
        list(followed.pending),
        {name: _plain(join) for name, join in intake._books.joins.items()},
        dict(feed.keys),
        intake.last_event_ns,
        intake.snapshots_due_ns,
    ]


def _plain(value: Any) -> object:
    """The slots of an object, and of what it holds."""
    if isinstance(value, deque):
        return list(value), value.maxlen
    names = [name for each in type(value).__mro__ for name in getattr(each, "__slots__", ())]
    return type(value), {
        name: _plain(held) if isinstance(held := getattr(value, name), (*OPAQUE, deque)) else held
        for name in names
        if name not in ("_span", "_start_pending", "_window")
    }


def same(lives: Sequence[Life]) -> None:
    """They have left the same."""
    first, *others = [life.left() for life in lives]
    for other in others:
        for name, left in first.items():
            assert other[name] == left, name


def records_of(exchange: type[Exchange], lines: Sequence[fixtures.FixtureLine]) -> list[Record]:
    parser = exchange()
    frames = (fixtures.frame_of(line, exchange.name, number) for number, line in enumerate(lines, 1))
    return [each for frame in frames for each in parser.parse(frame) if isinstance(each, Record)]
