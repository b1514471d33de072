from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.adapter.contract import Channel, Exchange, SequenceRule
from etl.model.records import (
    Bar,
    BarState,
    Book,
    BookAction,
    Gap,
    GapKind,
    GapState,
    Kind,
    Quote,
    Record,
    Source,
    Status,
    Trade,
)
from etl.sequencing.ahead import JUMP_IDS_MAX, REORDER_LEAST_NS, REORDER_MESSAGES, REORDER_WAIT_NS, Window
from etl.sequencing.continuity import Continuity
from etl.sequencing.gap import NO_EVENT_BEFORE, settled
from etl.sequencing.restart import RESET_MESSAGES
from etl.sequencing.timed import LATE_NS

MS = 1_000_000
BY_COUNT = Window(least_ns=0)
DAY = 1_723_161_600_000_000_000


class Venue(Exchange):
    name = "venue"
    channels = (
        Channel("trade", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0),
        Channel("range", Kind.BOOK, SequenceRule.RANGE),
        Channel("pointer", Kind.BOOK, SequenceRule.BACK_POINTER),
        Channel("updates", Kind.BOOK, SequenceRule.CONTIGUOUS),
        Channel("quote", Kind.QUOTE, SequenceRule.RISING, None, 60.0),
        Channel("plain", Kind.TRADE, SequenceRule.NONE, Kind.TRADE, 60.0),
        Channel("kline_1m", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR),
        Channel("silent", Kind.STATUS, SequenceRule.NONE),
    )


def base(channel: str, time_ns: int, key: str, source: Source = Source.STREAM) -> dict[str, Any]:
    return {
        "exchange": "venue",
        "symbol": "BTC-USDT",
        "venue_symbol": "BTCUSDT",
        "channel": channel,
        "event_time_ns": time_ns,
        "receive_time_ns": time_ns + MS,
        "source": source,
        "connection_id": "c",
        "frame_sequence": 1,
        "frame_index": 0,
        "record_key": key,
        "key_time_ns": time_ns,
        "parser_version": 1,
    }


def trade(number: int, time_ns: int | None = None, source: Source = Source.STREAM) -> Trade:
    time_ns = DAY + number * MS if time_ns is None else time_ns
    return Trade(**base("trade", time_ns, str(number), source), sequence=number)


def delta(first: int, last: int, previous: int | None = None) -> Book:
    channel = "range" if previous is None else "pointer"
    head = base(channel, DAY + last * MS, f"{channel}/d/{last}")
    return Book(
        **head,
        sequence=last,
        first_sequence=first,
        previous_sequence=previous,
        book_action=BookAction.ABSOLUTE,
    )


def update(number: int, time_ms: int = 0, action: BookAction = BookAction.ABSOLUTE) -> Book:
    head = base("updates", DAY + (time_ms or number) * MS, f"updates/{action}/{number}")
    return Book(**head, sequence=number, book_action=action)


def quote(number: int) -> Quote:
    return Quote(**base("quote", DAY + number * MS, str(number)), sequence=number)


def silent(number: int) -> Status:
    return Status(**base("silent", DAY + number * MS, str(number)))


def plain(number: int) -> Trade:
    return Trade(**base("plain", DAY + number * MS, str(number)))


def bar(minute: int, state: BarState = BarState.CLOSED) -> Bar:
    time_ns = DAY + minute * 60_000 * MS
    return Bar(**base("kline_1m", time_ns, f"1m/{time_ns}"), interval="1m", bar_state=state)


def follow(records: Iterable[Record], continuity: Continuity | None = None) -> list[Gap]:
    continuity = continuity or Continuity(Venue, declares_start=False, window=BY_COUNT)
    gaps = [gap for record in records for gap in continuity.observe(record)]
    return [*gaps, *continuity.decide()]


def spans(gaps: Sequence[Gap]) -> list[tuple[int | None, int | None]]:
    return [(gap.from_sequence, gap.to_sequence) for gap in gaps]


def last_states(gaps: Iterable[Gap]) -> list[Gap]:
    return list({gap.record_key: gap for gap in gaps}.values())


def missing_ids(gaps: Sequence[Gap]) -> set[int]:
    return {number for first, last in spans(gaps) for number in range(first or 0, (last or 0) + 1)}


# what a break gives


def test_a_break_in_trade_ids_gives_one_gap_with_the_missing_ids_and_the_times_around_them() -> None:
    assert follow([trade(1), trade(2), trade(6)]) == [
        Gap(
            exchange="venue",
            symbol="BTC-USDT",
            venue_symbol="BTCUSDT",
            channel="trade",
            event_time_ns=DAY + 2 * MS,
            receive_time_ns=DAY + 7 * MS,
            source=Source.STREAM,
            connection_id="c",
            frame_sequence=1,
            frame_index=0,
            record_key="trade/3-5",
            key_time_ns=DAY + 2 * MS,
            parser_version=1,
            gap_kind=GapKind.SEQUENCE,
            gap_state=GapState.OPEN,
            from_sequence=3,
            to_sequence=5,
            from_time_ns=DAY + 2 * MS,
            to_time_ns=DAY + 6 * MS,
            detected_time_ns=DAY + 7 * MS,
        )
    ]


def test_a_break_in_ranges_gives_the_ids_between_them() -> None:
    gaps = follow([delta(1, 5), delta(6, 9), delta(15, 20)])
    assert spans(gaps) == [(10, 14)]
    assert gaps[0].gap_state is GapState.UNREPAIRABLE  # no history of deltas


def test_a_back_pointer_counts_and_not_the_first_id() -> None:
    assert follow([delta(3, 5, 1), delta(90, 99, 5), delta(150, 160, 99)]) == []
    assert spans(follow([delta(3, 5, 1), delta(90, 99, 7)])) == [(6, 7)]


def test_an_absent_bar_gives_a_gap_in_time_between_its_neighbours() -> None:
    gap = follow([bar(0), bar(1), bar(4)])[0]
    assert (gap.from_time_ns, gap.to_time_ns) == (DAY + 60_000 * MS, DAY + 240_000 * MS)
    assert (gap.from_sequence, gap.to_sequence) == (None, None)


def test_a_forming_bar_neither_fills_nor_breaks() -> None:
    assert follow([bar(0), bar(1, BarState.OPEN), bar(2, BarState.OPEN), bar(1), bar(2)]) == []


def test_a_snapshot_is_no_link_of_the_chain() -> None:
    snapshot = delta(1, 1_000)
    snapshot = Book(**base("range", DAY, "range/s/1000"), sequence=1_000, book_action=BookAction.SNAPSHOT)
    assert follow([delta(1, 5), snapshot, delta(6, 9)]) == []


def test_repaired_and_backfilled_records_are_not_followed() -> None:
    assert (
        follow([trade(1), trade(50, source=Source.REPAIR), trade(90, source=Source.BACKFILL), trade(2)]) == []
    )


def test_doubles_and_late_doubles_give_nothing() -> None:
    assert follow([trade(1), trade(2), trade(2), trade(1), trade(3), trade(3)]) == []


# the window


@given(st.integers(0, 2**32), st.integers(2, REORDER_MESSAGES - 1))
def test_reordering_within_the_window_declares_nothing(seed: int, width: int) -> None:
    numbers = list(range(100, 200))
    generator = random.Random(seed)
    for start in range(1, 100, width):
        part = numbers[start : start + width]
        generator.shuffle(part)
        numbers[start : start + width] = part
    assert follow(trade(number) for number in numbers) == []


@settings(max_examples=60)
@given(st.sets(st.integers(1, 298)), st.integers(0, 2**32))
def test_thinned_ids_are_declared_exactly_with_doubles_and_swaps_among_them(
    gone: set[int], seed: int
) -> None:
    generator = random.Random(seed)
    numbers = [number for number in range(300) if number not in gone]
    for _ in range(20):
        at = generator.randrange(1, len(numbers) - 1) if len(numbers) > 2 else 0
        if at and at + 1 < len(numbers) and at > 1:
            numbers[at], numbers[at + 1] = numbers[at + 1], numbers[at]
        numbers.insert(at + 1, numbers[at])
    gaps = last_states(follow(trade(number) for number in numbers))
    still = [gap for gap in gaps if gap.gap_state is GapState.OPEN]  # some came too late, and closed theirs
    assert missing_ids(still) == gone - set(range(min(set(numbers))))


def test_a_break_is_declared_after_the_window_and_before_the_record_that_ends_it() -> None:
    continuity = Continuity(Venue, declares_start=False, window=BY_COUNT)
    numbers = [1, *range(3, 3 + REORDER_MESSAGES)]
    assert [gap for number in numbers for gap in continuity.observe(trade(number))] == []
    assert spans(continuity.observe(trade(numbers[-1] + 1))) == [(2, 2)]


def test_a_break_is_declared_when_its_time_is_over() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(trade(1))
    late = trade(3)
    assert not continuity.observe(late)
    assert continuity.overdue(late.receive_time_ns + REORDER_WAIT_NS) == []
    assert spans(continuity.overdue(late.receive_time_ns + REORDER_WAIT_NS + 1)) == [(2, 2)]
    assert continuity.overdue(late.receive_time_ns + 10 * REORDER_WAIT_NS) == []


def test_a_break_is_declared_when_the_clock_went_back_by_more_than_its_wait() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(trade(1))
    late = trade(3)
    assert not continuity.observe(late)
    assert continuity.overdue(late.receive_time_ns - REORDER_WAIT_NS) == []
    assert spans(continuity.overdue(late.receive_time_ns - 100 * REORDER_WAIT_NS)) == [(2, 2)]


def test_a_fast_channel_waits_for_latecomers_by_time() -> None:
    continuity = Continuity(Venue, declares_start=False)
    late = trade(2)
    numbers = [1, *range(3, REORDER_LEAST_NS // MS)]
    assert [gap for number in numbers for gap in continuity.observe(trade(number))] == []
    assert not continuity.observe(late)
    assert continuity.decide() == []


def test_a_latecomer_after_the_verdict_closes_the_gap() -> None:
    numbers = [1, *range(3, 20), 2, 20, 21]
    opened, closed = follow(trade(number) for number in numbers)
    assert (opened.gap_state, spans([opened])) == (GapState.OPEN, [(2, 2)])
    assert (closed.record_key, closed.gap_state, closed.reason) == (
        opened.record_key,
        GapState.REPAIRED,
        "arrived late",
    )


# repair


def test_a_gap_is_closed_by_the_last_id_that_it_misses_and_not_before() -> None:
    continuity = Continuity(Venue, declares_start=False)
    (gap,) = follow([trade(1), trade(5), trade(6)], continuity)
    repairs = [trade(number, source=Source.REPAIR) for number in (4, 2, 2, 1, 3)]
    assert continuity.missing(gap) == [(2, 4)]
    assert not continuity.observe(repairs[0])
    assert not continuity.observe(repairs[1])
    assert continuity.missing(gap) == [(3, 3)]
    assert not continuity.observe(repairs[2])
    assert not continuity.observe(repairs[3])
    (closed,) = continuity.observe(repairs[4])
    assert (closed.record_key, closed.gap_state, closed.reason) == (
        gap.record_key,
        GapState.REPAIRED,
        "repaired",
    )
    assert continuity.missing(gap) == ()
    assert follow([trade(7)], continuity) == []


def test_a_gap_that_history_cannot_fill_is_settled_and_no_longer_looked_for() -> None:
    continuity = Continuity(Venue, declares_start=False)
    (gap,) = follow([trade(1), trade(3)], continuity)
    hole = continuity.settle(gap, GapState.SOURCE_HOLE, DAY, "the venue has no such id")
    assert (hole.gap_state, hole.reason, hole.record_key) == (
        GapState.SOURCE_HOLE,
        "the venue has no such id",
        gap.record_key,
    )
    assert not continuity.observe(trade(2, source=Source.REPAIR))


def test_an_open_gap_of_the_tail_is_still_closed_by_its_ids() -> None:
    first = Continuity(Venue, declares_start=False)
    (gap,) = follow([trade(1), trade(3), trade(4)], first)
    second = Continuity(Venue)
    for record in (trade(1), gap, trade(3), trade(4)):
        second.remember(record)
    (closed,) = second.observe(trade(2, source=Source.REPAIR))
    assert (closed.record_key, closed.gap_state) == (gap.record_key, GapState.REPAIRED)


def test_a_missing_bar_is_closed_by_the_bar() -> None:
    continuity = Continuity(Venue, declares_start=False)
    (gap,) = follow([bar(0), bar(2)], continuity)
    (closed,) = continuity.observe(msgspec.structs.replace(bar(1), source=Source.REPAIR))
    assert (closed.record_key, closed.gap_state) == (gap.record_key, GapState.REPAIRED)


# corrupt ids


@pytest.mark.parametrize("wrong", [7, 40, 90, 10**6, 10**15])
def test_one_message_with_a_wrong_id_declares_its_own_id_and_nothing_else(wrong: int) -> None:
    records = [trade(number) for number in range(50, 150)]
    records[30] = trade(wrong, time_ns=DAY + 80 * MS)
    assert spans(follow(records)) == [(80, 80)]


def test_an_implausible_jump_needs_a_second_message_that_goes_on_from_it() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(trade(1))
    jump = trade(2 * JUMP_IDS_MAX, time_ns=DAY + 2 * MS)
    continuity.observe(jump)
    assert continuity.overdue(jump.receive_time_ns + 2 * REORDER_WAIT_NS) == []
    continuity.observe(trade(2 * JUMP_IDS_MAX + 1, time_ns=DAY + 3 * MS))
    assert spans(continuity.overdue(jump.receive_time_ns + 2 * REORDER_WAIT_NS)) == [
        (2, 2 * JUMP_IDS_MAX - 1)
    ]


def test_a_sequence_that_starts_again_gives_a_reset_and_is_followed_from_there() -> None:
    before = [trade(number) for number in range(1_000, 1_010)]
    after = [trade(number, time_ns=DAY + (2_000 + number) * MS) for number in range(1, 40) if number != 20]
    reset, hole = follow([*before, *after])
    assert (reset.gap_kind, reset.from_sequence, reset.to_sequence) == (GapKind.RESET, 1_010, None)
    assert (reset.from_time_ns, reset.to_time_ns) == (DAY + 1_009 * MS, DAY + 2_001 * MS)
    assert (hole.gap_kind, hole.from_sequence, hole.to_sequence) == (GapKind.SEQUENCE, 20, 20)
    assert RESET_MESSAGES == 3


def test_a_lower_id_that_points_back_at_the_last_is_a_reset_at_once() -> None:
    """15 → 3, pointing at 15, → 5, pointing at 3: the venue counts anew, and says so."""
    before = [delta(11, 12, 10), delta(13, 15, 12)]
    anew = [
        msgspec.structs.replace(delta(after + 1, last, after), event_time_ns=DAY + (20 + last) * MS)
        for after, last in ((15, 3), (3, 5), (6, 7))
    ]
    continuity = Continuity(Venue, declares_start=False, window=BY_COUNT)
    (reset,) = follow([*before, anew[0]], continuity)
    assert (reset.gap_kind, reset.from_sequence, reset.to_sequence) == (GapKind.RESET, 16, None)
    assert (reset.from_time_ns, reset.to_time_ns) == (DAY + 15 * MS, DAY + 23 * MS)
    assert spans(follow(anew[1:], continuity)) == [(6, 6)]


def test_a_snapshot_among_contiguous_updates_stands_for_none_of_them() -> None:
    """It has what 12 to 20 changed, and 20 itself never came."""
    continuity = Continuity(Venue, declares_start=False, window=BY_COUNT)
    whole = [update(10, action=BookAction.SNAPSHOT), update(11)]
    assert follow(whole, continuity) == []
    (missing, unsent) = follow([update(13), update(20, action=BookAction.SNAPSHOT), update(21)], continuity)
    assert spans([missing, unsent]) == [(12, 12), (14, 20)]
    assert {missing.gap_state, unsent.gap_state} == {GapState.UNREPAIRABLE}


def test_a_snapshot_of_a_lower_id_and_a_later_time_is_a_reset_at_once() -> None:
    continuity = Continuity(Venue, declares_start=False, window=BY_COUNT)
    follow([update(177_400_506, 1), update(177_400_507, 2)], continuity)
    doubles = [update(177_400_506, time, BookAction.SNAPSHOT) for time in (1, 2)]
    assert follow(doubles, continuity) == []
    (reset,) = follow([update(1, 3, BookAction.SNAPSHOT), update(2, 4), update(3, 5)], continuity)
    assert (reset.gap_kind, reset.from_sequence, reset.to_sequence) == (GapKind.RESET, 177_400_508, None)
    assert (reset.from_time_ns, reset.to_time_ns) == (DAY + 2 * MS, DAY + 3 * MS)


def test_a_sequence_that_starts_again_while_a_break_waits_gives_both_gaps() -> None:
    before = [trade(number) for number in (1_000, 1_001, 1_005)]
    after = [trade(number, time_ns=DAY + (2_000 + number) * MS) for number in range(1, 6)]
    hole, reset = follow([*before, *after])
    assert (hole.gap_kind, hole.from_sequence, hole.to_sequence) == (GapKind.SEQUENCE, 1_002, 1_004)
    assert (reset.gap_kind, reset.from_sequence, reset.to_sequence) == (GapKind.RESET, 1_006, None)


# connections


@pytest.mark.parametrize("made", [trade, bar, lambda number: delta(number, number)])
def test_a_loss_is_declared_at_once_and_ids_prove_that_it_missed_nothing(
    made: Callable[[int], Record],
) -> None:
    continuity = Continuity(Venue, declares_start=False)
    for record in (made(1), made(2)):
        continuity.observe(record)
    now_ns = made(2).receive_time_ns + MS
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed 1006", now_ns)
    assert (opened.gap_kind, opened.reason) == (GapKind.DISCONNECT, "closed 1006")
    assert (opened.from_time_ns, opened.to_time_ns, opened.to_sequence) == (made(2).event_time_ns, 0, None)
    assert opened.from_sequence == (None if isinstance(made(2), Bar) else 3)
    assert continuity.lost(GapKind.DISCONNECT, "refused", now_ns) == []
    (closed,) = follow([made(3)], continuity)
    assert (closed.record_key, closed.key_time_ns) == (opened.record_key, opened.key_time_ns)
    assert (closed.gap_state, closed.reason) == (GapState.REPAIRED, "nothing was missing")
    assert (closed.to_time_ns, closed.detected_time_ns) == (made(3).event_time_ns, now_ns)
    assert follow([made(4)], continuity) == []


def test_a_hole_over_a_lost_connection_completes_the_gap_that_was_declared_with_the_loss() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(trade(1))
    (opened,) = continuity.lost(GapKind.OVERFLOW, "slow", DAY)
    first, second = follow([trade(5), trade(6), trade(8)], continuity)
    assert (first.record_key, first.gap_state) == (opened.record_key, GapState.OPEN)
    assert (first.from_time_ns, first.to_time_ns) == (DAY + MS, DAY + 5 * MS)
    assert (first.gap_kind, first.reason, spans([first])) == (GapKind.OVERFLOW, "slow", [(2, 4)])
    assert (second.gap_kind, second.reason, spans([second])) == (GapKind.SEQUENCE, "", [(7, 7)])


def test_a_channel_without_proof_opens_a_gap_when_the_connection_is_lost_and_closes_it_when_it_is_back() -> (
    None
):
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(quote(10))
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY + 50 * MS)
    (closed,) = follow([quote(90)], continuity)
    assert (opened.gap_state, opened.from_time_ns, opened.to_time_ns) == (
        GapState.UNREPAIRABLE,
        DAY + 10 * MS,
        0,
    )
    assert (closed.from_time_ns, closed.to_time_ns) == (DAY + 10 * MS, DAY + 90 * MS)
    assert spans([closed]) == [(11, 89)]
    assert (opened.record_key, opened.key_time_ns) == (closed.record_key, closed.key_time_ns)
    assert closed.receive_time_ns > opened.receive_time_ns
    assert continuity.observe(quote(95)) == ()


def test_a_sequence_that_starts_again_after_a_loss_completes_its_gap_as_a_reset() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(trade(1_000))
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY)
    (reset,) = follow(
        [trade(number, time_ns=DAY + (2_000 + number) * MS) for number in range(1, 5)], continuity
    )
    assert (reset.record_key, reset.gap_kind, reset.from_sequence, reset.to_sequence) == (
        opened.record_key,
        GapKind.RESET,
        1_001,
        None,
    )
    assert reset.to_time_ns == DAY + 2_001 * MS


def test_a_suspicion_opens_no_gap_where_ids_will_tell() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(trade(1))
    assert continuity.lost(GapKind.QUARANTINE, "undecodable", DAY) == []
    (gap,) = follow([trade(3), trade(4)], continuity)
    assert (gap.gap_kind, gap.reason, spans([gap])) == (GapKind.QUARANTINE, "undecodable", [(2, 2)])


@pytest.mark.parametrize(("channel", "made"), [("trade", trade), ("plain", plain), ("quote", quote)])
def test_a_loss_before_the_first_record_is_declared_since_the_subscription(
    channel: str, made: Callable[[int], Record]
) -> None:
    continuity = Continuity(Venue)
    continuity.expect([("BTC-USDT", "BTCUSDT")], [channel, "unknown"], DAY)
    continuity.expect([("BTC-USDT", "BTCUSDT")], [channel], DAY + MS)  # the next attempt to connect
    (opened,) = continuity.lost(GapKind.DISCONNECT, "refused", DAY + 2 * MS, {"BTCUSDT"})
    assert (opened.channel, opened.flags) == (channel, (NO_EVENT_BEFORE,))
    assert (opened.from_time_ns, opened.to_time_ns) == (DAY, 0)
    assert continuity.lost(GapKind.DISCONNECT, "refused", DAY + 3 * MS, {"BTCUSDT"}) == []
    again = Continuity(Venue)
    again.remember(opened)
    for follower in (continuity, again):
        start, closed = follow([made(7)], follower)
        assert start.gap_kind is GapKind.START
        assert (closed.record_key, closed.gap_kind) == (opened.record_key, GapKind.DISCONNECT)
        assert (closed.from_time_ns, closed.to_time_ns) == (DAY, DAY + 7 * MS)
        assert follower.observe(made(8)) == ()


def test_what_a_channel_silent_by_nature_lost_ends_when_it_is_subscribed_again() -> None:
    """Its next event may be days away, or never come; a loss before its first record is one too."""
    continuity = Continuity(Venue)
    continuity.expect([("BTC-USDT", "BTCUSDT")], ["silent", "trade"], DAY)
    opened = continuity.lost(GapKind.DISCONNECT, "closed", DAY + 2 * MS)
    assert [(gap.channel, gap.gap_state) for gap in opened] == [
        ("silent", GapState.UNREPAIRABLE),
        ("trade", GapState.OPEN),
    ]
    assert continuity.resumed(DAY + 5 * MS, {"ETHUSDT"}) == []
    (ended,) = continuity.resumed(DAY + 5 * MS, {"BTCUSDT"})
    assert (ended.record_key, ended.from_time_ns, ended.to_time_ns) == (
        opened[0].record_key,
        DAY,
        DAY + 5 * MS,
    )
    assert continuity.resumed(DAY + 6 * MS) == []
    start, *others = continuity.observe(silent(9))
    assert (start.gap_kind, others) == (GapKind.START, [])
    (again,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY + 20 * MS, channels={"silent"})
    (over,) = continuity.resumed(DAY + 25 * MS)
    assert (over.record_key, over.from_time_ns, over.to_time_ns) == (
        again.record_key,
        DAY + 9 * MS,
        DAY + 25 * MS,
    )
    assert continuity.observe(silent(30)) == ()


def test_a_gap_begins_no_later_than_its_loss_though_the_venue_s_clock_was_ahead() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(quote(5_000))
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY + 3_000 * MS)
    assert opened.from_time_ns == DAY + 3_000 * MS


@pytest.mark.parametrize("made", [quote, plain])
def test_what_was_sent_late_is_no_end_of_a_loss_where_no_ids_prove_it(made: Callable[[int], Record]) -> None:
    """11 was held back and is the first that comes again; 12 to 89 came in between and nobody heard them."""
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(made(10))
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY + 10 * MS)
    back = made(90)
    late, later = (
        msgspec.structs.replace(made(number), receive_time_ns=back.receive_time_ns) for number in (11, 12)
    )
    assert [gap for record in (late, back, later) for gap in continuity.observe(record)] == []
    assert continuity.overdue(late.receive_time_ns + LATE_NS - 1) == []
    (closed,) = continuity.overdue(late.receive_time_ns + LATE_NS)
    assert (closed.record_key, closed.to_time_ns) == (opened.record_key, DAY + 90 * MS)
    assert [*continuity.observe(made(91)), *continuity.decide()] == []


def test_the_next_record_ends_a_loss_where_it_comes_so_much_later() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(quote(10))
    continuity.lost(GapKind.DISCONNECT, "closed", DAY + 10 * MS)
    assert continuity.observe(quote(20)) == ()
    (closed,) = continuity.observe(quote(20 + LATE_NS // MS))
    assert spans([closed]) == [(11, 20 + LATE_NS // MS - 1)]


def test_a_loss_while_another_ends_goes_on_where_that_one_stood() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(quote(10))
    continuity.lost(GapKind.DISCONNECT, "closed", DAY + 10 * MS)
    continuity.observe(quote(20))
    first, second = continuity.lost(GapKind.DISCONNECT, "closed", DAY + 30 * MS)
    assert (spans([first]), first.to_time_ns) == ([(11, 19)], second.from_time_ns)
    assert spans(follow([quote(40)], continuity)) == [(21, 39)]


def test_a_second_loss_before_the_first_record_keeps_the_one_gap() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(plain(1))
    opened = continuity.lost(GapKind.DISCONNECT, "closed", DAY)
    assert continuity.lost(GapKind.DISCONNECT, "refused", DAY + MS) == []
    (closed,) = follow([plain(2)], continuity)
    assert [gap.gap_state for gap in (*opened, closed)] == [
        GapState.OPEN,
        GapState.OPEN,
    ]  # there is a history


def test_only_the_symbols_of_the_lost_connection_are_concerned() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(quote(1))
    assert continuity.lost(GapKind.DISCONNECT, "closed", DAY, {"ETHUSDT"}) == []
    assert len(continuity.lost(GapKind.DISCONNECT, "closed", DAY, {"BTCUSDT"})) == 1


@given(st.sets(st.integers(1, 98), max_size=20), st.sets(st.integers(1, 98), max_size=6))
def test_cutting_the_stream_into_connections_declares_the_same_ids(gone: set[int], cuts: set[int]) -> None:
    continuity = Continuity(Venue, declares_start=False)
    gaps: list[Gap] = []
    for number in range(100):
        if number in cuts:
            gaps += continuity.lost(GapKind.DISCONNECT, "closed", DAY)
        if number not in gone:
            gaps += continuity.observe(trade(number))
    declared = last_states([*gaps, *continuity.decide()])
    assert missing_ids(declared) == gone
    assert all(gap.to_time_ns for gap in declared)


# the start, and starting again


def test_the_first_record_of_a_channel_says_that_nothing_before_it_is_covered() -> None:
    (gap,) = Continuity(Venue).observe(trade(7))
    assert (gap.gap_kind, gap.gap_state, gap.to_sequence, gap.to_time_ns) == (
        GapKind.START,
        GapState.UNREPAIRABLE,
        6,
        DAY + 7 * MS,
    )


@given(st.sets(st.integers(1, 98), max_size=30), st.integers(1, 99))
def test_a_killed_process_declares_the_same_gaps_after_reading_the_tail(
    gone: set[int], killed_at: int
) -> None:
    published: list[Record] = []
    first = Continuity(Venue, declares_start=False, window=BY_COUNT)
    for number in range(killed_at):
        if number not in gone:
            published += [*first.observe(trade(number)), trade(number)]
    second = Continuity(Venue)
    gaps = [item for item in published if isinstance(item, Gap)]
    for record in published:
        second.remember(record)
    gaps += second.lost(GapKind.DISCONNECT, "restarted", DAY)
    for number in range(killed_at, 100):
        if number not in gone:
            gaps += second.observe(trade(number))
    gaps += second.decide()
    declared = [gap for gap in gaps if gap.gap_kind is not GapKind.START]
    assert missing_ids(last_states(declared)) == gone


def test_an_open_gap_is_closed_by_the_process_that_found_it_in_the_tail() -> None:
    first = Continuity(Venue, declares_start=False)
    first.observe(quote(1))
    (opened,) = first.lost(GapKind.DISCONNECT, "closed", DAY)
    second = Continuity(Venue)
    second.remember(quote(1))
    second.remember(opened)
    assert second.lost(GapKind.DISCONNECT, "restarted", DAY) == []
    (closed,) = follow([quote(5)], second)
    assert (closed.record_key, closed.from_time_ns, closed.to_time_ns) == (
        opened.record_key,
        opened.from_time_ns,
        DAY + 5 * MS,
    )


def test_a_later_state_of_an_old_gap_in_the_tail_says_nothing_of_where_the_channel_stands() -> None:
    (old,) = follow([trade(1), trade(5)])
    repaired = settled(old, GapState.REPAIRED, DAY)
    continuity = Continuity(Venue)
    for record in (repaired, trade(1_000), trade(1_001), repaired, trade(1_002)):
        continuity.remember(record)
    assert spans(continuity.lost(GapKind.DISCONNECT, "restarted", DAY)) == [(1_003, None)]
    closed, hole = follow([trade(1_003), trade(1_005)], continuity)
    assert (closed.gap_state, spans([hole])) == (GapState.REPAIRED, [(1_004, 1_004)])


@pytest.mark.parametrize("made", [trade, quote, plain, bar])
def test_an_open_gap_alone_in_the_tail_is_closed_by_the_next_record(made: Callable[[int], Record]) -> None:
    first = Continuity(Venue, declares_start=False)
    first.observe(made(1))
    (opened,) = first.lost(GapKind.DISCONNECT, "closed", DAY)
    second = Continuity(Venue)
    second.remember(opened)
    assert second.lost(GapKind.DISCONNECT, "the worker was not running", DAY) == []
    (closed,) = follow([made(5)], second)
    assert (closed.gap_kind, closed.record_key) == (GapKind.DISCONNECT, opened.record_key)
    assert (closed.from_time_ns, closed.to_time_ns) == (opened.from_time_ns, made(5).event_time_ns)


def test_an_open_gap_of_a_time_when_the_channel_had_no_ids_counts_none_missing() -> None:
    first = Continuity(Venue, declares_start=False)
    first.observe(plain(1))
    (opened,) = first.lost(GapKind.DISCONNECT, "closed", DAY + 2 * MS)
    opened = msgspec.structs.replace(opened, channel="trade", record_key="trade/1")
    second = Continuity(Venue, declares_start=False)
    second.remember(opened)
    (closed,) = second.observe(trade(4_000_000_000, time_ns=DAY + 5 * MS))
    assert (closed.record_key, closed.to_time_ns) == ("trade/1", DAY + 5 * MS)
    assert (closed.gap_state, spans([closed]), second.missing(closed)) == (GapState.OPEN, [(None, None)], ())


def test_a_later_state_of_an_old_gap_does_not_close_the_open_one() -> None:
    first = Continuity(Venue, declares_start=False)
    first.observe(quote(1))
    first.lost(GapKind.DISCONNECT, "closed", DAY + 2 * MS)
    (old,) = follow([quote(5)], first)
    (opened,) = first.lost(GapKind.DISCONNECT, "closed", DAY + 6 * MS)
    second = Continuity(Venue)
    for record in (quote(5), opened, settled(old, GapState.UNREPAIRABLE, DAY)):
        second.remember(record)
    (closed,) = follow([quote(9)], second)
    assert closed.record_key == opened.record_key


# quarantine


def test_a_quarantined_record_leaves_a_gap_of_its_own_id_and_no_other() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(trade(1))
    bad = trade(2, time_ns=2**62)
    (gap,) = continuity.quarantined(bad)
    assert (gap.gap_kind, gap.from_sequence, gap.to_sequence, gap.from_time_ns) == (
        GapKind.QUARANTINE,
        2,
        2,
        DAY + MS,
    )
    assert follow([trade(3), trade(4)], continuity) == []


def test_a_quarantined_double_leaves_no_gap() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.observe(trade(1))
    continuity.observe(trade(2))
    assert continuity.quarantined(trade(2)) == ()


def test_a_later_state_of_a_gap_has_its_identity_and_wins() -> None:
    (gap,) = follow([trade(1), trade(3)])
    repaired = settled(gap, GapState.REPAIRED, now_ns=0)
    assert (repaired.record_key, repaired.key_time_ns) == (gap.record_key, gap.key_time_ns)
    assert repaired.gap_state is GapState.REPAIRED
    assert repaired.receive_time_ns > gap.receive_time_ns
