from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.inspect import EnumType, Field, IntType, StructType, UnionType, VarTupleType

from etl.errors import WireError
from etl.model import records
from etl.model.records import (
    RECORD_TYPES,
    BarState,
    CorrectionKind,
    GapState,
    Kind,
    Quarantined,
    Quote,
    Record,
)
from etl.wire import codec
from etl.wire import market_data_pb2 as pb

RELEASED = Path(__file__).with_name("released_numbers.txt")
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(["", "é", "x" * 200])
DECIMAL = st.from_regex(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", fullmatch=True)


def strategy(field: Field) -> st.SearchStrategy[Any]:
    kind = field.type
    if isinstance(kind, UnionType):
        inner = INT64 if any(isinstance(t, IntType) for t in kind.types) else DECIMAL | TEXT
        return st.none() | inner
    if isinstance(kind, VarTupleType):
        item = INT64 if isinstance(kind.item_type, IntType) else DECIMAL | TEXT
        return st.lists(item, max_size=5).map(tuple)
    if isinstance(kind, EnumType):
        return st.sampled_from(list(kind.cls))
    if isinstance(kind, IntType):
        wire = pb.MarketData.DESCRIPTOR.fields_by_name[field.name]
        return st.integers(-(2**31), 2**31 - 1) if wire.type == wire.TYPE_INT32 else INT64
    return TEXT


def any_record() -> st.SearchStrategy[Record]:
    def of(record_type: type[Record]) -> st.SearchStrategy[Record]:
        fields = fields_of(record_type)
        return st.builds(record_type, **{field.name: strategy(field) for field in fields})

    return st.one_of([of(record_type) for record_type in RECORD_TYPES])


def fields_of(record_type: type) -> tuple[Field, ...]:
    described = msgspec.inspect.type_info(record_type)
    assert isinstance(described, StructType)
    return described.fields


@given(any_record())
def test_the_generated_encoders_write_the_library_s_bytes(record: Record) -> None:
    assert codec.encode(record) == codec.encode_by_library(record)


@given(any_record())
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert codec.decode(codec.encode(record)) == record


@given(st.integers(0, 2**40), st.sampled_from([127, 128, 16_383, 16_384, 2**28 - 1, 2**28, 2**42 - 1, 2**42]))
def test_numbers_of_every_length_are_written_right(number: int, edge: int) -> None:
    for sequence in (number, edge, -number, -edge):
        record = Quote("binance", "A", "A", "c", 0, 0, records.Source.STREAM, "", 0, 0, "", 0, 0, sequence)
        assert codec.encode(record) == codec.encode_by_library(record)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_message_are_a_wire_error_or_a_record(data: bytes) -> None:
    for decode in (codec.decode, codec.decode_quarantined, codec.place_of):
        try:
            decode(data)
        except WireError:
            continue


@pytest.mark.parametrize(
    "changes",
    [
        {"receive_time_ns": 2**63},
        {"event_time_ns": -(2**63) - 1},
        {"sequence": 2**63},
        {"frame_index": 2**31},
        {"record_key": "\ud800"},
        {"bid": "\ud800"},
    ],
)
def test_what_a_message_cannot_carry_is_a_wire_error(changes: dict[str, Any]) -> None:
    record = Quote("binance", "A", "A", "c", 0, 0, records.Source.STREAM, "", 0, 0, "", 0, 0)
    with pytest.raises(WireError):
        codec.encode(msgspec.structs.replace(record, **changes))


def test_a_quarantined_item_comes_back_as_it_was() -> None:
    item = Quarantined(
        "undecodable", records.Severity.HARD, "cut", "binance", "ws://x", 1, records.Source.STREAM,
        "id", 2, 3, 4, b"\x00\xff", b"", "BTC-USDT", "rule",
    )  # fmt: skip
    assert codec.decode_quarantined(codec.encode_quarantined(item)) == item


def test_the_place_of_a_record_is_read_without_the_rest() -> None:
    record = Quote("binance", "A-B", "AB", "c", 0, 0, records.Source.STREAM, "id", 7, 3, "k", 0, 0)
    assert codec.place_of(codec.encode(record)) == codec.Place("binance", "A-B", "c", "id", 7, 3, False)


@pytest.mark.parametrize("record_type", RECORD_TYPES)
def test_every_field_of_a_record_is_a_field_of_the_message(record_type: type[Record]) -> None:
    names = {field.name for field in fields_of(record_type)}
    assert names <= set(pb.MarketData.DESCRIPTOR.fields_by_name)


def test_the_enums_of_records_and_messages_have_the_same_numbers() -> None:
    for wire in pb.DESCRIPTOR.enum_types_by_name.values():
        members = getattr(records, wire.name)
        assert sorted(value.number for value in wire.values) == sorted({0, *(int(m) for m in members)})
    assert (int(Kind.LIQUIDATION), int(BarState.REVISED)) == (10, 3)
    assert (int(CorrectionKind.ERROR), int(GapState.UNREPAIRABLE)) == (3, 4)


def released_lines() -> list[str]:
    """Message, number, name, type and label of every field, and every enum value, of the schema as it is now."""
    lines = []
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            label = "repeated" if field.is_repeated else "optional" if field.has_presence else "plain"
            lines.append(f"{message.name} {field.number} {field.name} {type_name(field)} {label}")
    for enum in pb.DESCRIPTOR.enum_types_by_name.values():
        lines += [f"{enum.name} = {value.number} {value.name}" for value in enum.values]
    return lines


def type_name(field: Any) -> str:
    names = {
        getattr(field, name): name.removeprefix("TYPE_").lower() for name in dir(field) if "TYPE_" in name[:5]
    }
    return field.enum_type.name if field.enum_type else str(names[field.type])


def test_a_released_number_never_changes_its_meaning() -> None:
    """What is added to the schema is added to the file; a line of the file is never edited or taken out."""
    released, now = RELEASED.read_text().splitlines(), released_lines()
    assert [line for line in released if line not in now] == []
    assert [line for line in now if line not in released] == [], (
        f"new in the schema: append it to {RELEASED.name}"
    )


def test_numbers_are_unique_and_the_reserve_stays_free() -> None:
    numbers = [field.number for field in pb.MarketData.DESCRIPTOR.fields]
    assert len(numbers) == len(set(numbers))
    assert not set(numbers) & set(range(75, 100))


def test_the_schema_compiled_is_the_schema_written() -> None:
    """``market_data_pb2`` was generated from ``market_data.proto`` as it stands."""
    written = (Path(codec.__file__).parent / "market_data.proto").read_text()
    found = re.findall(r"(\w+) = (\d+);", written)
    compiled = {
        (f.name, str(f.number)) for m in pb.DESCRIPTOR.message_types_by_name.values() for f in m.fields
    }
    compiled |= {(v.name, str(v.number)) for e in pb.DESCRIPTOR.enum_types_by_name.values() for v in e.values}
    assert set(found) == compiled
