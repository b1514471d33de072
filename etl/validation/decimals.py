"""Which decimal texts a store can hold exactly: Decimal(38, 19), 19 digits on either side of the point.

The engines do not refuse what they cannot hold (25 decimals and NaN become 0), so the check stands here.
"""

from __future__ import annotations

import re

from etl.codes import Code

INTEGER_DIGITS_MAX = 19
FRACTION_DIGITS_MAX = 19
KNOWN_TEXTS_MAX = 65_536
"""Prices and sizes repeat: a text once found good is looked up, not matched again (35 ns against 320 ns)."""

_FITS = re.compile(rf"-?0*[0-9]{{1,{INTEGER_DIGITS_MAX}}}(\.[0-9]{{1,{FRACTION_DIGITS_MAX}}}0*)?", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)


def decimal_fault(text: str) -> Code | None:
    """Why no store holds ``text`` exactly, or ``None``."""
    if _FITS.fullmatch(text):
        return None
    return Code.DECIMAL_OVERFLOW if _DECIMAL.fullmatch(text) else Code.DECIMAL_MALFORMED


class NumberCache(dict[str, float]):
    """Text → float64 for the rules, filled by looking up; a text that no store holds raises ``ValueError``."""

    __slots__ = ()

    def __missing__(self, text: str) -> float:
        if fault := decimal_fault(text):
            raise ValueError(fault)
        if len(self) >= KNOWN_TEXTS_MAX:
            self.clear()
        number = float(text)
        self[text] = number
        return number
