"""Every channel of every venue whose bars must not skip one: breaks, losses, restarts and repairs give exact gaps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.adapter.contract import Channel, Exchange, SequenceRule
from etl.exchanges import load
from etl.model.records import Gap, GapKind, GapState, Kind, Record, Source
from etl.model.times import NS_PER_MINUTE
from etl.sequencing.ahead import REORDER_MESSAGES, REORDER_WAIT_NS
from etl.sequencing.continuity import Continuity
from etl.sequencing.gap import NO_EVENT_BEFORE
from tests.support.bars import DAY_NS, SYMBOL, VENUE_SYMBOL, bar, channel_of, stepping_channels

COUNT = 60
CHANNELS = stepping_channels()


class Story:
    """A worker that is given bars, loses its connection, dies and starts again."""

    def __init__(self, exchange: str, name: str, tail_max: int) -> None:
        self.venue = load(exchange)
        self.channel = channel_of(self.venue, name)
        self.first = DAY_NS // self.channel.interval_ns
        self.topic: list[Record] = []
        self.continuity = Continuity(self.venue)
        self._tail_max = tail_max

    def bar(self, number: int, source: Source = Source.STREAM) -> Record:
        return bar(self.channel, self.first + number, self.venue.name, source)

    def take(self, number: int) -> None:
        record = self.bar(number)
        self.topic += [*self.continuity.observe(record), record]
        self.topic += self.continuity.overdue(record.receive_time_ns + REORDER_WAIT_NS + 1)

    def lose(self, number: int) -> None:
        self.topic += self.continuity.lost(GapKind.DISCONNECT, "cut", self._now_ns(number))

    def restart(self, number: int) -> None:
        self.continuity = Continuity(self.venue)
        for record in self.topic[-self._tail_max :]:
            self.continuity.remember(record)
        self.topic += self.continuity.lost(GapKind.DISCONNECT, "restarted", self._now_ns(number))

    def _now_ns(self, number: int) -> int:
        return (self.first + number) * self.channel.interval_ns

    def gaps(self) -> dict[tuple[int, int], Gap]:
        """The last state of each gap, by the numbers of the bars around it."""
        last = {gap.record_key: gap for gap in self.topic if isinstance(gap, Gap)}
        return {
            (self.number(gap.from_time_ns), self.number(gap.to_time_ns)): gap
            for gap in last.values()
            if gap.gap_kind is not GapKind.START
        }

    def number(self, time_ns: int) -> int:
        number, rest = divmod(time_ns, self.channel.interval_ns)
        assert not rest
        return number - self.first

    def missing(self, gap: Gap) -> list[tuple[int, int]]:
        return [(first - self.first, last - self.first) for first, last in self.continuity.missing(gap)]


def runs(absent: set[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbours."""
    for number in sorted(absent):
        if number - 1 not in absent:
            yield number, next(n for n in range(number, COUNT) if n + 1 not in absent)


def test_every_stepping_channel_says_how_long_its_bars_are() -> None:
    assert [name for name in CHANNELS if not channel_of(load(name[0]), name[1]).interval_ns] == []
    assert ("polygon_crypto", "XA") in CHANNELS


@pytest.mark.parametrize(("exchange", "name"), CHANNELS)
@settings(max_examples=60, deadline=None)
@given(
    absent=st.sets(st.integers(1, COUNT - 2), max_size=25),
    cuts=st.sets(st.integers(1, COUNT - 1), max_size=6),
    restarts=st.sets(st.integers(1, COUNT - 1), max_size=4),
    tail_max=st.sampled_from([REORDER_MESSAGES + 1, 64]),
    repaired=st.sets(st.integers(1, COUNT - 2), max_size=25),
)
def test_what_is_missing_is_declared_exactly_over_losses_and_restarts_and_closed_by_the_last_bar_of_it(
    exchange: str,
    name: str,
    absent: set[int],
    cuts: set[int],
    restarts: set[int],
    tail_max: int,
    repaired: set[int],
) -> None:
    story = Story(exchange, name, tail_max)
    for number in range(COUNT):
        if number in cuts:
            story.lose(number)
        if number in restarts:
            story.restart(number)
        if number not in absent:
            story.take(number)
    holes = {(first - 1, last + 1): (first, last) for first, last in runs(absent)}
    gaps = story.gaps()
    proved = {span for span, gap in gaps.items() if gap.gap_state is GapState.REPAIRED}
    assert all(after == before + 1 for before, after in proved)
    assert {span for span in gaps if span not in proved} == set(holes)
    known = {span for span in holes if story.missing(gaps[span])}
    assert all(story.missing(gaps[span]) == [holes[span]] for span in known)
    assert known == set(holes) or restarts  # beyond its tail nobody looks for a bar
    for number in sorted(repaired):
        story.topic += story.continuity.observe(story.bar(number, Source.REPAIR))
    for span in known:
        first, last = holes[span]
        left = set(range(first, last + 1)) - repaired
        gap = story.gaps()[span]
        assert gap.gap_state is (GapState.OPEN if left else GapState.REPAIRED)
        assert story.missing(gap) == list(runs(left))


@pytest.mark.parametrize(("exchange", "name"), CHANNELS)
def test_a_restart_with_an_open_gap_counts_no_bars_that_never_were(exchange: str, name: str) -> None:
    story = Story(exchange, name, tail_max=1)
    story.take(0)
    story.lose(1)
    story.restart(3)
    assert isinstance(story.topic[-1], Gap)
    story.take(5)
    ((span, gap),) = story.gaps().items()
    assert (span, gap.gap_state, story.missing(gap)) == ((0, 5), GapState.OPEN, [(1, 4)])


@pytest.mark.parametrize(("exchange", "name"), CHANNELS)
def test_a_quarantined_bar_is_the_one_that_is_missing(exchange: str, name: str) -> None:
    story = Story(exchange, name, tail_max=64)
    story.take(0)
    story.topic += story.continuity.quarantined(story.bar(1))
    story.take(2)
    ((span, gap),) = story.gaps().items()
    assert (span, gap.gap_kind, story.missing(gap)) == ((0, 2), GapKind.QUARANTINE, [(1, 1)])


class Untold(Exchange):
    """A venue whose channel does not tell how long its bars are: each bar does."""

    name = "untold"
    channels = (Channel("candles", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 60.0),)


def test_where_the_channel_does_not_say_it_a_bar_tells_how_long_it_is() -> None:
    minutes = Channel("candles", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, interval_ns=NS_PER_MINUTE)
    first = DAY_NS // NS_PER_MINUTE
    before = Continuity(Untold)
    before.observe(bar(minutes, first, "untold"))
    (opened,) = before.lost(GapKind.DISCONNECT, "cut", DAY_NS)
    after = Continuity(Untold)
    after.remember(opened)
    assert after.observe(bar(minutes, first + 4, "untold")) == []
    (closed,) = after.decide()
    assert (closed.record_key, closed.from_time_ns, closed.to_time_ns) == (
        opened.record_key,
        DAY_NS,
        DAY_NS + 4 * NS_PER_MINUTE,
    )
    assert after.missing(closed) == [(first + 1, first + 3)]


def test_a_loss_before_the_first_bar_begins_one_bar_before_the_subscription() -> None:
    minutes = Channel("candles", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, interval_ns=NS_PER_MINUTE)
    continuity = Continuity(Untold)
    continuity.expect([(SYMBOL, VENUE_SYMBOL)], ["candles"], DAY_NS)
    continuity.lost(GapKind.DISCONNECT, "refused", DAY_NS + 1)
    _, closed = continuity.observe(bar(minutes, DAY_NS // NS_PER_MINUTE + 3, "untold"))
    assert closed.flags == (NO_EVENT_BEFORE,)
    assert (closed.from_time_ns, closed.to_time_ns) == (DAY_NS - NS_PER_MINUTE, DAY_NS + 3 * NS_PER_MINUTE)
