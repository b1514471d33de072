"""The instrument lists that come with the code, in the venues' own form. Read once a process."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from functools import cache

from etl.model.instruments import Instrument, Instruments


@cache
def shipped(name: str, read: Callable[[bytes], Iterable[Instrument]]) -> Instruments:
    """``etl/exchanges/instruments/<name>.json``, by ``read``; none where there is no such file."""
    try:
        payload = pkgutil.get_data("etl.exchanges", f"instruments/{name}.json")
    except FileNotFoundError:
        return Instruments()
    return Instruments(read(payload or b""))
