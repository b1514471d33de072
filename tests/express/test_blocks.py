"""What a ready block is made of; ``tests/sinks/test_ready_blocks.py`` holds it against the landing tables' rows."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.model.records import Kind, Record
from etl.wire.codec import encode
from tests.support import stream

blocks = pytest.importorskip("etl.express.blocks", reason="the compiled code is not built")
MAKE = blocks.block_maker()
_PLAIN = re.compile(rb"-?([0-9]{1,19})(?:\.([0-9]{1,19}))?")


def exact(texts: list[bytes], whole_max: int, scale: int) -> list[Fraction] | None:
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text))
    found = blocks._decimals.exact(
        struct.pack(f"<{len(starts)}i", *starts), b"".join(texts), whole_max, scale
    )
    if found is None:
        return None
    numbers = [int.from_bytes(found[at : at + 16], "little", signed=True) for at in range(0, len(found), 16)]
    return [Fraction(number, 10**scale) for number in numbers]


def expected(text: bytes, whole_max: int, scale: int) -> Fraction | None:
    found = _PLAIN.fullmatch(text)
    if found is None or len(found[1]) > whole_max or len(found[2] or b"") > scale:
        return None
    return Fraction(text.decode())


@given(
    st.lists(
        st.one_of(
            st.from_regex(rb"\A-?[0-9]{0,21}(\.[0-9]{0,21})?\Z").filter(len),
            st.text("0123456789.-+eE ", min_size=1, max_size=9).map(str.encode),
            st.binary(min_size=1, max_size=5),
        ),
        max_size=4,
    ),
    st.sampled_from([(19, 19), (10, 8), (1, 0)]),
)
@example([b"9999999999999999999.9999999999999999999", b"-9999999999999999999.9999999999999999999"], (19, 19))
@example([b"0.0000000000000000001", b"-0", b"-0.0"], (19, 19))
def test_plain_decimals_become_their_numbers_and_nothing_else_does(
    texts: list[bytes], room: tuple[int, int]
) -> None:
    wanted = [expected(text, *room) for text in texts]
    assert exact(texts, *room) == (None if None in wanted else wanted)


def test_a_row_without_text_is_no_number_and_no_refusal() -> None:
    assert exact([b"1.5", b"", b"2"], 19, 19) == [Fraction(3, 2), 0, 2]


@pytest.mark.parametrize("places", [(0, 9), (-1, 2), (4, 2), (2, 4, 9)])
def test_text_that_lies_elsewhere_is_not_read(places: tuple[int, ...]) -> None:
    starts = struct.pack(f"<{len(places)}i", *places)
    assert blocks._decimals.exact(starts, b"12345678", 19, 19) is None


@pytest.mark.parametrize(("starts", "whole_max", "scale"), [(b"", 1, 1), (b"123", 1, 1), (bytes(4), 20, 1)])
def test_a_room_that_there_is_not_is_refused(starts: bytes, whole_max: int, scale: int) -> None:
    with pytest.raises(ValueError, match="at most 19 digits"):
        blocks._decimals.exact(starts, b"1", whole_max, scale)


@given(st.lists(st.text("01289/abc-", min_size=1, max_size=12), min_size=1, max_size=5))
@example(["/", "a/", "7", "0", "07", "a/0", "x/9999999999999999999", "b/18", "//1"])
def test_a_key_is_split_before_the_number_behind_its_last_slash(keys: list[str]) -> None:
    prefix, number, tail = blocks._key(pa.array(keys))
    for key, got_prefix, got_number, got_tail in zip(
        keys, prefix.to_pylist(), number.tolist(), tail.to_pylist(), strict=True
    ):
        assert got_tail == key.rpartition("/")[2]
        is_number = re.fullmatch("[1-9][0-9]*", got_tail) is not None
        assert got_number == (int(got_tail) if is_number else 0)
        assert got_prefix == (key.removesuffix(got_tail) if is_number else key)


UNPROVED: list[Record] = [
    stream.trade(1, last_price="1" * 20),
    stream.trade(1, last_price="0.00000000000000000001"),
    stream.trade(1, volume="1e5"),
    stream.trade(1, symbol="币安"),
    stream.trade(1, exchange=""),
    stream.trade(1, record_key=""),
    stream.trade(1, record_key="x/99999999999999999999"),
    stream.trade(1, key_time_ns=0),
    stream.trade(1, key_time_ns=-1),
    stream.trade(1, key_time_ns=1 << 62),
    stream.trade(1, parser_version=-1),
    stream.quote(1, bid="NaN"),
    stream.book(1, bid_sizes=("1",)),
    stream.book(1, bid_orders=(1,)),
    stream.book(1, bid_prices=("0.123456789", "2")),
    stream.book(1, depth=-1),
]


@pytest.mark.parametrize("record", UNPROVED, ids=str)
def test_all_of_a_kind_are_left_to_the_landing_table_where_one_is_not_proved(record: Record) -> None:
    good = [encode(make(number)) for number in (2, 3) for make in (stream.trade, stream.quote, stream.book)]
    assert set(MAKE(good)) == {Kind.TRADE, Kind.QUOTE, Kind.BOOK}
    assert set(MAKE([*good, encode(record)])) == set(MAKE(good)) - {record.kind}


def test_other_kinds_and_what_is_no_message_are_in_no_block() -> None:
    values = [encode(stream.bar(1)), encode(stream.gap(2)), b"", b"\xff", b"\x08", b"\x08\x63"]
    assert MAKE(values) == {}
    assert set(MAKE([*values, encode(stream.trade(1))])) == {Kind.TRADE}
    assert MAKE([encode(stream.trade(1)), b"\x08\x01\xff"]) == {}


def test_under_a_null_lies_a_zero() -> None:
    """It is stored, too: what was in that memory before would be."""
    nothing: dict[str, Any] = dict.fromkeys(("publish_time_ns", "event_time_ns"), 0)
    nothing |= dict.fromkeys(("sequence", "first_sequence", "previous_sequence"))
    trade = stream.trade(1, last_price=None, volume=None, **nothing)
    quote = stream.quote(2, record_key="7", **{**nothing, "sequence": 7})
    for block in MAKE([encode(trade), encode(quote)]).values():
        table = pa.ipc.open_stream(block.stream).read_all()
        for column in table.columns:
            if column.null_count:
                (_, numbers) = column.chunk(0).buffers()
                width = column.type.byte_width
                assert numbers.to_pybytes()[:width] == bytes(width)
