from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.decimals import EXPONENT_MAX, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("61837.63000000", "61837.63000000"),
        ("-0.5", "-0.5"),
        ("0", "0"),
        ("2e-8", "0.00000002"),
        ("1.5E+3", "1500"),
        ("1.2345e2", "123.45"),
        ("-1.5e-3", "-0.0015"),
        ("0.0012e3", "1.2"),
        ("0e5", "0"),
    ],
)
def test_a_number_keeps_its_digits(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "inf",
        "+1",
        ".5",
        "5.",
        "1_0",
        " 1",
        "1 ",
        "1.2.3",
        "0x1",
        "1e",
        "١",
        f"1e{EXPONENT_MAX + 1}",
    ],
)
def test_what_is_no_plain_number_gives_none(text: str) -> None:
    assert plain(text) is None


@given(st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,20})?[eE][+-]?[0-9]{1,2}", fullmatch=True))
def test_an_exponent_is_rewritten_without_changing_the_value(text: str) -> None:
    written = plain(text)
    if abs(int(text.lower().partition("e")[2])) <= EXPONENT_MAX:
        assert written is not None
        assert "e" not in written.lower()
        assert Decimal(written) == Decimal(text)
        assert plain(written) == written
