"""Identifiers of securities that end with a check digit. Pure.

FIGI: the standard of the Object Management Group, https://www.omg.org/spec/FIGI; ISIN: ISO 6166.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FIGI = re.compile(r"[B-DF-HJ-NP-TV-Z]{2}G[0-9B-DF-HJ-NP-TV-Z]{8}[0-9]")
"""Without vowels, so that it spells nothing."""
_NO_ISSUERS = ("BS", "BM", "GG", "GB", "GH", "KY", "VG")
"""With these a FIGI would read as an ISIN of a country."""
_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")


def is_figi(text: str) -> bool:
    if not _FIGI.fullmatch(text) or text.startswith(_NO_ISSUERS):
        return False
    values = (int(character, 36) * (1 + place % 2) for place, character in enumerate(text[:-1]))
    return text[-1] == _check_digit(values)


def is_isin(text: str) -> bool:
    if not _ISIN.fullmatch(text):
        return False
    digits = "".join(str(int(character, 36)) for character in text[:-1])
    return text[-1] == _check_digit(int(digit) * (2 - place % 2) for place, digit in enumerate(digits[::-1]))


def _check_digit(values: Iterable[int]) -> str:
    """What makes the sum of all digits a multiple of ten."""
    return str(-sum(int(digit) for value in values for digit in str(value)) % 10)
