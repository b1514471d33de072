from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.adapter import fields
from etl.adapter.fields import CodeTexts, ContentCounts, DecimalTexts, FieldFault
from etl.model.codes import Code

DAY_2024_01_02 = 1_704_153_600_000_000_000


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-01-02T00:00:00Z", DAY_2024_01_02),
        ("2024-01-02T00:00:00.5Z", DAY_2024_01_02 + 500_000_000),
        ("2024-01-02T00:00:00.000000001Z", DAY_2024_01_02 + 1),
        ("2024-01-02T00:00:00.123456789Z", DAY_2024_01_02 + 123_456_789),
        ("2024-01-01T19:00:00-05:00", DAY_2024_01_02),
        ("2024-01-02T05:30:00.25+05:30", DAY_2024_01_02 + 250_000_000),
        ("2024-01-02t00:00:00z", DAY_2024_01_02),
    ],
)
def test_rfc3339_is_read_to_the_nanosecond(text: str, time: int) -> None:
    assert fields.rfc3339_ns(text) == time


@pytest.mark.parametrize("fraction", ["", ".5", ".500000000"])
@pytest.mark.parametrize("between", ["T", "t"])
@pytest.mark.parametrize("zone", ["Z", "z", "+00:00", "-00:00"])
def test_an_rfc3339_time_is_the_same_in_all_its_spellings(fraction: str, between: str, zone: str) -> None:
    half_ns = 500_000_000 if fraction else 0
    time_ns = 1_704_153_600_000_000_000 + half_ns
    assert fields.rfc3339_ns(f"2024-01-02{between}00:00:00{fraction}{zone}") == time_ns
    assert fields.rfc3339_ns(f"2024-01-02{between}01:30:00{fraction}+01:30") == time_ns


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02T00:00:00.\u0665Z", "2024-01-02T00:00:0\u0660Z", "2024-01-02T00:00:00.5zz", "2024-01-02T00:00:00.5",
        "", "Z", "2024-01-02", "2024-01-02T00:00:00", "2024-01-02T00:00:00.Z", "2024-01-02T00:00:00.1234567890Z",
        "2024-01-02T24:00:00Z", "2024-13-02T00:00:00Z", "2024-02-30T00:00:00Z", "2024-01-02 00:00:00Z",
        "2024-01-02T00:00:00.1_2Z", "2024-01-02T00:00:00.+12Z", "1704153600", "2024-01-02T00:00:60Z",
    ],
)  # fmt: skip
def test_what_is_no_rfc3339_time_is_refused(text: str) -> None:
    with pytest.raises(FieldFault) as fault:
        fields.rfc3339_ns(text)
    assert fault.value.code is Code.FIELD_MALFORMED


@pytest.mark.parametrize(
    "text", ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2262-04-11T23:47:16.9Z", "2299-01-01T00:00:00Z"]
)
def test_a_time_outside_int64_nanoseconds_is_out_of_range(text: str) -> None:
    with pytest.raises(FieldFault) as fault:
        fields.rfc3339_ns(text)
    assert fault.value.code is Code.TIME_OUT_OF_RANGE


@given(st.integers(10**9, (1 << 63) // 10**9 * 10**9 - 1), st.integers(0, 9))
def test_rfc3339_reads_what_was_written_with_any_number_of_digits(time: int, digits: int) -> None:
    time -= time % 10 ** (9 - digits)
    seconds, fraction = divmod(time, 1_000_000_000)
    point = f".{fraction:09d}"[: digits + 1] if digits else ""
    text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{point}Z"
    assert fields.rfc3339_ns(text) == time


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2025-07-01T03:59:59+00:00", "2025-06-30"),  # summer: midnight in New York is 04:00 UTC
        ("2025-07-01T04:00:00+00:00", "2025-07-01"),
        ("2025-12-01T04:59:59+00:00", "2025-11-30"),  # winter: 05:00 UTC
        ("2025-12-01T05:00:00+00:00", "2025-12-01"),
        ("2025-03-09T04:59:59+00:00", "2025-03-08"),  # the day on which summer time begins: 23 hours
        ("2025-03-09T05:00:00+00:00", "2025-03-09"),
        ("2025-03-10T03:59:59+00:00", "2025-03-09"),
        ("2025-03-10T04:00:00+00:00", "2025-03-10"),
        ("2025-11-02T03:59:59+00:00", "2025-11-01"),  # the day on which it ends: 25 hours
        ("2025-11-02T04:00:00+00:00", "2025-11-02"),
        ("2025-11-03T04:59:59+00:00", "2025-11-02"),
        ("2025-11-03T05:00:00+00:00", "2025-11-03"),
    ],
)
def test_the_day_is_new_yorks(moment: str, day: str) -> None:
    assert fields.new_york_day(ns(moment)) == day


def test_the_day_holds_to_the_last_nanosecond() -> None:
    midnight = ns("2025-07-01T04:00:00+00:00")
    assert fields.new_york_day(midnight - 1) == "2025-06-30"


def test_quotes_are_in_shares_from_midnight_in_new_york() -> None:
    assert ns("2025-11-03T00:00:00-05:00") == fields.QUOTES_IN_SHARES_FROM_NS


def test_a_date_is_its_midnight_utc() -> None:
    assert fields.date_ns("2024-01-02") == DAY_2024_01_02


@pytest.mark.parametrize(
    ("count", "time"),
    [
        (1_601_316_752, 1_601_316_752_000_000_000),
        (1_601_316_752_683, 1_601_316_752_683_000_000),
        (1_601_316_752_683_746, 1_601_316_752_683_746_000),
        (1_601_316_752_683_746_123, 1_601_316_752_683_746_123),
    ],
)
def test_a_time_of_any_unit_is_told_by_its_magnitude(count: int, time: int) -> None:
    assert fields.time_of_any_unit_ns(count) == time


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("161.87", "161.87"), ("61837.6300", "61837.6300"), ("-0.5", "-0.5"), ("2e-8", "0.00000002"),
        ('"1.50"', "1.50"),
        ("null", None), ("", None), ('""', None),
    ],
)  # fmt: skip
def test_decimals_keep_the_text_of_the_wire(text: str, decimal: str | None) -> None:
    texts = DecimalTexts()
    assert texts[text] == decimal
    assert texts[text] == decimal
    assert texts[text.encode()] == decimal
    assert texts[text.encode()] == decimal


@pytest.mark.parametrize("text", ["true", "[1]", "{}", '"x"', '"1.5', "1e400", '"NaN"'])
def test_what_is_no_decimal_is_refused(text: str) -> None:
    with pytest.raises(FieldFault) as fault:
        DecimalTexts()[text]
    assert fault.value.code is Code.DECIMAL_MALFORMED


def test_bytes_beyond_ascii_are_no_decimal_and_no_code() -> None:
    for texts in (DecimalTexts(), CodeTexts()):
        with pytest.raises(UnicodeDecodeError):
            texts['"١"'.encode()]


def test_texts_are_remembered_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "KNOWN_TEXTS_MAX", 3)
    texts = DecimalTexts()
    for number in range(10):
        assert texts[str(number)] == str(number)
        assert len(texts) <= 3


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("[14,41]", ("14", "41")),
        ('["@","I"]', ("@", "I")),
        ("0", ("0",)),
        ('"I"', ("I",)),
        ("null", ()),
        ("", ()),
    ],
)
def test_codes_come_as_one_or_as_a_list(text: str, codes: tuple[str, ...]) -> None:
    assert CodeTexts()[text] == codes
    assert CodeTexts()[text.encode()] == codes


def test_equal_contents_are_counted_within_their_scope() -> None:
    counts = ContentCounts()
    assert [counts.key("t AAPL", "1/2"), counts.key("t AAPL", "1/2"), counts.key("t MSFT", "1/2")] == [
        "1/2/0",
        "1/2/1",
        "1/2/0",
    ]


def test_the_counts_of_old_contents_go_and_those_of_new_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "CONTENTS_MAX", 4)
    counts = ContentCounts()
    for number in range(100):
        counts.key("t", str(number))
    assert counts.key("t", "99") == "99/1"
    assert counts.key("t", "0") == "0/0"


@pytest.mark.parametrize(
    ("one", "other"), [("1.50", "1.5"), ("2.000", "2"), ("100", "100"), ("0.0", "0"), (None, None)]
)
def test_a_value_has_one_canonical_spelling(one: str | None, other: str | None) -> None:
    assert fields.canonical(one) == fields.canonical(other)


def test_the_interval_of_bars_is_their_shortest_step() -> None:
    day, hour, minute = 86_400 * 10**9, 3_600 * 10**9, 60 * 10**9
    assert fields.inferred_interval([[0, day, 2 * day]]) == "1d"
    assert fields.inferred_interval([[0, day - hour]]) == "1d"
    assert fields.inferred_interval([[0, hour]]) == "1h"
    assert fields.inferred_interval([[7 * minute, 2 * minute]]) == "5m"
    assert fields.inferred_interval([[0, minute, 9 * minute]]) == "1m"
    assert fields.inferred_interval([[0], [7 * minute]]) == "1m"
    assert fields.inferred_interval([[5 * hour], [5 * hour]]) == "1d"
    assert fields.inferred_interval([[0, 10**9]]) == "1s"


def test_a_number_told_as_text_is_read_and_nothing_that_only_looks_like_one() -> None:
    assert [fields.whole(text) for text in ("0", "007", "9223372036854775807")] == [0, 7, fields.INT64_MAX]
    for text in ("", "-1", "+1", "1.0", " 1", "1e3", "\u0663", "\u00b2", "9223372036854775808", "9" * 5_000):
        with pytest.raises(fields.FieldFault, match="no whole number"):
            fields.whole(text)
