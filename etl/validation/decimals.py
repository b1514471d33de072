"""Which decimal texts every store holds exactly: 19 digits before the point and 30 behind it.

The engines do not refuse what they cannot hold (too many decimals are cut, NaN becomes 0), so the check stands here.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from etl.model.codes import Code
from etl.model.decimals import FITS
from etl.validation.views import NAN

SHORT_TEXT_MAX = 19
"""A plain decimal of this length has at most 19 digits on either side: it fits, and need not be looked at."""

_FITS = re.compile(FITS, re.ASCII)
_ALL_FIT = re.compile(f"(?:(?>{FITS}) )*+", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)


def decimal_fault(text: str) -> Code | None:
    """Why no store holds ``text`` exactly, or ``None``."""
    if _FITS.fullmatch(text):
        return None
    return Code.DECIMAL_OVERFLOW if _DECIMAL.fullmatch(text) else Code.DECIMAL_MALFORMED


def all_fit(texts: Collection[str]) -> bool:
    """One match over all of them."""
    joined = " ".join((*texts, ""))
    return _ALL_FIT.fullmatch(joined) is not None and joined.count(" ") == len(texts)


def number(text: str | None) -> float:
    """``text`` as float64 for the rules, NaN where absent. Raises ``ValueError`` if no store holds it exactly.

    A parser gives plain decimals (``etl/model/decimals.py``), so only a long text needs the pattern.
    """
    if text is None:
        return NAN
    if len(text) > SHORT_TEXT_MAX and (fault := decimal_fault(text)):
        raise ValueError(fault)
    return float(text)


def four_numbers(
    first: str | None, second: str | None, third: str | None, fourth: str | None
) -> tuple[float, float, float, float]:
    """The same for the four of a quote, in one call."""
    if (
        first is not None and len(first) <= SHORT_TEXT_MAX
        and second is not None and len(second) <= SHORT_TEXT_MAX
        and third is not None and len(third) <= SHORT_TEXT_MAX
        and fourth is not None and len(fourth) <= SHORT_TEXT_MAX
    ):  # fmt: skip
        return float(first), float(second), float(third), float(fourth)
    return number(first), number(second), number(third), number(fourth)


def numbers(texts: tuple[str, ...]) -> list[float]:
    """The same for the levels of a book."""
    if texts and max(map(len, texts)) > SHORT_TEXT_MAX:
        return [number(text) for text in texts]
    return [*map(float, texts)]
