"""Messages → columns: exact values, every kind, and which row stands for an identity."""

from __future__ import annotations

import pyarrow as pa
import pytest

from etl.errors import StoreRejected
from etl.model.records import (
    RECORD_TYPES,
    BarState,
    Correction,
    CorrectionKind,
    GapState,
    Kind,
    Record,
    Side,
    Source,
    TradingStatus,
)
from etl.wire.codec import encode, encode_by_library
from etl.wire.columns import (
    COLUMNS,
    SCHEMAS,
    Form,
    Refused,
    decode,
    newest,
    refused_rows,
    require_decimals,
    without,
)
from tests.support import stream
from tests.support.stream import START_NS


def rows_of(*records: Record) -> list[dict[str, object]]:
    """The records' rows as dictionaries; all of one kind."""
    (rows,), refused = decode(enumerate(map(encode, records)))
    assert refused == []
    return [dict(zip(rows.values, row, strict=True)) for row in zip(*rows.values.values(), strict=True)]


def texts_of(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([texts[:1], texts[1:]], pa.string())


def test_every_kind_has_the_fields_of_its_record_and_the_time() -> None:
    for record_type in RECORD_TYPES:
        names = [column.name for column in COLUMNS[record_type.kind]]
        assert names == ["time_ns", *record_type.__struct_fields__]


def test_every_field_has_its_form() -> None:
    forms = {column.name: column.form for columns in COLUMNS.values() for column in columns}
    assert {name for name, form in forms.items() if form is Form.DECIMAL} == {
        "last_price", "volume", "bid", "bid_size", "ask", "ask_size", "open", "high", "low", "close", "vwap",
        "quote_volume", "taker_buy_volume", "limit_down", "limit_up", "mark_price", "index_price", "open_interest",
        "funding_rate", "value",
    }  # fmt: skip
    assert {name for name, form in forms.items() if form is Form.DECIMALS} == {
        "bid_prices", "bid_sizes", "ask_prices", "ask_sizes",
    }  # fmt: skip
    assert {name for name, form in forms.items() if form is Form.TIME} == {
        name for name in forms if name.endswith("_time_ns") or name == "time_ns"
    }


def test_values_are_those_of_the_message() -> None:
    (row,) = rows_of(stream.trade(7, conditions=("@", "T"), previous_sequence=0))
    assert row["last_price"] == "61844.07000000"
    assert (row["side"], row["size_unit"], row["source"]) == ("buy", "base", "stream")
    assert (row["sequence"], row["previous_sequence"], row["first_sequence"]) == (3_735_683_266, 0, None)
    assert (row["conditions"], row["flags"], row["market_center"]) == (["@", "T"], [], "")


def test_a_column_is_null_where_there_is_nothing_and_a_list_of_it_plain() -> None:
    (rows,), _ = decode(enumerate(map(encode, [stream.trade(7, conditions=("@",)), stream.trade(8)])))
    assert rows.columns.schema == SCHEMAS[Kind.TRADE]
    assert rows.columns["conditions"].to_pylist() == [["@"], None]
    assert rows.columns["market_center"].to_pylist() == [None, None]
    assert (rows.values["conditions"], rows.values["market_center"]) == ([["@"], []], ["", ""])
    assert ("side" in rows.values, "bid" in rows.values, list(rows.values)) == (
        True,
        False,
        SCHEMAS[Kind.TRADE].names,
    )


def test_the_time_is_the_event_time_or_else_the_receive_time() -> None:
    (timed,) = rows_of(stream.trade(0))
    (untimed,) = rows_of(stream.quote(0))
    assert timed["time_ns"] == START_NS
    assert untimed["time_ns"] == untimed["receive_time_ns"] == START_NS + 1


def test_names_of_enums_are_the_members_in_lower_case() -> None:
    names = {column.name: column.names for columns in COLUMNS.values() for column in columns if column.names}
    assert names["side"] == ("", *(s.name.lower() for s in Side if s))
    assert names["source"] == ("", *(s.name.lower() for s in Source))
    assert names["status"] == ("", *(s.name.lower() for s in TradingStatus if s))
    correction = Correction(
        "alpaca", "AAPL", "AAPL", "trades", 1, 2, Source.STREAM, "c", 1, 0, "k", 1, 1,
        correction=CorrectionKind.CANCEL,
    )  # fmt: skip
    assert rows_of(correction)[0]["correction"] == "cancel"


def test_kinds_are_told_apart_and_keep_their_order_and_offsets() -> None:
    records = [stream.trade(0), stream.quote(0), stream.trade(1), stream.book(0), stream.trade(2)]
    batch, refused = decode((10 * n, encode(record)) for n, record in enumerate(records))
    assert refused == []
    assert {rows.kind: rows.offsets for rows in batch} == {
        Kind.TRADE: [0, 20, 40],
        Kind.QUOTE: [10],
        Kind.BOOK: [30],
    }


@pytest.mark.parametrize("encoder", [encode, encode_by_library])
def test_a_skipped_kind_leaves_nothing_whoever_encoded_it(encoder: object) -> None:
    assert callable(encoder)
    batch, refused = decode(enumerate(map(encoder, [stream.book(0), stream.trade(0)])), skip=(Kind.BOOK,))
    assert [rows.kind for rows in batch] == [Kind.TRADE]
    assert refused == []


def test_bytes_that_are_no_record_are_refused_and_cost_only_themselves() -> None:
    values = [encode(stream.trade(0)), b"\xff", b"", b"\x08\x63", encode(stream.trade(1))[:-1]]
    batch, refused = decode(enumerate(values))
    assert [rows.offsets for rows in batch] == [[0]]
    assert [item.offset for item in refused] == [1, 2, 3, 4]


def test_one_row_stays_of_equal_identities_the_first_of_equal_versions() -> None:
    records = [
        stream.trade(0, frame_index=1),
        stream.trade(1),
        stream.trade(0, frame_index=2),
        stream.trade(0, frame_index=3, parser_version=2),
        stream.trade(0, frame_index=4, parser_version=2),
    ]
    (rows,), _ = decode(enumerate(map(encode, records)))
    kept = newest(rows)
    assert kept.offsets == [1, 3]
    assert newest(kept) is kept


def test_identities_are_told_apart_by_each_of_their_parts() -> None:
    names = [
        ("x", "a", "1"),
        ("x", "b", "1"),
        ("y", "a", "1"),
        ("x", "a\0b", "1"),
        ("x", "a", "b\0" + "1"),
        ("x", "a", "1"),
    ]
    records = [
        stream.trade(n, exchange, symbol=symbol, record_key=key)
        for n, (exchange, symbol, key) in enumerate(names)
    ]
    (rows,), _ = decode(enumerate(map(encode, records)))
    assert newest(rows).offsets == [0, 1, 2, 3, 4]


def test_bars_go_by_state_then_time_of_sending_then_parser() -> None:
    records = [
        stream.bar(0, bar_state=BarState.CLOSED, publish_time_ns=9),
        stream.bar(0, bar_state=BarState.REVISED, publish_time_ns=5),
        stream.bar(0, bar_state=BarState.REVISED, publish_time_ns=6),
        stream.bar(0, bar_state=BarState.REVISED, publish_time_ns=6, parser_version=2),
        stream.bar(0, bar_state=BarState.OPEN, publish_time_ns=99, parser_version=9),
    ]
    (rows,), _ = decode(enumerate(map(encode, records)))
    assert newest(rows).offsets == [3]


def test_gaps_go_by_the_time_of_their_state() -> None:
    records = [
        stream.gap(0, gap_state=GapState.REPAIRED, receive_time_ns=START_NS + 2),
        stream.gap(0, gap_state=GapState.OPEN, receive_time_ns=START_NS + 1),
    ]
    (rows,), _ = decode(enumerate(map(encode, records)))
    assert newest(rows).offsets == [0]


@pytest.mark.parametrize("values", [["1", "-2.5", ""], [], ["0.00000000000000000000001"], [""]])
def test_plain_decimals_pass(values: list[str]) -> None:
    require_decimals("bid", texts_of(*values))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e5", "1,2", "{1}", "NULL", " 1", "0x1"])
def test_what_is_no_plain_decimal_is_refused(value: str) -> None:
    with pytest.raises(StoreRejected, match="bid"):
        require_decimals("bid", texts_of("1", None, value))


def test_halving_finds_exactly_the_rows_that_fail() -> None:
    (rows,), _ = decode((n, encode(stream.trade(n))) for n in range(100))
    bad = {3, 4, 50, 99}
    calls = 0

    def attempt(part: object) -> None:
        nonlocal calls
        calls += 1
        if bad & set(part.offsets):  # type: ignore[attr-defined]
            raise StoreRejected("bad")

    assert refused_rows(rows, attempt) == [Refused(offset, "bad") for offset in sorted(bad)]
    assert calls < 60
    (left,) = without([rows], bad)
    assert left.offsets == [n for n in range(100) if n not in bad]
    assert without([rows], set(range(100))) == []
