from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from etl.errors import StoreRejected
from etl.lake.layout import ROW_SCHEMAS, day_of, folder, parquet
from etl.lake.rows import in_order, newest, to_arrow
from etl.model.records import Kind, Record
from etl.wire.codec import encode
from etl.wire.columns import decode
from tests.support import stream
from tests.support.stream import START_NS


def arrow(*records: Record) -> pa.Table:
    (rows,), refused = decode(enumerate(map(encode, records)))
    assert refused == []
    return to_arrow(rows)


def test_what_the_venue_did_not_send_is_null_and_a_time_0() -> None:
    (row,) = arrow(stream.quote(0, ask=None)).to_pylist()
    assert (row["bid"], row["ask"], row["ask_size"]) == (Decimal("61837.63"), None, None)
    assert (row["event_time_ns"], row["publish_time_ns"], row["conditions"]) == (0, 0, None)
    assert row["time"].isoformat() == "2024-08-08T23:54:15.342000+00:00"


def test_a_time_before_1970_is_floored_not_cut() -> None:
    (row,) = arrow(stream.trade(0, time_ns=-1)).to_pylist()
    assert row["time"].isoformat() == "1969-12-31T23:59:59.999999+00:00"
    assert day_of(-1) == "1969-12-31"


@pytest.mark.parametrize("value", ["1e5", "NaN", "+1", "1_0", "0." + "0" * 30 + "1", "1" + "0" * 19])
def test_a_decimal_that_does_not_fit_exactly_is_refused(value: str) -> None:
    with pytest.raises(StoreRejected):
        arrow(stream.trade(0, last_price=value))
    with pytest.raises(StoreRejected):
        arrow(stream.book(0, ask_sizes=(value,)))


def test_every_kind_has_a_schema_whose_columns_are_the_fields_of_the_record() -> None:
    for record in (stream.trade(0), stream.quote(0), stream.book(0), stream.bar(0), stream.gap(0)):
        names = {"time" if name == "time_ns" else name for name in ("time_ns", *record.__struct_fields__)}
        assert set(ROW_SCHEMAS[record.kind].names) - {"wide_decimals"} == names


def test_rows_are_ordered_by_exact_time_then_key_and_equal_ones_stay() -> None:
    rows = arrow(
        stream.trade(0, time_ns=START_NS + 2, record_key="a"),
        stream.trade(1, time_ns=START_NS + 1, record_key="b"),
        stream.trade(2, time_ns=START_NS + 1, record_key="a", tape="first"),
        stream.trade(3, time_ns=START_NS + 1, record_key="a", tape="second"),
    )
    ordered = in_order(rows)
    assert ordered["frame_sequence"].to_pylist() == [3, 4, 2, 1]
    assert newest(ordered, Kind.TRADE)["frame_sequence"].to_pylist() == [3, 2]


def test_the_bytes_of_a_file_depend_on_its_rows_alone() -> None:
    rows = arrow(*(stream.trade(n) for n in range(1000)))
    in_parts = pa.concat_tables([rows.slice(0, 300), rows.slice(300)])
    assert parquet(Kind.TRADE, rows, 250).equals(parquet(Kind.TRADE, in_parts, 250))


def test_a_path_holds_any_exchange() -> None:
    assert folder("gaps", "*", "2024-01-01") == "tables/gaps/exchange=%2A/date=2024-01-01"
    assert folder("gaps", "", "2024-01-01").endswith("exchange=__HIVE_DEFAULT_PARTITION__/date=2024-01-01")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("0", True),
        ("-0.00000001", True),
        ("9999999999.99999999", True),
        ("0001.5000000000000000000", True),
        ("0.000000001", False),
        ("10000000000", False),
        ("-1234567890123456789.1234567890123456789", False),
        ("0.1234567890123456789012345", False),
    ],
)
def test_a_decimal_that_its_narrow_column_does_not_hold_stands_beyond_it(text: str, fits: bool) -> None:
    before, row, after = arrow(
        stream.trade(0), stream.trade(1, last_price=text, volume="2"), stream.trade(2)
    ).to_pylist()
    assert row["last_price"] == (Decimal(text) if fits else None)
    assert row["wide_decimals"] == (None if fits else [("last_price", text)])
    assert row["volume"] == 2
    assert (before["wide_decimals"], after["wide_decimals"], before["last_price"]) == (None, None, 61837)


def test_of_a_column_of_38_digits_only_more_than_19_decimals_stand_beyond_it() -> None:
    digits = "1234567890123.123456789"
    held, beyond = arrow(
        stream.bar(0, close=f"{digits}0123456789"), stream.bar(1, close=f"{digits}0123456789012345")
    ).to_pylist()
    assert (held["close"], held["wide_decimals"]) == (Decimal(f"{digits}0123456789"), None)
    assert (beyond["close"], beyond["wide_decimals"]) == (None, [("close", f"{digits}0123456789012345")])


def test_levels_that_do_not_fit_stand_together_beyond_their_column() -> None:
    (row,) = arrow(stream.book(0, bid_prices=("1.5", "0.0000000000001"), bid_sizes=("1", "2"))).to_pylist()
    assert (row["bid_prices"], row["bid_sizes"]) == (None, [Decimal(1), Decimal(2)])
    assert row["wide_decimals"] == [("bid_prices", "1.5,0.0000000000001")]
