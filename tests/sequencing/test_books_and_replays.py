"""What continuity makes of books whose checksum does not hold, and of records that a venue repeats on subscribing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from etl.adapter.contract import Channel, Exchange, SequenceRule
from etl.model.codes import REPLAYED
from etl.model.records import Book, BookAction, Gap, GapKind, GapState, Kind, Record, Source, Status, Trade
from etl.model.times import NS_PER_MS
from etl.sequencing.ahead import REORDER_MESSAGES
from etl.sequencing.continuity import Continuity

DAY_NS = 1_723_161_600_000_000_000
SYMBOL, VENUE_SYMBOL = "BTC-USDT", "BTCUSDT"


class Venue(Exchange):
    name = "venue"
    channels = (
        Channel("trade", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0),
        Channel("plain", Kind.TRADE, SequenceRule.NONE, Kind.TRADE, 60.0),
        Channel("books", Kind.BOOK, SequenceRule.BACK_POINTER, None, 60.0),
        Channel("levels", Kind.BOOK, SequenceRule.NONE, None, 60.0),
        Channel("depth@100ms", Kind.BOOK, SequenceRule.BACK_POINTER, None, 60.0, family="depth"),
        Channel("depth", Kind.BOOK, SequenceRule.BACK_POINTER, None, 60.0, family="depth"),
        Channel("business", Kind.TRADE, SequenceRule.NONE, None, 60.0, socket="business"),
        Channel("newest", Kind.TRADE, SequenceRule.NONE, None, 60.0, replayed_max=30),
        Channel("states", Kind.STATUS, SequenceRule.NONE, market_wide=True),
    )


def head(channel: str, number: int, symbol: str = SYMBOL) -> dict[str, object]:
    time_ns = DAY_NS + number * NS_PER_MS
    return {
        "exchange": "venue",
        "symbol": symbol,
        "venue_symbol": symbol.replace("-", ""),
        "channel": channel,
        "event_time_ns": time_ns,
        "receive_time_ns": time_ns + NS_PER_MS,
        "source": Source.STREAM,
        "connection_id": "c",
        "frame_sequence": number,
        "frame_index": 0,
        "record_key": f"{channel}/{number}",
        "key_time_ns": time_ns,
        "parser_version": 1,
    }


def change(number: int, channel: str = "books", symbol: str = SYMBOL) -> Book:
    ids = {} if channel == "levels" else {"sequence": number, "previous_sequence": number - 1}
    return Book(**head(channel, number, symbol), **ids, book_action=BookAction.ABSOLUTE)  # type: ignore[arg-type]


def snapshot(number: int, channel: str = "books", symbol: str = SYMBOL) -> Book:
    sequence = None if channel == "levels" else number
    return Book(**head(channel, number, symbol), sequence=sequence, book_action=BookAction.SNAPSHOT)  # type: ignore[arg-type]


def trade(number: int, *flags: str) -> Trade:
    return Trade(**head("trade", number), sequence=number, flags=flags)  # type: ignore[arg-type]


def plain(number: int, *flags: str) -> Trade:
    return Trade(**head("plain", number), flags=flags)  # type: ignore[arg-type]


def state(number: int, symbol: str) -> Status:
    return Status(**head("states", number, symbol))  # type: ignore[arg-type]


def newest(number: int, *flags: str) -> Trade:
    """Of a channel whose replay leaves nothing out."""
    return Trade(**head("newest", number), flags=flags)  # type: ignore[arg-type]


def broken(continuity: Continuity, channel: str, number: int) -> list[Gap]:
    now_ns = DAY_NS + number * NS_PER_MS + 2 * NS_PER_MS
    return [*continuity.lost(GapKind.CHECKSUM, "the sum differs", now_ns, {VENUE_SYMBOL}, {channel})]


def follow(continuity: Continuity, *records: Record) -> list[Gap]:
    return [gap for record in records for gap in continuity.observe(record)]


# checksums


@pytest.mark.parametrize("channel", ["books", "levels"])
def test_a_broken_book_has_a_gap_that_only_its_next_snapshot_ends(channel: str) -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, change(1, channel), change(2, channel))
    (opened,) = broken(continuity, channel, 2)
    assert (opened.gap_kind, opened.gap_state, opened.reason) == (
        GapKind.CHECKSUM,
        GapState.UNREPAIRABLE,
        "the sum differs",
    )
    assert (opened.from_time_ns, opened.to_time_ns) == (DAY_NS + 2 * NS_PER_MS, 0)
    assert (opened.from_sequence, opened.to_sequence) == (None, None)
    assert follow(continuity, change(3, channel), change(4, channel)) == []
    (closed,) = follow(continuity, snapshot(5, channel))
    assert (closed.record_key, closed.gap_state) == (opened.record_key, GapState.UNREPAIRABLE)
    assert closed.to_time_ns == DAY_NS + 5 * NS_PER_MS
    assert follow(continuity, snapshot(6, channel)) == []


def test_a_broken_book_concerns_no_other_symbol_and_no_other_channel() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, change(1), change(1, symbol="ETH-USDT"), change(1, "levels"), trade(1))
    (opened,) = broken(continuity, "books", 1)
    assert (opened.symbol, opened.channel) == (SYMBOL, "books")
    others = snapshot(2, symbol="ETH-USDT"), snapshot(2, "levels"), change(2, symbol="ETH-USDT"), trade(2)
    assert follow(continuity, *others) == []


def test_a_book_that_breaks_again_before_its_snapshot_keeps_the_one_gap() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, change(1))
    assert len(broken(continuity, "books", 1)) == 1
    follow(continuity, change(2))
    assert broken(continuity, "books", 2) == []


def test_a_snapshot_by_request_under_another_name_ends_the_gap_of_its_family() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, change(1, "depth@100ms"))
    (opened,) = broken(continuity, "depth@100ms", 1)
    (closed,) = follow(continuity, snapshot(3, "depth"))
    assert (closed.record_key, closed.to_time_ns) == (opened.record_key, DAY_NS + 3 * NS_PER_MS)


def test_changes_that_a_resubscription_leaves_out_are_declared_by_their_ids_beside_it() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, change(1))
    broken(continuity, "books", 1)
    (closed,) = follow(continuity, snapshot(7), change(8), change(9))
    assert closed.gap_kind is GapKind.CHECKSUM
    (hole,) = continuity.decide()
    assert (hole.gap_kind, hole.from_sequence, hole.to_sequence) == (GapKind.SEQUENCE, 2, 7)


def test_a_broken_book_is_still_broken_after_a_restart() -> None:
    before = Continuity(Venue, declares_start=False)
    follow(before, change(1))
    (opened,) = broken(before, "books", 1)
    after = Continuity(Venue, declares_start=False)
    for record in (opened, change(2)):
        after.remember(record)
    (closed,) = follow(after, snapshot(4))
    assert closed.record_key == opened.record_key
    once_more = Continuity(Venue, declares_start=False)
    for record in (opened, change(2), closed, snapshot(4)):
        once_more.remember(record)
    assert follow(once_more, snapshot(5)) == []


# a break of a connection's numbers


def test_a_break_of_a_connection_s_numbers_is_a_gap_of_all_it_carries_which_ids_may_disprove() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, trade(1), plain(1), change(1), change(1, symbol="ETH-USDT"))
    opened = continuity.lost(GapKind.SEQUENCE, "message 9 follows 7", DAY_NS + 2 * NS_PER_MS, {VENUE_SYMBOL})
    assert {(gap.channel, gap.gap_kind) for gap in opened} == {
        ("trade", GapKind.SEQUENCE),
        ("plain", GapKind.SEQUENCE),
        ("books", GapKind.SEQUENCE),
    }
    closed = [*follow(continuity, trade(2), plain(5), change(4), change(5)), *continuity.decide()]
    states = {gap.channel: (gap.gap_state, gap.from_sequence, gap.to_sequence) for gap in closed}
    assert states == {
        "trade": (GapState.REPAIRED, 2, 1),
        "plain": (GapState.OPEN, None, None),
        "books": (GapState.UNREPAIRABLE, 2, 3),
    }


def test_the_loss_of_one_socket_of_several_concerns_what_it_carries_seen_or_not() -> None:
    continuity = Continuity(Venue, declares_start=False)
    continuity.expect([(SYMBOL, VENUE_SYMBOL)], ["levels", "business"], DAY_NS)
    follow(continuity, trade(1))
    lost = continuity.lost(
        GapKind.DISCONNECT, "closed", DAY_NS + NS_PER_MS, {VENUE_SYMBOL}, socket="business"
    )
    assert [gap.channel for gap in lost] == ["business"]
    lost = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + NS_PER_MS, {VENUE_SYMBOL}, socket="")
    assert sorted(gap.channel for gap in lost) == ["levels", "trade"]


def test_two_losses_behind_records_of_one_millisecond_are_two_gaps() -> None:
    """The repair of the first says that nothing is missing: of the second it knows nothing."""
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, plain(1))
    (first,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 2 * NS_PER_MS)
    again = msgspec.structs.replace(plain(2), event_time_ns=first.from_time_ns)
    follow(continuity, again)
    completed, second = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 3 * NS_PER_MS)
    assert (completed.record_key, completed.to_time_ns) == (first.record_key, first.from_time_ns)
    assert (second.from_time_ns, second.to_time_ns) == (first.from_time_ns, 0)
    assert second.record_key != first.record_key


def test_a_market_wide_channel_loses_what_nobody_subscribed_to_by_name() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, trade(1), state(2, "ETH-USDT"), state(3, "SOL-USDT"))
    lost = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 9 * NS_PER_MS, {"LTCUSDT"})
    assert [(gap.symbol, gap.channel) for gap in lost] == [("ETH-USDT", "states"), ("SOL-USDT", "states")]
    resumed = continuity.resumed(DAY_NS + 20 * NS_PER_MS, {"LTCUSDT"})
    assert [(gap.symbol, gap.to_time_ns) for gap in resumed] == [
        ("ETH-USDT", DAY_NS + 20 * NS_PER_MS),
        ("SOL-USDT", DAY_NS + 20 * NS_PER_MS),
    ]


# books that are always whole


def test_a_channel_of_snapshots_alone_is_followed_and_its_loss_has_an_end() -> None:
    continuity = Continuity(Venue)
    continuity.expect([(SYMBOL, VENUE_SYMBOL)], ["levels"], DAY_NS)
    (start,) = follow(continuity, snapshot(1, "levels"))
    assert start.gap_kind is GapKind.START
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 2 * NS_PER_MS)
    assert follow(continuity, snapshot(9, "levels")) == []
    (closed,) = continuity.decide()
    assert (closed.record_key, closed.from_time_ns, closed.to_time_ns) == (
        opened.record_key,
        DAY_NS + NS_PER_MS,
        DAY_NS + 9 * NS_PER_MS,
    )


# replays


@pytest.mark.parametrize("made", [trade, plain])
def test_records_repeated_on_subscribing_begin_nothing(made: Callable[..., Trade]) -> None:
    continuity = Continuity(Venue)
    assert follow(continuity, *[made(number, REPLAYED) for number in (1, 5, 9)]) == []
    (start,) = follow(continuity, made(10), made(11))
    assert (start.gap_kind, start.to_time_ns) == (GapKind.START, DAY_NS + 10 * NS_PER_MS)


@pytest.mark.parametrize("made", [trade, plain])
def test_a_replay_of_what_is_there_changes_nothing(made: Callable[..., Trade]) -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, *map(made, range(1, 21)))
    # newest first, as some venues send them
    assert follow(continuity, *[made(number, REPLAYED) for number in range(20, 5, -1)]) == []
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 50 * NS_PER_MS)
    assert opened.from_time_ns == DAY_NS + 20 * NS_PER_MS


def test_a_replay_behind_a_loss_leaves_the_gap_to_the_first_new_record_where_nothing_proves_more() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, plain(1), plain(2))
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 3 * NS_PER_MS)
    assert follow(continuity, plain(1, REPLAYED), plain(2, REPLAYED), plain(4, REPLAYED)) == []
    assert follow(continuity, plain(6)) == []
    (closed,) = continuity.decide()
    assert (closed.record_key, closed.from_time_ns, closed.to_time_ns) == (
        opened.record_key,
        DAY_NS + 2 * NS_PER_MS,
        DAY_NS + 6 * NS_PER_MS,
    )


def test_a_replay_of_all_that_is_newest_fills_the_gap_if_the_last_good_one_is_in_it() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, newest(1), newest(2))
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 3 * NS_PER_MS)
    assert opened.gap_state is GapState.UNREPAIRABLE
    (closed,) = follow(continuity, *[newest(number, REPLAYED) for number in (1, 2, 4, 5)])
    assert (closed.record_key, closed.gap_state) == (opened.record_key, GapState.REPAIRED)
    assert (closed.from_time_ns, closed.to_time_ns) == (DAY_NS + 2 * NS_PER_MS, DAY_NS + 3 * NS_PER_MS)
    assert closed.reason == "the venue repeated all since the last good event"
    assert follow(continuity, newest(6)) == []


def test_a_replay_that_does_not_reach_back_ends_the_gap_with_its_oldest() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, newest(1), newest(2))
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 3 * NS_PER_MS)
    (closed,) = follow(continuity, *[newest(number, REPLAYED) for number in (5, 6, 7)], newest(9))
    assert (closed.record_key, closed.gap_state) == (opened.record_key, GapState.UNREPAIRABLE)
    assert (closed.from_time_ns, closed.to_time_ns) == (DAY_NS + 2 * NS_PER_MS, DAY_NS + 5 * NS_PER_MS)


def test_another_of_the_same_time_is_not_the_last_good_one() -> None:
    continuity = Continuity(Venue, declares_start=False)
    twin = msgspec.structs.replace(newest(2, REPLAYED), record_key="newest/twin")
    follow(continuity, newest(2))
    continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 3 * NS_PER_MS)
    assert follow(continuity, twin) == []
    (closed,) = follow(continuity, newest(4, REPLAYED))
    assert (closed.gap_state, closed.to_time_ns) == (GapState.UNREPAIRABLE, DAY_NS + 4 * NS_PER_MS)


def test_a_connection_that_is_lost_behind_its_replay_leaves_a_gap_from_the_newest_repeated_one() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, newest(1))
    continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 2 * NS_PER_MS)
    follow(continuity, *[newest(number, REPLAYED) for number in (1, 3, 5)])
    (again,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 9 * NS_PER_MS)
    assert (again.from_time_ns, again.to_time_ns) == (DAY_NS + 5 * NS_PER_MS, 0)
    (closed,) = follow(continuity, *[newest(number, REPLAYED) for number in (3, 5, 8)])
    assert (closed.record_key, closed.gap_state) == (again.record_key, GapState.REPAIRED)


def test_a_replay_that_goes_on_proves_by_its_ids_that_nothing_was_missing() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, trade(1), trade(2))
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY_NS + 3 * NS_PER_MS)
    (closed,) = follow(continuity, *[trade(number, REPLAYED) for number in range(1, 30)], trade(30))
    assert (closed.record_key, closed.gap_state) == (opened.record_key, GapState.REPAIRED)


def test_a_replay_beyond_a_hole_leaves_the_exact_hole_to_be_declared_with_the_first_new_record() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, trade(1), trade(2))
    replayed = [trade(number, REPLAYED) for number in range(10, 30 + REORDER_MESSAGES)]
    late = [msgspec.structs.replace(one, receive_time_ns=one.receive_time_ns + 10**9) for one in replayed[1:]]
    assert follow(continuity, replayed[0], *late) == []
    live = msgspec.structs.replace(
        trade(30 + REORDER_MESSAGES), receive_time_ns=late[-1].receive_time_ns + NS_PER_MS
    )
    (hole,) = follow(continuity, live)
    assert (hole.gap_kind, hole.from_sequence, hole.to_sequence) == (GapKind.SEQUENCE, 3, 9)


def test_a_replay_from_before_the_venue_counted_anew_is_no_hole_up_to_its_ids() -> None:
    continuity = Continuity(Venue, declares_start=False)

    def after_reset(number: int) -> Trade:
        later = {
            "event_time_ns": DAY_NS + 10**12 + number,
            "receive_time_ns": DAY_NS + 10**12 + number * 10**8,
        }
        return msgspec.structs.replace(trade(number), **later)

    follow(continuity, *map(trade, range(90_000, 90_010)))
    (reset,) = follow(continuity, *map(after_reset, range(1, 20)))
    assert reset.gap_kind is GapKind.RESET
    replayed = [trade(number, REPLAYED) for number in range(90_005, 90_010)]
    assert follow(continuity, *replayed, *map(after_reset, range(20, 60))) == []
    assert list(continuity.decide()) == []


def test_a_replayed_record_in_quarantine_declares_nothing() -> None:
    continuity = Continuity(Venue, declares_start=False)
    follow(continuity, trade(1))
    assert continuity.quarantined(trade(2, REPLAYED)) == ()
