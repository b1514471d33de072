"""The compiled decoder gives what the plain one gives: rows, and refused messages."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[attr-defined]
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.express import decoders
from etl.express.decoders import Form, decoder
from etl.model.records import RECORD_TYPES, Book, Kind, Quote, Record, Trade
from etl.wire import columns
from etl.wire.codec import FIELDS, encode, encode_by_library
from etl.wire.columns import Refused, Rows
from tests.express.test_encoders import BASE
from tests.support import fixtures, garbage, stream
from tests.wire.test_codec import any_record

DECODE, STATE = decoder(True)
pytestmark = pytest.mark.skipif(STATE != "compiled", reason=STATE)

MUTATIONS = 12
"""Of each message of a fixture."""


def judge(values: Iterable[bytes | None], skip: Sequence[Kind] = ()) -> tuple[list[Rows], list[Refused]]:
    """Both ways' outcome, which is one."""
    pairs = list(enumerate(values))
    rows, refused = DECODE(pairs, skip)
    plain_rows, plain_refused = columns.decode(pairs, skip)
    assert [(each.kind, each.offsets) for each in rows] == [(each.kind, each.offsets) for each in plain_rows]
    for one, other in zip(rows, plain_rows, strict=True):
        one.columns.validate(full=True)
        assert one.columns.equals(other.columns), one.kind
        assert one.columns.schema == other.columns.schema
    assert Counter(refused) == Counter(plain_refused)
    return rows, refused


def left_to_the_plain_way(values: Sequence[bytes]) -> int:
    """How many of these messages the compiled decoder gives back."""
    from etl.express import _decode

    tables = {int(each.kind): decoders.rows(decoders.fields(each)) for each in RECORD_TYPES}
    _, unproved = _decode.make(tables)(list(enumerate(values)), b"")
    return len(unproved)


def mutated(value: bytes, chosen: random.Random) -> bytes:
    """``value`` cut, with a byte changed, taken out, put in, or a part of it said twice."""
    at, end = sorted(chosen.choices(range(len(value) + 1), k=2))
    odd = bytes([chosen.choice((0, 1, 8, 127, 128, 255, chosen.randrange(256)))])
    return chosen.choice(
        (
            value[:at],
            value[:at] + odd + value[at + 1 :],
            value[:at] + odd + value[at:],
            value[:at] + value[end:],
            value + value[at:end],
            value[:2] + value[at:end] + value[2:],
        )
    )


@settings(max_examples=40)
@given(st.lists(any_record(), max_size=3))
def test_records_of_any_content_give_the_same_rows(records: list[Record]) -> None:
    judge(map(encode, records))


@given(st.lists(st.binary(max_size=60).flatmap(lambda tail: st.sampled_from([tail, b"\x08\x01" + tail]))))
def test_bytes_that_are_no_message_are_refused_alike(values: list[bytes]) -> None:
    judge(values)


@pytest.mark.parametrize("path", fixtures.paths(), ids=lambda path: path.stem)
def test_every_message_of_the_fixtures_gives_the_same_row_as_it_is_and_mutated(path: Path) -> None:
    exchange, chosen = fixtures.feed_of(path), random.Random(7)
    parser = exchange()
    whole = [
        encode(record)
        for number, line in enumerate(fixtures.read(path), 1)
        for record in parser.parse(fixtures.frame_of(line, exchange.name, number))
        if isinstance(record, Record)
    ]
    rows, refused = judge(whole)
    assert (sum(map(len, rows)), refused) == (len(whole), [])
    judge(each for value in whole for each in (value, *(mutated(value, chosen) for _ in range(MUTATIONS))))


def test_garbage_is_refused_alike() -> None:
    _, refused = judge(message.value for message in garbage.records(3_000))
    assert refused


@pytest.mark.parametrize("record_type", RECORD_TYPES)
def test_each_field_at_each_edge_of_its_form(record_type: type[Record]) -> None:
    edges: list[int] = [
        0,
        1,
        -1,
        127,
        128,
        16_383,
        16_384,
        2**31 - 1,
        -(2**31),
        2**53 + 1,
        2**63 - 1,
        -(2**63),
    ]
    texts = ["", "a", "x" * 127, "x" * 128, "x" * 20_000, "é", "\x00", "NULL", '"', "币"]
    odd: list[Any] = [*edges, *texts, None, (), ("",), ("a", "", "b"), ("1", "é"), (0, -1, 2**63 - 1)]
    records = []
    for field in FIELDS[record_type]:
        for value in odd:
            changed = record_type(**BASE | {field.name: value})
            try:
                records.append(encode_by_library(changed))
            except Exception:  # noqa: BLE001  no message can hold it
                continue
    assert len(records) > 100
    judge(records)


def test_messages_of_all_common_kinds_are_proved() -> None:
    records = [
        stream.trade(0, conditions=("@", "T")), stream.trade(1), stream.quote(0, ask=None), stream.book(0),
        stream.bar(0), stream.gap(0), stream.book(1, bid_prices=(), bid_sizes=(), bid_orders=(1, 2)),
    ]  # fmt: skip
    values = [encode(record) for record in records]
    assert left_to_the_plain_way(values) == 0
    judge(values)


def test_what_is_not_proved_stands_where_its_offset_is() -> None:
    odd = [encode(stream.trade(n, channel="é" if n % 3 else "trade")) for n in range(30)]
    assert left_to_the_plain_way(odd) == 20
    (rows,), _ = judge(odd)
    assert rows.offsets == list(range(30))
    assert rows.values["record_key"] == [stream.trade(n).record_key for n in range(30)]


def test_a_row_that_fails_half_way_leaves_nothing_in_those_beside_it() -> None:
    good = encode(stream.book(0, bid_orders=(7,), flags=("a", "b")))
    values = [each for end in range(len(good)) for each in (good, good[:end])] + [good]
    rows, refused = judge(values)
    assert sum(map(len, rows)) > len(good)
    assert refused


def test_fields_out_of_order_twice_or_unknown_go_the_plain_way() -> None:
    good = encode(stream.trade(0))
    twice = good + b"\x12\x01x"  # exchange once more: the last one holds
    unknown = good + _VarintBytes(90 << 3) + b"\x01"
    of_another_kind = good + _VarintBytes(39 << 3) + b"\x01"  # a book's
    long_number = good[:2] + good[2:].replace(b"\x40\x01", b"\x40\x81\x00")  # source, in two bytes
    kind_last = good[2:] + good[:2]
    of_64_bits = encode(stream.trade(0, frame_index=5)).replace(
        b"\x58\x05", b"\x58" + _VarintBytes(1 << 32 | 5)
    )
    odd = [twice, unknown, of_another_kind, long_number, kind_last, of_64_bits]
    assert all(each != good for each in odd)
    assert left_to_the_plain_way(odd) == len(odd)
    (rows,), refused = judge(odd)
    assert (len(rows), refused) == (len(odd), [])
    assert rows.values["exchange"][0] == "x"
    assert rows.values["frame_index"][-1] == 5


def test_books_of_any_depth_are_whole() -> None:
    books = []
    for levels in (0, 1, 255, 5_000, 0, 3):
        prices = tuple(f"{61_837 + n}.{n:08d}" for n in range(levels))
        books.append(Book(**BASE, bid_prices=prices, ask_sizes=prices, bid_orders=tuple(range(levels))))
    values = [encode(book) for book in books]
    assert left_to_the_plain_way(values) == 0
    (rows,), _ = judge(values)
    assert [len(levels) for levels in rows.values["bid_prices"]] == [0, 1, 255, 5_000, 0, 3]


def test_a_skipped_kind_leaves_nothing() -> None:
    values = [
        encode(stream.book(0)),
        encode(stream.trade(0)),
        encode(stream.book(1))[:40],
        b"",
        b"\x03",
        b"\x08",
    ]
    rows, refused = judge(values, (Kind.BOOK, Kind.QUOTE))
    assert [(each.kind, each.offsets) for each in rows] == [(Kind.TRADE, [1])]
    assert [item.offset for item in refused] == [3, 4, 5]
    judge(values, tuple(Kind))


def test_what_is_no_pair_of_offset_and_bytes_is_left_to_the_plain_way() -> None:
    value = encode(stream.trade(0))
    for pair in ((0, bytearray(value)), (0, memoryview(value)), (0, None), (0, "text"), [0, value]):
        outcomes = []
        for decode in (DECODE, columns.decode):
            try:
                rows, refused = decode([pair], ())  # type: ignore[list-item]
                outcomes.append((sum(map(len, rows)), refused))
            except Exception as error:  # noqa: BLE001  whatever it is, the other is to raise it too
                outcomes.append((type(error), str(error)))  # type: ignore[arg-type]
        assert outcomes[0] == outcomes[1]


def test_the_table_takes_only_kinds_and_rows_that_the_decoder_knows() -> None:
    from etl.express import _decode

    good = decoders.rows(decoders.fields(Trade))
    wrong: Any
    for wrong in ((b"", 0, 0), (b"123", 0, 0), (b"1", len(Form), 0), (b"1", -1, 0), (b"1", 0), 5):
        with pytest.raises(TypeError):
            _decode.make({1: (*good, wrong)})
    for tables in ({0: good}, {128: good}, {1: list(good)}, [good]):
        with pytest.raises(TypeError):
            _decode.make(tables)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _decode.make({1: good})((), b"")  # type: ignore[arg-type]


def test_nothing_is_kept_of_what_was_decoded() -> None:
    large = Book(**BASE, bid_prices=("61837.63000000",) * 1_000, bid_orders=tuple(range(1_000)))
    odd = msgspec.structs.replace(large, ask_prices=("é",))
    pairs = [
        (1 << 40 | n, encode(record)) for n, record in enumerate((large, odd, Trade(**BASE), Quote(**BASE)))
    ]
    pairs.append((1 << 41, pairs[0][1][:-1]))
    DECODE(pairs, ())
    held = [pairs, *pairs, *(part for pair in pairs for part in pair)]
    before = [sys.getrefcount(each) for each in held]
    tracemalloc.start()
    try:
        start, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            DECODE(pairs, ())
        end, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [sys.getrefcount(each) for each in held] == before
    assert end - start < 16_384


def test_where_it_is_not_wanted_the_plain_decoder_is_used() -> None:
    assert decoder(False) == (columns.decode, "plain, as set")
