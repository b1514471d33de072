from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.adapter.contract import SequenceRule
from etl.model.records import Book, BookAction, Gap, GapKind, GapState, Quote, Record, Source
from etl.sequencing.ahead import REORDER_MESSAGES
from etl.sequencing.book import JoinedBook, OrderBook, rebuild
from etl.sequencing.join import BOOK_HOLE, HELD_MAX, Join

ABSOLUTE, RELATIVE, SNAPSHOT = BookAction.ABSOLUTE, BookAction.RELATIVE, BookAction.SNAPSHOT
Levels = Sequence[tuple[str, str]]


def message(
    action: BookAction,
    sequence: int | None,
    first: int | None = None,
    previous: int | None = None,
    bids: Levels = (),
    asks: Levels = (),
    symbol: str = "BTC-USDT",
    channel: str = "depth@100ms",
    depth: int = 0,
) -> Book:
    return Book(
        "binance", symbol, symbol, channel, 1, 1, Source.STREAM, "c", 1, 0, f"{sequence}", 1, 1,
        sequence, first, previous,
        book_action=action,
        bid_prices=tuple(p for p, _ in bids), bid_sizes=tuple(s for _, s in bids),
        ask_prices=tuple(p for p, _ in asks), ask_sizes=tuple(s for _, s in asks),
        depth=depth,
    )  # fmt: skip


def spot(first: int, last: int) -> Book:
    return message(ABSOLUTE, last, first)


def futures(first: int, last: int, previous: int) -> Book:
    return message(ABSOLUTE, last, first, previous)


def snapshot(sequence: int | None) -> Book:
    return message(SNAPSHOT, sequence, channel="depth")


def after(sequence: int) -> list[Book]:
    """The changes beyond a hole up to ``sequence`` that are enough to call it one."""
    return [spot(sequence + n, sequence + n) for n in range(1, REORDER_MESSAGES + 1)]


def applied(join: Join, *records: Book) -> list[list[int | None]]:
    return [[record.sequence for record in join.take(given)] for given in records]


def test_spot_changes_join_a_snapshot_they_span() -> None:
    join = Join()
    assert applied(join, spot(95, 100), spot(101, 105), spot(106, 110)) == [[], [], []]
    assert applied(join, snapshot(103)) == [[103, 105, 110]]
    assert applied(join, spot(111, 112)) == [[112]]
    assert join.is_joined


def test_a_change_up_to_the_snapshot_is_dropped_and_the_next_must_begin_right_behind_it() -> None:
    assert applied(Join(), spot(95, 103), snapshot(103), spot(104, 104)) == [[], [103], [104]]
    join = Join()
    assert applied(join, snapshot(103), spot(105, 106), *after(106)) == [[103], [], *[[]] * REORDER_MESSAGES]
    assert (join.is_joined, join.break_reason) == (False, "105..106 does not continue 103")


def test_a_lower_id_that_points_back_at_the_books_own_goes_on_from_there() -> None:
    join = Join()
    assert applied(join, snapshot(10), futures(11, 15, 10)) == [[10], [15]]
    assert applied(join, futures(16, 3, 15), futures(4, 5, 3), futures(13, 15, 12)) == [[3], [5], []]
    assert (join.is_joined, join.sequence, join.breaks) == (True, 5, 0)


def test_futures_changes_join_by_their_back_pointer() -> None:
    join = Join()
    assert applied(join, futures(90, 99, 89), futures(100, 105, 99), futures(110, 120, 105)) == [[], [], []]
    assert applied(join, snapshot(103)) == [[103, 105, 120]]
    assert applied(join, futures(130, 140, 120)) == [[140]]
    assert applied(join, futures(150, 160, 145)) == [[]]
    numbers = range(160, 160 + REORDER_MESSAGES)
    assert applied(join, *[futures(n + 1, n + 1, n) for n in numbers]) == [[]] * REORDER_MESSAGES
    assert (join.is_joined, join.break_reason) == (False, "145..160 does not continue 140")


def test_a_snapshot_older_than_what_is_held_is_refused_and_a_newer_one_joins() -> None:
    join = Join()
    applied(join, spot(200, 205), spot(206, 210))
    assert applied(join, snapshot(150)) == [[]]
    assert (join.is_joined, join.break_reason) == (False, "the snapshot at 150 and 200..205 do not meet")
    assert applied(join, snapshot(207)) == [[207, 210]]


def test_a_hole_waits_for_a_snapshot_and_goes_on_from_it() -> None:
    join = Join()
    assert applied(join, snapshot(10), spot(11, 12), spot(15, 16), spot(17, 18)) == [[10], [12], [], []]
    assert join.is_joined
    assert applied(join, *after(18)[:-1]) == [[]] * (REORDER_MESSAGES - 1)
    assert not join.is_joined
    assert applied(join, snapshot(16), spot(26, 26)) == [[16, *range(18, 26)], [26]]
    assert join.breaks == 1


def test_a_snapshot_that_comes_before_the_hole_is_one_costs_no_break() -> None:
    join = Join()
    assert applied(join, snapshot(10), spot(13, 14), snapshot(12)) == [[10], [], [12, 14]]
    assert (join.is_joined, join.breaks) == (True, 0)


@given(st.integers(0, 2**32), st.integers(2, REORDER_MESSAGES))
def test_changes_out_of_order_within_the_window_are_put_right(seed: int, width: int) -> None:
    changes = [spot(number, number) for number in range(11, 111)]
    generator = random.Random(seed)
    for start in range(0, 100, width):
        part = changes[start : start + width]
        generator.shuffle(part)
        changes[start : start + width] = part
    join = Join()
    released = [number for numbers in applied(join, snapshot(10), *changes) for number in numbers]
    assert released == list(range(10, 111))
    assert (join.is_joined, join.breaks, join.is_suspect) == (True, 0, False)


def timed(sequence: int, ms: int) -> Book:
    return msgspec.structs.replace(spot(sequence, sequence), event_time_ns=ms)


@pytest.mark.parametrize("joined", [True, False])
def test_a_sequence_that_starts_again_waits_for_a_snapshot_and_joins_it(joined: bool) -> None:
    join = Join()
    before = [snapshot(1_000)] if joined else []
    applied(join, *before, *[timed(1_000 + n, n) for n in range(1, 5)])
    assert applied(join, *[timed(n, 100 + n) for n in range(1, 6)]) == [[]] * 5
    assert not join.is_joined
    assert applied(join, snapshot(3), timed(6, 106)) == [[3, 4, 5], [6]]


@pytest.mark.parametrize("changes", [0, 1])
def test_a_snapshot_of_a_lower_id_and_a_later_time_begins_the_book_anew(changes: int) -> None:
    def whole(sequence: int, ms: int) -> Book:
        return msgspec.structs.replace(snapshot(sequence), event_time_ns=ms)

    join = Join()
    applied(join, whole(1_000, 1), *[timed(1_000 + n, 1 + n) for n in range(1, 1 + changes)])
    assert applied(join, whole(990, 1), whole(1, 7), timed(2, 8)) == [[], [1], [2]]
    assert (join.is_joined, join.sequence, join.breaks) == (True, 2, 0)


def test_latecomers_and_doubles_are_no_new_sequence() -> None:
    join = Join()
    applied(join, snapshot(10), *[timed(number, number) for number in range(11, 31)])
    assert applied(join, *[timed(number, number) for number in range(15, 25)], timed(31, 31))[-1] == [31]


def test_one_change_with_a_wrong_id_does_not_hold_the_book_up() -> None:
    join = Join()
    applied(join, snapshot(10), spot(900_000, 900_000))
    numbers = range(11, 11 + 2 * REORDER_MESSAGES)
    assert applied(join, *[spot(number, number) for number in numbers]) == [[number] for number in numbers]
    assert applied(join, snapshot(numbers[-1] + 5)) == [[numbers[-1] + 5]]


def test_doubles_change_nothing() -> None:
    join = Join()
    assert applied(join, snapshot(10), spot(11, 12), spot(11, 12), snapshot(10), spot(13, 13)) == [
        [10], [12], [], [], [13],
    ]  # fmt: skip


def test_a_venue_without_sequences_is_joined_by_any_snapshot_from_there_on() -> None:
    join = Join()
    change = message(ABSOLUTE, None)
    assert applied(join, change, snapshot(None), change) == [[], [None], [None]]


def test_what_is_held_is_bounded_and_then_only_a_newer_snapshot_joins() -> None:
    join = Join()
    for number in range(1, HELD_MAX + 100):
        join.take(spot(number, number))
    assert applied(join, snapshot(50)) == [[]]
    (released,) = applied(join, snapshot(HELD_MAX))
    assert released == list(range(HELD_MAX, HELD_MAX + 100))


def test_a_small_hole_is_tolerated_where_allowed_and_suspect_until_the_next_snapshot() -> None:
    join = Join(hole_messages_max=3)
    applied(join, snapshot(10), spot(11, 20), spot(21, 25), spot(26, 27), spot(28, 28))
    assert not join.is_suspect
    assert applied(join, spot(37, 37), *after(37))[-1] == list(range(37, 38 + REORDER_MESSAGES))
    assert (join.is_joined, join.is_suspect, join.holes) == (
        True,
        True,
        1,
    )  # 8 ids: 5 + 2 + 1 of the last three
    assert applied(join, snapshot(50)) == [[50]]
    assert not join.is_suspect
    applied(join, spot(100, 100), *after(100))
    assert (join.is_joined, join.holes) == (False, 1)


def test_without_tolerance_every_hole_breaks() -> None:
    join = Join()
    applied(join, snapshot(10), spot(11, 20), spot(22, 22), *after(22))
    assert (join.is_joined, join.holes) == (False, 0)


def test_a_flagged_hole_is_tolerated_by_whoever_reads_it_back() -> None:
    flagged = msgspec.structs.replace(spot(14, 15), flags=(BOOK_HOLE,))
    steps = [step.record.sequence for step in rebuild([snapshot(10), flagged, spot(16, 17), spot(19, 20)])]
    assert steps == [10, 15, 17]


def test_levels_keep_the_venue_s_text_and_compare_as_numbers() -> None:
    levels = OrderBook()
    levels.apply(
        message(SNAPSHOT, 1, bids=[("9.90", "1.0"), ("10.0", "2")], asks=[("11", "3"), ("10.50", "4")])
    )
    assert levels.bids() == [("10.0", "2"), ("9.90", "1.0")]
    assert levels.asks() == [("10.50", "4"), ("11", "3")]
    levels.apply(message(ABSOLUTE, 2, bids=[("10.00", "5"), ("9.9", "0.00000000")], asks=[("12", "1")]))
    assert levels.bids() == [("10.00", "5")]
    assert levels.asks(levels_max=2) == [("10.50", "4"), ("11", "3")]


def test_relative_sizes_add_up_exactly_and_zero_removes() -> None:
    levels = OrderBook()
    levels.apply(message(SNAPSHOT, 1, bids=[("0.45", "100.1"), ("0.44", "7")]))
    levels.apply(message(RELATIVE, 2, bids=[("0.45", "-0.1"), ("0.44", "-7"), ("0.43", "1")]))
    assert levels.bids() == [("0.45", "100.0"), ("0.43", "1")]


def test_what_is_added_to_a_level_keeps_every_digit() -> None:
    levels = OrderBook()
    levels.apply(message(SNAPSHOT, 1, bids=[("0.45", "61837.0000000000000000000000001")]))
    levels.apply(message(RELATIVE, 2, bids=[("0.45", "0.0000000000000000000000001")]))
    assert levels.bids() == [("0.45", "61837.0000000000000000000000002")]


def test_levels_beyond_the_depth_of_the_contract_are_cut_off() -> None:
    levels = OrderBook()
    levels.apply(message(SNAPSHOT, 1, bids=[("1", "1"), ("2", "1")], asks=[("3", "1"), ("4", "1")], depth=2))
    levels.apply(message(ABSOLUTE, 2, bids=[("2.5", "1")], asks=[("2.9", "1")], depth=2))
    assert levels.bids() == [("2.5", "1"), ("2", "1")]
    assert levels.asks() == [("2.9", "1"), ("3", "1")]


def test_a_crossed_book_is_not_given_out_and_waits_for_a_snapshot() -> None:
    whole = JoinedBook()
    assert list(whole.take(message(SNAPSHOT, 1, bids=[("10", "1")], asks=[("11", "1")])))
    assert list(whole.take(message(ABSOLUTE, 2, 2, bids=[("11", "1")]))) == []
    assert (whole.join.is_joined, whole.join.break_reason) == (False, "crossed at 2")
    assert list(whole.take(message(SNAPSHOT, 3, bids=[("10", "1")], asks=[("11", "1")])))


def test_a_break_costs_only_its_own_symbol() -> None:
    records = [
        message(SNAPSHOT, 1, symbol="A", bids=[("1", "1")]),
        message(SNAPSHOT, 1, symbol="B", bids=[("1", "1")]),
        message(ABSOLUTE, 9, 9, symbol="A", bids=[("2", "1")]),
        message(ABSOLUTE, 2, 2, symbol="B", bids=[("2", "1")]),
    ]
    steps = [(step.symbol, step.record.sequence) for step in rebuild(records)]
    assert steps == [("A", 1), ("B", 1), ("B", 2)]


def gap(**values: object) -> Gap:
    base = Gap("binance", "BTC-USDT", "BTCUSDT", "depth@100ms", 1, 1, Source.STREAM, "c", 1, 0, "g", 1, 1)
    return msgspec.structs.replace(base, **{"gap_kind": GapKind.DISCONNECT, **values})


def test_a_gap_that_ids_do_not_show_resets_the_book_and_one_that_they_show_does_not() -> None:
    before = [message(SNAPSHOT, None), message(ABSOLUTE, None)]
    counted = [message(SNAPSHOT, 1), message(ABSOLUTE, 2, 2)]
    quote = Quote("binance", "BTC-USDT", "BTCUSDT", "bookTicker", 1, 1, Source.STREAM, "c", 1, 0, "q", 1, 1)
    assert len(list(rebuild([*before, quote, gap(), message(ABSOLUTE, None)]))) == 2
    assert len(list(rebuild([*before, gap(gap_kind=GapKind.START), message(ABSOLUTE, None)]))) == 3
    late = gap(from_sequence=-5, to_sequence=0)
    assert len(list(rebuild([*counted, late, message(ABSOLUTE, 3, 3)]))) == 3
    assert len(list(rebuild([*before, gap(channel="trade"), message(ABSOLUTE, None)]))) == 3


def test_what_becomes_of_a_hole_that_was_told_before_the_snapshot_breaks_no_book() -> None:
    lost = gap(detected_time_ns=5, from_time_ns=4, gap_state=GapState.UNREPAIRABLE)
    snapshot = msgspec.structs.replace(message(SNAPSHOT, None), receive_time_ns=7)
    ended = msgspec.structs.replace(lost, receive_time_ns=9, to_time_ns=9)
    later = gap(detected_time_ns=8, from_time_ns=4)
    records = [message(SNAPSHOT, None), lost, snapshot, ended, message(ABSOLUTE, None)]
    assert [step.record.book_action for step in rebuild(records)] == [SNAPSHOT, SNAPSHOT, ABSOLUTE]
    assert len(list(rebuild([*records, later, message(ABSOLUTE, None)]))) == 3


class TruthBook:
    """A book kept in the simplest way there is, in integers, that tells what a venue would send."""

    def __init__(self, seed: int, rule: SequenceRule) -> None:
        self.random = random.Random(seed)
        self.rule = rule
        self.sides: tuple[dict[int, int], dict[int, int]] = ({90: 1}, {110: 1})
        self.update = 100

    def change(self) -> Book:
        first = self.update + 1
        changes: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for _ in range(self.random.randint(1, 4)):
            side = self.random.randint(0, 1)
            price = self.random.randint(80, 99) if side == 0 else self.random.randint(101, 120)
            changes[side][price] = self.sides[side][price] = self.random.choice([0, 1, 2, 3])
            if not self.sides[side][price]:
                del self.sides[side][price]
            self.update += 1
        bids, asks = ([(f"{p}.0", f"{s}.00") for p, s in c.items()] for c in changes)
        if self.rule is SequenceRule.NONE:
            return message(ABSOLUTE, None, bids=bids, asks=asks)
        previous = first - 1 if self.rule is SequenceRule.BACK_POINTER else None
        return message(ABSOLUTE, self.update, first, previous, bids=bids, asks=asks)

    def snapshot(self) -> Book:
        bids, asks = self.levels()
        update = None if self.rule is SequenceRule.NONE else self.update
        return message(SNAPSHOT, update, bids=bids, asks=asks, channel="depth")

    def levels(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        bids, asks = self.sides
        return (
            [(f"{p}.0", f"{bids[p]}.00") for p in sorted(bids, reverse=True)],
            [(f"{p}.0", f"{asks[p]}.00") for p in sorted(asks)],
        )


@pytest.mark.parametrize("rule", [SequenceRule.RANGE, SequenceRule.BACK_POINTER])
@given(
    st.integers(0, 10_000), st.sets(st.integers(0, 59), max_size=8), st.sets(st.integers(0, 59), max_size=8)
)
def test_the_rebuilt_book_equals_the_venue_s_at_every_step(
    rule: SequenceRule, seed: int, dropped: set[int], doubled: set[int]
) -> None:
    """Messages are dropped and doubled, and snapshots come late, after the changes that follow them."""
    truth = TruthBook(seed, rule)
    levels_at = {truth.update: truth.levels()}
    sent: list[Record] = []
    late: Book | None = None
    for number in range(60):
        if number % 10 == 3:
            late = truth.snapshot()
        change = truth.change()
        levels_at[truth.update] = truth.levels()
        if number not in dropped:
            sent += [change] * (2 if number in doubled else 1)
        if number % 10 == 5 and late:
            sent.append(late)
    steps = 0
    for step in rebuild(sent):
        assert step.record.sequence in levels_at
        steps += 1
        assert (step.levels.bids(), step.levels.asks()) == levels_at[step.record.sequence]
    if not dropped & set(range(53, 56)):
        assert steps > 0


@given(st.integers(0, 10_000), st.sets(st.integers(0, 59), max_size=8))
def test_a_book_without_ids_is_right_at_every_step_where_gaps_tell_what_was_lost(
    seed: int, dropped: set[int]
) -> None:
    truth = TruthBook(seed, SequenceRule.NONE)
    sent: list[Record] = []
    expected = []
    is_whole = False
    for number in range(60):
        if number % 10 == 3:
            sent.append(truth.snapshot())
            expected.append(truth.levels())
            is_whole = True
        change = truth.change()
        sent.append(gap() if number in dropped else change)
        is_whole = is_whole and number not in dropped
        expected += [truth.levels()] if is_whole else []
    assert [(step.levels.bids(), step.levels.asks()) for step in rebuild(sent)] == expected
