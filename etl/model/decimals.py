"""Numbers as text: exact, plain, never through float. Pure."""

from __future__ import annotations

import re
from decimal import Context

EXPONENT_MAX = 64
"""A venue's exponent beyond this is corruption; writing it out would only cost memory."""

INTEGER_DIGITS_MAX = 19
FRACTION_DIGITS_MAX = 30
COLUMN_FRACTION_DIGITS = 19
"""What the columns of ClickHouse and of the lake hold, Decimal(38, 19); more stands beside them
(docs/decisions/wide_decimals.md)."""
FITS = rf"-?0*[0-9]{{1,{INTEGER_DIGITS_MAX}}}(?:\.[0-9]{{1,{FRACTION_DIGITS_MAX}}}0*)?"
"""What every store holds exactly, and nothing that one of them would read as another number.
ClickHouse goes by it too (sql/clickhouse/0022_wide_decimals.sql)."""
EXACT = Context(prec=100)
"""For arithmetic on decimals that are kept: Python's own context rounds to 28 digits."""
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_EXPONENT = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?[eE]([+-]?[0-9]{1,4})")


def plain(text: str) -> str | None:
    """``text`` as ``-?\\d+(\\.\\d+)?``: unchanged if it is, rewritten from an exponent (``2e-8`` →
    ``0.00000002``), ``None`` if it is no decimal number, as with a leading zero (octal, padded, cut)."""
    if _PLAIN.fullmatch(text):
        return text
    match = _EXPONENT.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4])
    if abs(exponent) > EXPONENT_MAX:
        return None
    digits = whole + fraction
    point = len(whole) + exponent
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return sign + _without_leading_zeros(digits + "0" * (point - len(digits)))
    return f"{sign}{_without_leading_zeros(digits[:point])}.{digits[point:]}"


def _without_leading_zeros(digits: str) -> str:
    return digits.lstrip("0") or "0"
