"""Ticks and lots as they were, out of ``instruments_history``: what the venues' lists said of each instrument.

Validity begins with the list that first said so and ends with the next row of the instrument; between two lists nobody
says at which moment a step moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from etl.settings import Settings
from etl.stores.clickhouse_http import connect

READ = """
SELECT exchange, symbol, recorded_ns AS valid_from_ns, price_step, size_step, price_figures
FROM instruments_history FINAL WHERE has({exchanges:Array(String)}, exchange) AND NOT withdrawn
ORDER BY exchange, symbol, recorded_ns
FORMAT JSONEachRow
"""


class Steps(Struct, frozen=True):
    """Of an instrument from then on; decimal text, "" where the list does not say."""

    exchange: str
    symbol: str
    valid_from_ns: int
    price_step: str = ""
    size_step: str = ""
    price_figures: int = 0

    @property
    def said(self) -> tuple[str, str, int]:
        return self.price_step, self.size_step, self.price_figures


History = Mapping[tuple[str, str], Sequence[Steps]]
"""By exchange and symbol, oldest first."""


def read(settings: Settings, exchanges: Sequence[str]) -> History:
    """Raises ``StoreError``."""
    with connect(settings) as client:
        answer = client.execute(
            READ,
            {"output_format_json_quote_64bit_integers": "0"},
            {"exchanges": "[" + ",".join(f"'{name}'" for name in exchanges) + "]"},
        )
    return changes(msgspec.json.Decoder(Steps).decode_lines(answer))


def changes(told: Iterable[Steps]) -> History:
    """Of what was told, the oldest first, that which says something new; what says nothing, says nothing new."""
    found: dict[tuple[str, str], list[Steps]] = {}
    for steps in told:
        before = found.get((steps.exchange, steps.symbol))
        if steps.said != (before[-1].said if before else ("", "", 0)):
            found.setdefault((steps.exchange, steps.symbol), []).append(steps)
    return found


def at(history: Sequence[Steps], time_ns: int) -> Steps | None:
    """The steps of an instrument at a time; ``None`` before the first list."""
    return next((steps for steps in reversed(history) if steps.valid_from_ns <= time_ns), None)
