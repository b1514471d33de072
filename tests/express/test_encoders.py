"""The compiled encoders give what the plain ones give: bytes, and errors."""

from __future__ import annotations

import random
import sys
import tracemalloc
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given

from etl.errors import WireError
from etl.express.encoders import Form, encoders, rows
from etl.model.records import RECORD_TYPES, Book, BookAction, Quote, Record, SizeUnit, Source, Trade
from etl.wire import codec
from tests.support import fixtures
from tests.wire.test_codec import any_record

COMPILED, STATE = encoders(True)
pytestmark = pytest.mark.skipif(STATE != "compiled", reason=STATE)

PLACE = Trade("v", "S", "s", "c", 1, 2, Source.STREAM, "id", 3, 4, "key", 5, 6)
BASE = {name: getattr(PLACE, name) for name in Record.__struct_fields__}
ODD_VALUES: tuple[object, ...] = (
    None, "", "é", "\ud800", "x" * 127, "x" * 128, "1" * 20_000, b"1", 0, -1, 1 << 31, -(1 << 31) - 1, 1 << 62,
    (1 << 63) - 1, 1 << 63, -(1 << 63), -(1 << 63) - 1, 1 << 64, 1 << 200, True, 1.5, (), ("",), ("é", "a"), (1,),
    (1 << 63,), (None,), ["a"], [1], Source.STREAM, object,
)  # fmt: skip
ROUNDS = 40
"""Of each record of a fixture, with one field made odd."""


def outcome_of(encode: Any, record: Record) -> object:
    """Bytes, or the error."""
    try:
        return encode(record)
    except Exception as error:  # noqa: BLE001  whatever it is, the other is to raise it too
        return type(error), str(error)


def judge(record: Record) -> None:
    kind = type(record)
    assert outcome_of(COMPILED[kind], record) == outcome_of(codec.ENCODERS[kind], record)


@given(any_record())
def test_records_of_any_content_give_the_same_bytes(record: Record) -> None:
    assert COMPILED[type(record)](record) == codec.encode(record) == codec.encode_by_library(record)


@pytest.mark.parametrize("path", fixtures.paths(), ids=lambda path: path.stem)
def test_every_record_of_the_fixtures_gives_the_same_bytes_as_it_is_and_with_an_odd_field(path: Path) -> None:
    exchange, chosen = fixtures.feed_of(path), random.Random(11)
    parser = exchange()
    for number, line in enumerate(fixtures.read(path), 1):
        for record in parser.parse(fixtures.frame_of(line, exchange.name, number)):
            if not isinstance(record, Record):
                continue
            assert COMPILED[type(record)](record) == codec.encode(record)
            for _ in range(ROUNDS):
                name = chosen.choice(record.__struct_fields__)
                judge(msgspec.structs.replace(record, **{name: chosen.choice(ODD_VALUES)}))


def test_each_field_takes_each_odd_value_the_plain_way() -> None:
    for record_type in RECORD_TYPES:
        record = record_type(**BASE)
        for name in record_type.__struct_fields__:
            for value in ODD_VALUES:
                judge(msgspec.structs.replace(record, **{name: value}))


def test_numbers_at_the_edges_of_every_length_are_the_library_s() -> None:
    edges = {sign * ((1 << bits) + more) for bits in range(64) for more in (-1, 0, 1) for sign in (1, -1)}
    for number in sorted(edge for edge in edges if -(1 << 63) <= edge < 1 << 63):
        quote = Quote("v", "S", "s", "c", number, number, Source.STREAM, "", number, 0, "", number, 0, number)
        book = Book(
            "v", "S", "s", "c", 0, 0, Source.STREAM, "", 0, 0, "", 0, 0, bid_orders=(number, 0, number)
        )
        for record in (quote, book):
            assert COMPILED[type(record)](record) == codec.encode_by_library(record)


@pytest.mark.parametrize("levels", [0, 1, 200, 5_000])
def test_books_larger_than_the_stack_holds_are_whole(levels: int) -> None:
    prices = tuple(f"{61_837 + n}.{n:08d}" for n in range(levels))
    book = Book(
        "binance", "BTC-USDT", "BTCUSDT", "depth", 1, 2, Source.STREAM, "c", 1, 0, "k", 1, 1, 7, 5,
        book_action=BookAction.ABSOLUTE, bid_prices=prices, bid_sizes=prices, ask_prices=prices, ask_sizes=prices,
        bid_orders=tuple(range(levels)), size_unit=SizeUnit.BASE,
    )  # fmt: skip
    assert COMPILED[Book](book) == codec.encode_by_library(book)


def test_what_is_no_record_of_the_type_goes_the_plain_way() -> None:
    class Flag(StrEnum):
        ODD = "odd"

    trade = msgspec.structs.replace(PLACE, flags=(Flag.ODD,))
    judge(trade)
    for record_type, encode in COMPILED.items():
        if record_type is not Trade:
            assert outcome_of(encode, trade) == outcome_of(codec.ENCODERS[record_type], trade)
    with pytest.raises(TypeError):
        COMPILED[Trade]()  # type: ignore[call-arg]


def test_a_number_that_no_message_holds_is_the_plain_encoder_s_error() -> None:
    trade = Trade("v", "S", "s", "c", 1 << 63, 2, Source.STREAM, "id", 3, 4, "key", 5, 6)
    with pytest.raises(WireError, match="trade 'key'"):
        COMPILED[Trade](trade)


def test_the_table_takes_only_slots_of_the_type() -> None:
    from etl.express import _encode

    plain, good = codec.ENCODERS[Trade], rows(Trade)
    slot = next(row[0] for row in rows(Quote) if row[0].__name__ == "bid")
    for wrong in (
        (slot, 0, b"\x08"),
        (good[0][0], len(Form), b"\x08"),
        (good[0][0], 0, b""),
        (good[0][0], 0, b"123"),
    ):
        with pytest.raises(TypeError):
            _encode.make(Trade, 1, (*good, wrong), plain)
    with pytest.raises(ValueError, match="128"):
        _encode.make(Trade, 200, good, plain)


def test_nothing_is_kept_of_what_was_encoded() -> None:
    chosen = random.Random(5)
    for record_type in RECORD_TYPES:
        text, number = f"{chosen.random()}", 1 << 50 | chosen.getrandbits(40)
        values = "v", text, text, text, number, 2, Source.STREAM, text, number, 4, text, number, 6, number
        record, encode = record_type(*values), COMPILED[record_type]
        held = [text, number, record, encode, codec.ENCODERS[record_type], record_type, values]
        before = [sys.getrefcount(each) for each in held]
        for _ in range(2_000):
            encode(record)
        assert [sys.getrefcount(each) for each in held] == before


def test_messages_that_were_handed_to_the_plain_way_or_grew_leave_no_memory_behind() -> None:
    large = Book(**BASE, bid_prices=("61837.63000000",) * 1_000, ask_prices=("61837.63000000",) * 1_000)
    odd = msgspec.structs.replace(large, ask_prices=(*large.ask_prices, "é"))
    encode = COMPILED[Book]
    encode(large), encode(odd)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(300):
            encode(large), encode(odd)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 30_000  # 100 bytes a round: other threads of a test run take some, too


def test_where_it_is_not_wanted_the_plain_encoders_are_used() -> None:
    assert encoders(False) == (codec.ENCODERS, "plain, as set")
