"""The gateway's pure parts: cursors, selections, the ring, and how a record is written."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.commands.parse import record_item
from etl.errors import UsageError, WireError
from etl.gateway.entry import JSON, PROTOBUF, Entry, entry_of, frame_of
from etl.gateway.ring import Ring
from etl.gateway.selection import make_selection
from etl.gateway.tokens import Tokens, own_token
from etl.model.records import Kind, Record
from etl.settings import Settings
from etl.transports.message import Message
from etl.wire.codec import decode, encode
from etl.wire.cursor import advanced, cursor_text, is_cursor, parse_cursor, topic_mark
from etl.wire.glance import ReceiveTimes, glance, kind_of
from etl.wire.json_records import fields_of
from etl.wire.market_data_pb2 import Delivery, MarketData
from etl.wire.varint import varint
from tests.support.gateway import bar, book, gap, quote, trade
from tests.wire.test_codec import any_record

TRADE, QUOTE, GAP = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.GAP)


def entry(partition: int, offset: int, record: Record | None = None) -> Entry:
    made = entry_of(
        Message("t", partition, offset, b"binance:BTC-USDT", encode(record or trade(offset)), lambda: None, 0)
    )
    assert made is not None
    return made


def test_a_cursor_is_read_as_it_was_written() -> None:
    mark = topic_mark("Q3l1bmcgdG9waWMgaWQ")
    text = cursor_text(mark, {3: 70, 0: 12})
    assert text == f"{mark}.0:12.3:70"
    assert (parse_cursor(text).topic, parse_cursor(text).offsets, str(parse_cursor(text))) == (
        mark,
        {0: 12, 3: 70},
        text,
    )
    assert advanced(text, "0:15") == f"{mark}.0:16.3:70"
    assert topic_mark("other") != mark


@pytest.mark.parametrize(
    "text", ["", "2026-01-01", "2f1b09aa.0", "2f1b09aa.0:1:2", "2f1b09aa.0:-1", "x" * 99_999]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    assert not is_cursor(text)
    with pytest.raises(UsageError, match="that is no cursor"):
        parse_cursor(text)


@pytest.mark.parametrize(
    ("asked", "yes", "no"),
    [
        ({}, [(b"a:B", TRADE), (b"c:", GAP)], []),
        ({"exchanges": "a"}, [(b"a:B", TRADE)], [(b"b:B", TRADE), (b"ab:B", TRADE)]),
        ({"symbols": ["B", "C-*"]}, [(b"a:B", TRADE), (b"b:C-D", QUOTE)], [(b"a:BC", TRADE), (b"a:C", TRADE)]),
        ({"symbols": "*"}, [(b"a:anything", TRADE)], []),
        ({"kinds": ["trade"]}, [(b"a:B", TRADE), (b"a:B", GAP), (b"a:B", 7)], [(b"a:B", QUOTE)]),
        ({"exchanges": "a", "kinds": "quote"}, [(b"a:B:C", QUOTE)], [(b"b:B", GAP), (b"a:B", TRADE)]),
    ],
)  # fmt: skip
def test_a_selection_takes_what_it_names(
    asked: dict[str, str], yes: list[tuple[bytes, int]], no: list[tuple[bytes, int]]
) -> None:
    selection = make_selection(**asked)
    assert [route for route in yes + no if selection.matches(route)] == yes


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"kinds": "trades"}, "kinds: trades is none; there are trade, quote"),
        ({"symbols": "B*C"}, "a \\* may stand at the end"),
        ({"symbols": [""]}, "1 to 200 characters"),
        ({"exchanges": ["x"] * 10_001}, "at most 10000 names"),
    ],
)
def test_a_selection_that_cannot_be_meant_is_refused(asked: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        make_selection(**asked)


def test_the_ring_gives_what_came_since_a_cursor_and_knows_how_far_it_reaches() -> None:
    ring = Ring({0: 10, 1: 50}, entries_max=4, bytes_max=1 << 20)
    assert ring.reaches({0: 10, 1: 50})
    places = [(0, 10), (1, 50), (0, 11), (1, 51), (0, 12), (1, 52)]
    for place in places:
        ring.add(entry(*place))
    ring.skip(0, 13)
    assert ring.ends == {0: 14, 1: 53}
    assert [(one.partition, one.offset) for one in ring.since({0: 11, 1: 52})] == [(0, 11), (0, 12), (1, 52)]
    assert [(one.partition, one.offset) for one in ring.since({0: 0, 1: 0})] == places[2:]
    assert ring.reaches({0: 11, 1: 51})
    assert not ring.reaches({0: 10, 1: 51})
    assert not ring.reaches({0: 11, 1: 50})
    assert ring.since({0: 14, 1: 53}) == []


def test_a_partition_that_is_new_is_kept_from_its_beginning_on() -> None:
    ring = Ring({0: 10}, entries_max=3, bytes_max=1 << 20)
    ring.add(entry(0, 10))
    ring.grow(1)
    assert ring.ends == {0: 11, 1: 0}
    ring.add(entry(1, 0))
    assert ring.reaches({0: 10})
    assert [(one.partition, one.offset) for one in ring.since({0: 11})] == [(1, 0)]
    for offset in (1, 2, 3):
        ring.add(entry(1, offset))
    assert not ring.reaches({0: 11})
    assert ring.reaches({0: 11, 1: 1})


def test_the_ring_is_bounded_in_bytes() -> None:
    ring = Ring({0: 0}, entries_max=1_000, bytes_max=10_000)
    for offset in range(100):
        ring.add(entry(0, offset))
    assert 5 < len(ring) < 20
    assert [one.offset for one in ring.since({0: 0})] == list(range(100 - len(ring), 100))


@given(any_record())
def test_a_record_as_json_says_what_the_record_says(record: Record) -> None:
    told = fields_of(encode(record))
    expected = record_item(record)
    # a text or list that is there and empty was said; a plain 0 was not
    extra = {name for name in told if name not in expected}
    assert {name: told[name] for name in expected} == json.loads(json.dumps(expected))
    assert all(told[name] in ("", 0) for name in extra)


@given(any_record())
def test_a_glance_sees_what_a_parse_sees(record: Record) -> None:
    value = encode(record)
    assert kind_of(value) == record.kind
    assert glance(value) == (record.receive_time_ns, record.source)


@given(st.lists(any_record(), min_size=2, max_size=6))
def test_the_time_that_a_beginning_tells_is_that_of_the_message(records: list[Record]) -> None:
    """However unlike the ones before on its route it begins."""
    received, route = ReceiveTimes(), (b"binance:BTC-USDT", TRADE)
    told = [received.of(route, encode(record)) for record in records * 2]
    assert told == [record.receive_time_ns for record in records * 2]


def test_a_beginning_tells_nothing_of_a_message_that_is_cut_or_turned() -> None:
    received, route, value = ReceiveTimes(), (b"binance:BTC-USDT", TRADE), encode(trade(5))
    assert received.of(route, value) == trade(5).receive_time_ns
    with pytest.raises(WireError):
        received.of(route, value[: value.index(b"\x39") + 5])
    turned = MarketData(receive_time_ns=7).SerializeToString() + value
    assert received.of(route, turned) == trade(5).receive_time_ns


def test_a_glance_reads_fields_in_any_order() -> None:
    value = encode(trade(5))
    turned = MarketData(receive_time_ns=7).SerializeToString() + value[:2] + value[2:]
    assert kind_of(turned) == TRADE
    assert glance(turned) == (trade(5).receive_time_ns, 1)


@pytest.mark.parametrize("make", [trade, quote, bar, book, gap])
def test_a_frame_has_its_records_in_either_form(make: object) -> None:
    records = [make(number) for number in (3, 300)]  # type: ignore[operator]
    entries = [entry(number, number << 20, record) for number, record in zip((0, 200), records, strict=True)]
    told = json.loads(frame_of(JSON, "2f1b09aa.0:1", entries))
    assert (told["type"], told["cursor"]) == ("records", "2f1b09aa.0:1")
    assert told["records"] == [
        {"at": at, **json.loads(json.dumps(record_item(record)))}
        for at, record in zip(("0:0", "200:209715200"), records, strict=True)
    ]
    delivery = Delivery.FromString(frame_of(PROTOBUF, "2f1b09aa.0:1", entries))
    assert delivery.cursor == "2f1b09aa.0:1"
    assert [(one.partition, one.offset) for one in delivery.records] == [(0, 0), (200, 200 << 20)]
    assert [decode(one.record.SerializeToString()) for one in delivery.records] == records


def test_what_is_no_record_is_not_told() -> None:
    assert entry_of(Message("t", 0, 1, b"k", b"\xff\xff", lambda: None, 0)) is None
    assert entry_of(Message("t", 0, 1, None, encode(trade(1)), lambda: None, 0)) is None
    broken = Entry(0, 1, (b"k", TRADE), encode(trade(1))[:-3])
    assert frame_of(JSON, "2f1b09aa.0:1", [broken]) == b""


@given(st.integers(0, 2**62))
def test_a_varint_is_as_the_library_writes_it(number: int) -> None:
    from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[attr-defined]

    assert varint(number) == _VarintBytes(number)


def test_a_token_is_good_until_it_is_revoked_and_lies_nowhere_in_the_open(settings: Settings) -> None:
    tokens, others = Tokens(settings), Tokens(settings)
    token = tokens.create("desk", time.time_ns(), ["binance"], ["trade"], 3, 60)
    grant = others.grant_of(token)
    assert grant is not None
    assert (grant.name, grant.exchanges, grant.kinds, grant.streams_max) == (
        "desk",
        ["binance"],
        ["trade"],
        3,
    )
    assert (grant.allows("binance", "trade"), grant.allows("kraken", "trade")) == (True, False)
    file = settings.state_path / "gateway_tokens.json"
    assert token.split("_", 2)[2] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    for wrong in (
        "",
        token[:-1],
        token + "x",
        token.replace(grant.id, "00000000"),
        f"{token[:13]}{'A' * 43}",
    ):
        assert others.grant_of(wrong) is None
    assert others.holds(grant)
    assert tokens.revoke(grant.id) == grant
    assert others.grant_of(token) is None
    assert not others.holds(grant)
    with pytest.raises(UsageError, match="no such token"):
        tokens.revoke(grant.id)
    with pytest.raises(UsageError, match="tick: no such kind"):
        tokens.create("x", 0, kinds=["tick"])


def test_tokens_that_are_made_and_revoked_at_once_are_neither_lost_nor_kept(settings: Settings) -> None:
    first = [Tokens(settings).create(f"old {number}", number) for number in range(8)]

    def work(number: int) -> str:
        """As a process of its own does."""
        Tokens(settings).revoke(first[number].split("_")[1])
        return Tokens(settings).create(f"new {number}", number)

    with ThreadPoolExecutor(8) as threads:
        made = [*threads.map(work, range(8))]
    tokens = Tokens(settings)
    assert {grant.name for grant in tokens.all()} == {f"new {number}" for number in range(8)}
    assert all(tokens.grant_of(token) for token in made)
    assert not any(tokens.grant_of(token) for token in first)


def test_the_platforms_own_token_stays_while_it_is_good(settings: Settings) -> None:
    first = own_token(settings, 1)
    assert own_token(settings, 2) == first
    Tokens(settings).revoke(first.split("_")[1])
    assert own_token(settings, 3) != first
