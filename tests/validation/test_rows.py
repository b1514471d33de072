from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from etl.adapter.contract import Exchange
from etl.errors import UsageError
from etl.model.records import BookAction, Kind, Record, Severity, Stats
from etl.validation import Checker
from etl.validation.rows import RowsCheck
from etl.validation.specs import DAY_NS
from etl.wire.codec import encode
from etl.wire.columns import Refused, Rows, decode
from tests.support.venues import GOOD, NOW_NS, TRADE, Venue, altered

CHECK = RowsCheck([Venue])
TEXTS = ["60000", "61900", "0", "-1", None, "99999999999999", "0.5", "9" * 16, "1" * 30, "1." + "1" * 25]
TIMES = [NOW_NS, 0, 1, NOW_NS + 3 * DAY_NS, 2**63 - 1]
TEXT_FIELDS = {
    Kind.TRADE: ("last_price", "volume"),
    Kind.QUOTE: ("bid", "bid_size", "ask", "ask_size"),
    Kind.BAR: ("open", "high", "low", "close", "volume", "vwap"),
}
LEVELS = [("61837.63",), ("61837.64", "61839"), ("0",), ("-1",), ("1", "9" * 16), ("1" * 30,), ()]


def rows_of(records: list[Record]) -> Rows:
    [rows], refused = decode(enumerate(map(encode, records)))
    assert not refused
    return rows


def first_hard_codes(records: list[Record]) -> dict[int, str]:
    """What the check on ingestion finds, by the record's place."""
    found = {}
    for number, record in enumerate(records):
        findings = Checker(Venue, judge_lateness=False).check(record)
        hard = [finding.code for finding in findings if finding.severity is Severity.HARD]
        if hard:
            found[number] = hard[0]
    return found


def random_records(kind: Kind, chance: random.Random) -> list[Record]:
    records: list[Record] = []
    for number in range(600):
        changes: dict[str, Any] = {"event_time_ns": chance.choice([GOOD[kind].event_time_ns] * 8 + TIMES)}
        if kind is Kind.BOOK:
            sides = [chance.choice(LEVELS) for _ in range(2)]
            sizes = [tuple(chance.choice(("1", "1", "1", "-2")) for _ in side) for side in sides]
            changes["book_action"] = chance.choice(
                (BookAction.SNAPSHOT, BookAction.ABSOLUTE, BookAction.RELATIVE)
            )
            changes |= dict(
                zip(("bid_prices", "ask_prices", "bid_sizes", "ask_sizes"), [*sides, *sizes], strict=True)
            )
        else:
            usual = {name: getattr(GOOD[kind], name) for name in TEXT_FIELDS[kind]}
            changes |= {name: chance.choice([good] * 8 + TEXTS) for name, good in usual.items()}
        records.append(altered(kind, record_key=str(number), **changes))
    return records


@pytest.mark.parametrize("kind", GOOD)
def test_rows_are_refused_for_what_the_door_holds_records_for(kind: Kind) -> None:
    records = random_records(kind, random.Random(kind))
    expected = first_hard_codes(records)
    assert {item.offset: item.code for item in CHECK.refused(rows_of(records))} == expected
    assert 50 < len(expected) < 590


def test_good_rows_pass_and_a_refused_one_says_rule_and_numbers() -> None:
    bad = altered(Kind.TRADE, volume="-2")
    reason = f"event_time_ns={bad.event_time_ns} receive_time_ns={bad.receive_time_ns} last_price=61837.63 volume=-2"
    assert CHECK.refused(rows_of([TRADE, bad, TRADE])) == [
        Refused(1, reason, "size_negative", "size_negative")
    ]


def test_text_that_is_no_decimal_costs_its_own_row() -> None:
    bad = altered(Kind.TRADE, last_price="1.2.3")
    rows = rows_of([TRADE, bad, altered(Kind.TRADE, volume="-1")])
    assert [(item.offset, item.code) for item in CHECK.refused(rows)] == [
        (1, "decimal_malformed"),
        (2, "size_negative"),
    ]


def test_rows_of_a_venue_without_a_file_are_judged_by_the_bounds_of_the_table() -> None:
    old = msgspec.structs.replace(TRADE, event_time_ns=1, receive_time_ns=2)
    other = msgspec.structs.replace(old, exchange="elsewhere")
    assert [item.code for item in CHECK.refused(rows_of([old]))] == ["event_time_before_market"]
    assert CHECK.refused(rows_of([other])) == []


def test_kinds_with_time_rules_alone_are_checked_too() -> None:
    head = {name: getattr(TRADE, name) for name in Record.__struct_fields__}
    late = Stats(**{**head, "event_time_ns": NOW_NS + 3 * DAY_NS}, mark_price="1")
    assert [item.code for item in CHECK.refused(rows_of([Stats(**head, mark_price="1"), late]))] == [
        "event_time_in_future"
    ]


def test_a_venue_without_bounds_is_refused_at_the_start() -> None:
    class Boundless(Exchange):
        name = "boundless"

    with pytest.raises(UsageError, match="boundless"):
        RowsCheck([Boundless])
