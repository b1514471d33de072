"""Trades that bear the identity of one before them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from etl.model.codes import CORRECTED, Code
from etl.model.records import Severity, Trade
from etl.validation.findings import Finding

_Content = tuple[int, str | None, str | None]


class RecentIdentities:
    """One connection's last identities with key time, price and size: ``window`` at least, twice as many at most.

    The key time, not the event time: of one fact every source has the same, while one may send whole milliseconds of
    what another sends in nanoseconds.
    """

    __slots__ = ("_older", "_recent", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._recent: dict[tuple[str, str], _Content] = {}
        self._older: dict[tuple[str, str], _Content] = {}

    def check(self, trade: Trade, findings: Sequence[Finding]) -> Sequence[Finding]:
        """``findings``, and one more where ``trade`` repeats an identity with other content: one of the two is corrupt
        then. One that repeats the content too is right, and so is one that the venue says to have corrected."""
        if trade.flags and CORRECTED in trade.flags:
            return findings
        key = (trade.symbol, trade.record_key)
        content = (trade.key_time_ns, trade.last_price, trade.volume)
        recent = self._recent
        known = recent.get(key) or self._older.get(key)
        if known is not None and known != content and not _same(known, content):
            reason = f"{trade.record_key}: key time, price and size were {known}, now {content}"
            return [
                *findings,
                Finding(str(Code.IDENTITY_CONFLICT), Severity.HARD, "same_identity_same_content", reason),
            ]
        recent[key] = content
        if len(recent) >= self._window:
            self._older, self._recent = recent, {}
        return findings


def _same(one: _Content, other: _Content) -> bool:
    """Sources may write one number in different digits, ``100`` and ``100.0``."""
    return one[0] == other[0] and _numbers(one) == _numbers(other)


def _numbers(content: _Content) -> list[Decimal | None]:
    return [Decimal(text) if text else None for text in content[1:]]
