"""What becomes of a stock's price on the day on which one share becomes several, or several one."""

from __future__ import annotations

from msgspec import Struct


class Split(Struct, frozen=True):
    """Prices before ``day`` (ISO, the venue's) times ``factor`` are prices after it: 0.25 where one became four."""

    symbol: str
    day: str
    factor: float
